// One connection: reads requests one after the other, answers each in turn, keeps every limit.
//
// Time limits cost nothing for each request: the session only writes down when its current step
// must be done, and the server's sweep cuts those that are late. All on the I/O thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "txcoord/base/settings.hpp"
#include "txcoord/http/message.hpp"
#include "txcoord/http/problem.hpp"

namespace txcoord::http {

namespace asio = boost::asio;

class Session {
 public:
  // `health_only`: one request, which comes at once; any other than for health is 503.
  Session(asio::ip::tcp::socket socket, Port port, const HttpSettings& limits,
          RequestHandler& handler, bool health_only = false);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Until the peer or we close. Never throws.
  asio::awaitable<void> run();

  // Cuts the step under way if it is late.
  void sweep(std::chrono::steady_clock::time_point now);
  // The next answer is the last; an idle connection stays.
  void close_after_answer() { last_answer_ = true; }
  // Finish the request under way, if any, then close.
  void drain();
  // Close now, whatever is under way.
  void cut();

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  enum class Step : unsigned char { idle, header, body, handling, writing, lingering };
  // answered: by the header alone, and the connection goes on.
  enum class Read : unsigned char { done, closed, answered, refused };

  asio::awaitable<bool> serve_one();
  asio::awaitable<Read> read_header();
  asio::awaitable<Read> read_body();
  asio::awaitable<bool> receive();
  asio::awaitable<bool> write(std::string_view bytes);
  asio::awaitable<void> linger();

  std::size_t header_end();
  bool begins_with_head() const;
  bool take_header(std::size_t bytes);
  Read judge();
  bool drop_body();
  Read feed_body();
  Read refuse(int status, std::string detail);
  Read refuse(const Problem& problem);
  Read refuse_late();
  Request request_of() const;
  void enter(Step step, std::uint32_t ms_max);

  asio::ip::tcp::socket socket_;
  Port port_;
  const HttpSettings& limits_;
  RequestHandler& handler_;
  bool health_only_;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  Request request_;               // taken before the body: a trailer cannot add to it
  std::optional<Reply> refusal_;  // answered by the header alone, or for what could not be read
  std::uint64_t body_bytes_max_ = 0;
  std::string out_;
  std::size_t searched_ = 0;  // of the buffer, for the header's end
  bool http_1_1_ = true;
  bool head_ = false;  // the request's method is HEAD, as far as it is known
  bool keep_alive_ = true;
  bool expects_continue_ = false;
  bool last_answer_ = false;
  bool draining_ = false;
  bool late_ = false;
  Step step_ = Step::idle;
  std::chrono::steady_clock::time_point deadline_ = std::chrono::steady_clock::time_point::max();
};

}  // namespace txcoord::http
