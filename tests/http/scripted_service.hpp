// A service on loopback that answers calls with whatever bytes a test says.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "participants/remote/identity.hpp"

namespace txcoord::testing {

namespace asio = boost::asio;

// A call as the service got it.
struct HeardCall {
  remote::Identity identity;
  std::string body;
};

// A message with a length.
std::string http_answer(const std::string& body, const std::string& status = "200 OK",
                        const std::string& media_type = "application/json");
// The answer to `commit`, `rollback` and the like.
std::string done_answer(const HeardCall& call);

class ScriptedService {
 public:
  explicit ScriptedService(asio::any_io_executor io);
  ~ScriptedService() { stop(); }

  std::string url() const;
  void stop();

  // The bytes of the answer, in the pieces in which they are sent. An empty list: none, and the
  // connection is closed.
  std::function<std::vector<std::string>(const HeardCall&)> answer;
  bool close_after_answer = false;
  std::string greeting;  // sent on each new connection, before anything is read
  std::vector<HeardCall> calls;
  std::size_t connections = 0;

  std::size_t count(const std::string& call) const;

 private:
  asio::awaitable<void> accept();
  asio::awaitable<void> serve(asio::ip::tcp::socket socket);

  asio::any_io_executor io_;
  asio::ip::tcp::acceptor acceptor_;
};

}  // namespace txcoord::testing
