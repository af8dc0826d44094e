// A real server on ephemeral loopback ports over the test doubles, and a raw client that shows
// every byte. The server's I/O thread runs apart; tests reach the doubles through on_io().
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/json/value.hpp>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/http/fake_engine.hpp"
#include "tests/unit/fake_participant.hpp"
#include "txcoord/http/dispatch.hpp"
#include "txcoord/http/server.hpp"

namespace txcoord::testing {

namespace json = boost::json;

struct Response {
  int status = 0;
  std::multimap<std::string, std::string> headers;  // lower-case names
  std::string body;

  std::string header(const std::string& name) const;
  bool has(const std::string& name) const { return headers.contains(name); }
  json::value parsed() const;
};

// One connection, blocking, with a deadline on each read so that a broken server fails a test and
// does not hang it.
class Client {
 public:
  explicit Client(std::uint16_t port);
  void send(std::string_view bytes);
  Response receive(bool head = false);
  // True when the server has ended the connection and sent nothing more.
  bool closed();
  // The raw bytes up to and with `mark`.
  std::string receive_until(std::string_view mark);

  Response request(std::string_view method, std::string_view path, std::string_view body = {},
                   std::string_view more_headers = {});

 private:
  bool fill();

  boost::asio::io_context io_;
  boost::asio::ip::tcp::socket socket_;
  std::string buffer_;
};

class TestServer {
 public:
  explicit TestServer(std::function<void(Settings&)> adjust = {});
  ~TestServer();

  Client connect() const { return Client(server_->port()); }
  Client connect_admin() const { return Client(server_->admin_port()); }
  std::uint16_t port() const { return server_->port(); }

  // Runs on the I/O thread and waits for it.
  template <class F>
  auto on_io(F work) {
    std::packaged_task<std::invoke_result_t<F>()> task(std::move(work));
    auto done = task.get_future();
    boost::asio::post(io_, [&task] { task(); });
    return done.get();
  }
  // Runs the coroutine on the I/O thread; the future is ready when it is done.
  std::future<void> spawn(boost::asio::awaitable<void> work);

  FakeWorld world;
  FakeEngine engine{world};
  FakeLostSagaDesk lost_sagas;
  Metrics metrics;
  // Behind the faults, for what the REST layer asks the participants: witnesses.
  FakeParticipant& participant(const std::string& name) { return *participants_.at(name); }
  FaultyParticipant& fault(const std::string& participant) { return *faults_.at(participant); }
  http::Server& server() { return *server_; }

  // For another server over the same world: on the same I/O thread, and gone after it.
  boost::asio::any_io_executor executor() { return io_.get_executor(); }
  void keep(std::shared_ptr<void> part) { kept_.push_back(std::move(part)); }

 private:
  Settings settings_;
  FakeOrders orders_{world};
  FakeInventory inventory_{world};
  FakePayments payments_{world};
  FakeShipping shipping_{world};
  FakeLog log_{world};
  boost::asio::io_context io_{1};
  Script script_{io_.get_executor()};
  std::map<std::string, std::unique_ptr<FakeParticipant>> participants_;
  std::map<std::string, std::unique_ptr<FaultyParticipant>> faults_;
  // The thread stays for on_io() when the server has nothing left to do.
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      io_.get_executor()};
  std::unique_ptr<http::Dispatcher> dispatcher_;
  std::unique_ptr<http::Server> server_;
  std::vector<std::shared_ptr<void>> kept_;
  std::thread thread_;
};

// A body that POST /v1/orders takes; `fields` replace or add members, given as JSON text by name.
// An empty text takes the member out.
std::string order_body(const std::map<std::string, std::string>& fields = {});
std::string key_header(std::string_view key);

}  // namespace txcoord::testing
