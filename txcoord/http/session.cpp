// See session.hpp.
#include "txcoord/http/session.hpp"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/string.hpp>
#include <exception>

#include "txcoord/base/logging.hpp"
#include "txcoord/http/door.hpp"
#include "txcoord/http/header_check.hpp"
#include "txcoord/http/headers.hpp"
#include "txcoord/http/wire.hpp"

namespace txcoord::http {
namespace {

namespace beast_http = boost::beast::http;
using Clock = std::chrono::steady_clock;
using boost::beast::http::field;

constexpr std::size_t read_bytes = 4096;
// Beside the body: chunk sizes, extensions, trailers of one read.
constexpr std::size_t chunk_overhead_max = 8 * 1024;
// A refused peer may still be sending: what we read and drop, so that it sees our answer and no
// reset.
constexpr std::size_t linger_bytes_max = 1024 * 1024;
constexpr std::uint32_t linger_ms_max = 1000;
// A look at health in the reserve, from its connection to its header.
constexpr std::uint32_t health_ms_max = 500;
constexpr std::string_view continue_line = "HTTP/1.1 100 Continue\r\n\r\n";

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

Problem full() {
  return {.status = 503, .reason = "OVERLOADED", .detail = "too many connections: try later"};
}

}  // namespace

Session::Session(asio::ip::tcp::socket socket, Port port, const HttpSettings& limits,
                 RequestHandler& handler, bool health_only)
    : socket_(std::move(socket)),
      port_(port),
      limits_(limits),
      handler_(handler),
      health_only_(health_only),
      buffer_(std::size_t{limits.header_bytes_max} + limits.body_bytes_max + chunk_overhead_max) {}

asio::awaitable<void> Session::run() {
  try {
    for (;;) {
      const bool more = co_await serve_one();
      if (!more) break;
    }
  } catch (const std::exception& error) {
    logging::error("a connection ended by a defect", {{"error", std::string_view(error.what())}});
  }
  boost::system::error_code ignored;
  socket_.close(ignored);
}

void Session::sweep(Clock::time_point now) {
  if (now < deadline_) return;
  late_ = true;
  deadline_ = Clock::time_point::max();
  boost::system::error_code ignored;
  socket_.cancel(ignored);
}

void Session::drain() {
  draining_ = true;
  boost::system::error_code ignored;
  // Nothing was begun: the peer loses nothing. Anything else finishes, and then closes.
  if (step_ == Step::idle) socket_.cancel(ignored);
}

void Session::cut() {
  boost::system::error_code ignored;
  socket_.close(ignored);
}

void Session::enter(Step step, std::uint32_t ms_max) {
  step_ = step;
  late_ = false;
  deadline_ =
      ms_max == 0 ? Clock::time_point::max() : Clock::now() + std::chrono::milliseconds(ms_max);
}

// False: the connection is at its end.
asio::awaitable<bool> Session::serve_one() {
  refusal_.reset();
  parser_.reset();
  keep_alive_ = true;
  head_ = false;
  auto header = read_header();
  Read read = co_await std::move(header);
  if (read == Read::done) read = judge();
  if (read == Read::done) {
    auto body = read_body();
    read = co_await std::move(body);
  }
  if (read == Read::closed) co_return false;

  Reply reply;
  if (read != Read::done) {
    reply = std::move(*refusal_);
  } else {
    enter(Step::handling, 0);  // the handler keeps its own deadlines
    request_.body = parser_->get().body();
    auto handling = handler_.handle(request_);
    reply = co_await std::move(handling);
  }
  // The one place for it: whoever made the answer, the parser or a handler.
  reply.head_only = head_;
  const bool close =
      read == Read::refused || !keep_alive_ || last_answer_ || draining_ || health_only_;
  out_.clear();
  append_reply(out_, reply, close, http_1_1_);
  enter(Step::writing, limits_.write_ms_max);
  auto writing = write(out_);
  const bool written = co_await std::move(writing);
  if (written && read == Read::refused) {
    auto lingering = linger();
    co_await std::move(lingering);
  }
  co_return written && !close;
}

asio::awaitable<Session::Read> Session::read_header() {
  enter(buffer_.size() == 0 ? Step::idle : Step::header,
        buffer_.size() == 0 ? limits_.idle_ms_max : limits_.header_read_ms_max);
  if (health_only_) enter(Step::header, health_ms_max);
  searched_ = 0;
  for (;;) {
    const std::size_t end = header_end();
    head_ = begins_with_head();
    // The limit counts whether or not the rest came along.
    if ((end == 0 ? buffer_.size() : end) > limits_.header_bytes_max) {
      co_return refuse(
          431, "the header is longer than " + std::to_string(limits_.header_bytes_max) + " bytes");
    }
    if (end > 0) {
      if (take_header(end)) co_return Read::done;
      co_return Read::refused;
    }
    if (draining_ && step_ == Step::idle) co_return Read::closed;
    auto receiving = receive();
    const bool received = co_await std::move(receiving);
    if (!received && late_ && health_only_) co_return refuse(full());
    if (!received) co_return late_&& step_ == Step::header ? refuse_late() : Read::closed;
    // The clock of the header runs from its first byte, not from each.
    if (step_ == Step::idle) enter(Step::header, limits_.header_read_ms_max);
  }
}

// The length of the header with its empty line; 0: not all there yet. Empty lines before a request
// line are dropped (RFC 9112, 2.2).
std::size_t Session::header_end() {
  const auto bytes = [this] {
    return std::string_view(static_cast<const char*>(buffer_.data().data()), buffer_.size());
  };
  while (searched_ == 0 && bytes().starts_with("\r\n")) buffer_.consume(2);
  const std::size_t end = bytes().find("\r\n\r\n", searched_);
  if (end != std::string_view::npos) return end + 4;
  searched_ = bytes().size() < 3 ? 0 : bytes().size() - 3;
  return 0;
}

// What was begun and never became a request is answered by its method too.
bool Session::begins_with_head() const {
  return std::string_view(static_cast<const char*>(buffer_.data().data()), buffer_.size())
      .starts_with("HEAD ");
}

bool Session::take_header(std::size_t bytes) {
  const std::string_view header(static_cast<const char*>(buffer_.data().data()), bytes);
  if (const auto fault = check_header(header)) {
    refuse(fault->status, std::string(fault->detail));
    return false;
  }
  parser_.emplace();
  parser_->header_limit(limits_.header_bytes_max);
  parser_->body_limit(boost::none);  // its length is judged before any of it is read
  boost::system::error_code error;
  const std::size_t used = parser_->put(asio::const_buffer(header.data(), header.size()), error);
  if ((error && error != beast_http::error::need_more) || !parser_->is_header_done()) {
    refuse(400, "the request cannot be read: " + error.message());
    return false;
  }
  buffer_.consume(used);
  const auto& message = parser_->get();
  http_1_1_ = message.version() >= 11;
  keep_alive_ = message.keep_alive();
  const std::string_view expect = view(message[field::expect]);
  expects_continue_ = http_1_1_ && boost::beast::iequals(message[field::expect], "100-continue");
  if (!expect.empty() && !expects_continue_ && http_1_1_) {
    refuse(417, "only 100-continue can be expected");
    return false;
  }
  request_ = request_of();
  parser_->eager(true);
  return true;
}

// By its header alone. Done: the body may be read.
Session::Read Session::judge() {
  if (health_only_ && !asks_health(request_)) return refuse(full());
  Judgement judgement = handler_.judge(request_);
  if (!judgement.answer) {
    body_bytes_max_ = std::min<std::uint64_t>(judgement.body_bytes_max, limits_.body_bytes_max);
    if (request_.content_length > body_bytes_max_) return refuse(body_too_long(body_bytes_max_));
    parser_->body_limit(body_bytes_max_);
    return Read::done;
  }
  refusal_ = std::move(judgement.answer);
  return drop_body() ? Read::answered : Read::refused;
}

// Of a request that is answered already. False: more of it is to come, which is not waited for.
bool Session::drop_body() {
  if (request_.chunked || request_.content_length > buffer_.size()) return false;
  buffer_.consume(static_cast<std::size_t>(request_.content_length));
  return true;
}

asio::awaitable<Session::Read> Session::read_body() {
  enter(Step::body, limits_.body_read_ms_max);
  for (;;) {
    if (parser_->is_done()) co_return Read::done;
    const Read fed = feed_body();
    if (fed == Read::refused || parser_->is_done()) co_return fed;
    if (expects_continue_) {
      expects_continue_ = false;
      auto writing = write(continue_line);
      const bool written = co_await std::move(writing);
      if (!written) co_return Read::closed;
    }
    auto receiving = receive();
    const bool received = co_await std::move(receiving);
    if (!received) co_return late_ ? refuse_late() : Read::closed;
  }
}

// Gives the parser what is in the buffer. Read::done: it wants more, or is done.
Session::Read Session::feed_body() {
  while (buffer_.size() > 0 && !parser_->is_done()) {
    boost::system::error_code error;
    const std::size_t used = parser_->put(buffer_.data(), error);
    buffer_.consume(used);
    if (error == beast_http::error::body_limit) return refuse(body_too_long(body_bytes_max_));
    if (error && error != beast_http::error::need_more) {
      return refuse(400, "the body cannot be read: " + error.message());
    }
    if (used == 0) {
      // A chunk's size line or a trailer that goes on and on.
      if (buffer_.size() > chunk_overhead_max) return refuse(400, "a chunk's header is too long");
      break;
    }
  }
  return Read::done;
}

// False: closed, broken or cut by the sweep.
asio::awaitable<bool> Session::receive() {
  boost::system::error_code error;
  auto token = asio::redirect_error(asio::use_awaitable, error);
  const std::size_t room = std::min(read_bytes, buffer_.max_size() - buffer_.size());
  if (room == 0) co_return false;
  const auto space = buffer_.prepare(room);
  const std::size_t received = co_await socket_.async_read_some(space, token);
  buffer_.commit(received);
  // The sweep may have come just after the bytes: late is late.
  co_return !error && received > 0 && !late_;
}

asio::awaitable<bool> Session::write(std::string_view bytes) {
  boost::system::error_code error;
  auto token = asio::redirect_error(asio::use_awaitable, error);
  const asio::const_buffer data(bytes.data(), bytes.size());
  co_await asio::async_write(socket_, data, token);
  co_return !error;
}

// Closing with unread bytes makes the kernel send a reset, and the peer may never see the answer.
asio::awaitable<void> Session::linger() {
  boost::system::error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  enter(Step::lingering, linger_ms_max);
  buffer_.clear();
  for (std::size_t dropped = 0; dropped < linger_bytes_max;) {
    auto receiving = receive();
    const bool received = co_await std::move(receiving);
    if (!received) break;
    dropped += buffer_.size();
    buffer_.clear();
  }
}

Session::Read Session::refuse(int status, std::string detail) {
  return refuse(validation_problem(status, std::move(detail)));
}

Session::Read Session::refuse(const Problem& problem) {
  refusal_ = problem_reply(problem);
  refusal_->headers.emplace_back("X-Correlation-ID", correlation_or_new({}));
  return Read::refused;
}

Session::Read Session::refuse_late() {
  late_ = false;
  return refuse(408, step_ == Step::header ? "the header took too long" : "the body took too long");
}

Request Session::request_of() const {
  const auto& message = parser_->get();
  Request request;
  request.port = port_;
  request.method = view(message.method_string());
  request.target = view(message.target());
  request.host = view(message[field::host]);
  request.origin = view(message[field::origin]);
  request.fetch_site = view(message["Sec-Fetch-Site"]);
  request.fetch_mode = view(message["Sec-Fetch-Mode"]);
  request.fetch_dest = view(message["Sec-Fetch-Dest"]);
  request.content_type = view(message[field::content_type]);
  request.content_coding = view(message[field::content_encoding]);
  request.content_length = parser_->content_length().value_or(0);
  request.chunked = parser_->chunked();
  request.correlation_id = view(message["X-Correlation-ID"]);
  request.traceparent = view(message["traceparent"]);
  request.authorization = view(message[field::authorization]);
  request.request_id = view(message["X-Request-ID"]);
  for (const auto& entry : message) {
    if (boost::beast::iequals(entry.name_string(), "Idempotency-Key")) {
      request.idempotency_keys.push_back(view(entry.value()));
    } else if (boost::beast::iequals(entry.name_string(), "Prefer")) {
      request.prefer.push_back(view(entry.value()));
    }
  }
  return request;
}

}  // namespace txcoord::http
