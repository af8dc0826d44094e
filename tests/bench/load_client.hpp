// A correct client of POST /v1/orders on one keep-alive connection: the same key again after a 503
// or a lost connection, a 202 is followed to its end, a business refusal is an answer. One
// coroutine uses it at a time.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>
#include <stdexcept>
#include <string>

#include "tests/bench/load_tally.hpp"
#include "tests/bench/order_stream.hpp"

namespace txcoord::bench {

namespace asio = boost::asio;
namespace beast = boost::beast;

struct ClientSettings {
  asio::ip::tcp::endpoint server;
  std::string key_prefix;  // of Idempotency-Key: different for each run
  std::string mode;        // "2pc" or "saga"; empty: the server's default
  std::string prefer;      // "applied", "respond-async"; empty: no Prefer header
  std::uint64_t seed = 1;  // for the jitter of pauses
  std::chrono::milliseconds request_ms_max{12'000};  // then the connection is given up
  std::chrono::milliseconds retry_after_ms_max{1'000};
};

// The server says that it cannot do what is measured here (501): no use to go on.
class NotAvailable : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class OrderClient {
 public:
  OrderClient(asio::any_io_executor executor, const ClientSettings& settings, Friction& friction);

  // Returns with a final answer, or with Outcome::unknown once give_up has passed. It is read
  // before each try, since it may not be known when the order is sent, and must outlive the call.
  // Throws NotAvailable.
  asio::awaitable<Answer> place(BenchOrder order, Clock::time_point intended,
                                const Clock::time_point& give_up);

 private:
  using Request = beast::http::request<beast::http::string_body>;
  using Response = beast::http::response<beast::http::string_body>;

  Request order_request(const BenchOrder& order) const;
  // False: no answer; the connection is closed, and whether the request was seen is unknown.
  asio::awaitable<bool> exchange(const Request& request, Response& response);
  // Fills the answer and returns true when the response is final for it.
  bool judge(const Response& response, Answer& answer);
  // Asks for the order until it is final or gone (false: send the order again).
  asio::awaitable<bool> follow(std::string location, const Clock::time_point& give_up,
                               Answer& answer);
  // Pauses before try number `attempt` of something, with jitter; longer if the server says so.
  asio::awaitable<void> pause(unsigned attempt, const Response* response, Draws& jitter);

  asio::any_io_executor executor_;
  const ClientSettings& settings_;
  Friction& friction_;
  std::optional<beast::tcp_stream> stream_;
  beast::flat_buffer buffer_;
};

}  // namespace txcoord::bench
