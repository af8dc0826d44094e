// See http_link.hpp.
#include "participants/remote/http_link.hpp"

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <deque>
#include <optional>
#include <stdexcept>

namespace txcoord::remote {
namespace {

using tcp = asio::ip::tcp;
using Clock = std::chrono::steady_clock;
namespace beast_http = boost::beast::http;

struct Connection {
  explicit Connection(const asio::any_io_executor& io) : socket(io), watch(io) {}

  void close() {
    boost::system::error_code ignored;
    socket.close(ignored);
  }

  tcp::socket socket;
  asio::steady_timer watch;  // cuts the exchange under way at its deadline
  boost::beast::flat_buffer buffer;
  Clock::time_point used{};
  std::uint64_t exchange = 0;  // which one is under way: a late watch cuts no later one
  bool late = false;
};
using ConnectionPtr = std::shared_ptr<Connection>;

std::string request_text(const Url& url, std::string_view path, std::string_view body,
                         const HttpHeaders& headers) {
  std::string text;
  text.reserve(256 + body.size());
  text.append("POST ").append(url.prefix).append(path).append(" HTTP/1.1\r\nHost: ");
  text.append(url.authority()).append("\r\nContent-Type: application/json\r\nContent-Length: ");
  text.append(std::to_string(body.size())).append("\r\n");
  for (const auto& [name, value] : headers) {
    text.append(name).append(": ");
    // Values come from a client in part: no line of theirs becomes a header of ours.
    for (const char c : value) text.push_back(c == '\r' || c == '\n' ? ' ' : c);
    text.append("\r\n");
  }
  return text.append("\r\n").append(body);
}

void watch(const ConnectionPtr& connection, Clock::time_point deadline) {
  connection->late = false;
  connection->watch.expires_at(deadline);
  connection->watch.async_wait(
      [connection, exchange = ++connection->exchange](const boost::system::error_code& error) {
        if (error || connection->exchange != exchange) return;
        connection->late = true;
        connection->close();
      });
}

void unwatch(Connection& connection) {
  ++connection.exchange;
  connection.watch.cancel();
}

enum class Idle : std::uint8_t { quiet, closed, bytes };

// What an idle connection has to read: nothing, its end, or what nobody has asked for.
Idle look_at(Connection& connection) {
  if (connection.buffer.size() > 0) return Idle::bytes;
  boost::system::error_code error;
  char byte = 0;
  const std::size_t seen =
      connection.socket.receive(asio::buffer(&byte, 1), asio::socket_base::message_peek, error);
  if (error == asio::error::would_block || error == asio::error::try_again) return Idle::quiet;
  return error || seen == 0 ? Idle::closed : Idle::bytes;
}

using Parser = beast_http::response_parser<beast_http::string_body>;

bool interim(const Parser& parser) { return parser.get().result_int() / 100 == 1; }

std::string media_type(const Parser& parser) {
  constexpr auto field = beast_http::field::content_type;
  if (parser.get().count(field) != 1) return {};
  const auto value = parser.get()[field];
  std::string type(value.data(), value.size());
  type.resize(std::min(type.find(';'), type.size()));
  while (type.ends_with(' ') || type.ends_with('\t')) type.pop_back();
  for (char& c : type)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return type;
}

bool encoded(const Parser& parser) {
  const auto coding = parser.get()[beast_http::field::content_encoding];
  return !coding.empty() && !boost::beast::iequals(coding, "identity");
}

}  // namespace

std::string Url::authority() const {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == "80" ? name : name + ":" + port;
}

Url parse_url(std::string_view text) {
  constexpr std::string_view scheme = "http://";
  if (!text.starts_with(scheme))
    throw std::invalid_argument("it must begin with http:// (TLS ends at a proxy)");
  text.remove_prefix(scheme.size());
  Url url;
  const std::size_t slash = text.find('/');
  if (slash != std::string_view::npos) url.prefix = text.substr(slash);
  while (url.prefix.ends_with('/')) url.prefix.pop_back();
  std::string_view authority = text.substr(0, slash);
  std::string_view port;
  if (authority.starts_with('[')) {
    const std::size_t end = authority.find(']');
    if (end == std::string_view::npos) throw std::invalid_argument("its [ has no ]");
    url.host = authority.substr(1, end - 1);
    port = authority.substr(end + 1);
  } else {
    const std::size_t colon = authority.find(':');
    url.host = authority.substr(0, colon);
    port = colon == std::string_view::npos ? std::string_view() : authority.substr(colon);
  }
  const auto plain = [](unsigned char c) { return c > ' ' && c < 127 && c != '@' && c != '?'; };
  const bool fits = !url.host.empty() && std::ranges::all_of(url.host, plain) &&
                    std::ranges::all_of(url.prefix, plain);
  if (!fits) throw std::invalid_argument("it must be http://host[:port][/prefix]");
  if (!port.empty()) {
    url.port = port.substr(1);
    const bool digits = port.size() > 1 && port.size() <= 6 &&
                        url.port.find_first_not_of("0123456789") == std::string::npos;
    if (port[0] != ':' || !digits || std::stoul(url.port) > 65535 || std::stoul(url.port) == 0)
      throw std::invalid_argument("its port must be 1 to 65535");
  }
  return url;
}

struct HttpLink::Impl {
  Impl(asio::any_io_executor executor, const Url& url, LinkLimits all, Resolve resolve)
      : io(executor),
        limits(all),
        names(std::move(executor), url.host, url.port, {}, std::move(resolve)) {}

  struct Waiter {
    explicit Waiter(const asio::any_io_executor& executor) : wake(executor) {}
    asio::steady_timer wake;
    ConnectionPtr connection;
  };

  asio::any_io_executor io;
  LinkLimits limits;
  NameLookup names;
  std::uint64_t out_of_step = 0;
  std::deque<ConnectionPtr> idle;  // most recently used last
  std::deque<std::shared_ptr<Waiter>> waiters;
  std::size_t open = 0;

  ConnectionPtr take() {
    // What has idled too long is closed: the service may be closing it just now.
    while (!idle.empty() && idle.front()->used + limits.idle_max < Clock::now()) {
      idle.pop_front();
      --open;
    }
    if (!idle.empty()) {
      ConnectionPtr connection = std::move(idle.back());
      idle.pop_back();
      return connection;
    }
    if (open >= limits.connections_max) return nullptr;
    ++open;
    return std::make_shared<Connection>(io);
  }

  // `connection` may be closed: whoever takes it connects it anew.
  void give_back(ConnectionPtr connection) {
    connection->used = Clock::now();
    if (!waiters.empty()) {
      waiters.front()->connection = std::move(connection);
      waiters.front()->wake.cancel();
      waiters.pop_front();
    } else if (connection->socket.is_open()) {
      idle.push_back(std::move(connection));
    } else {
      --open;
    }
  }

  asio::awaitable<ConnectionPtr> wait(Clock::time_point deadline) {
    ConnectionPtr connection = take();
    if (connection != nullptr || waiters.size() >= limits.waiters_max) co_return connection;
    const auto waiter = std::make_shared<Waiter>(io);
    waiters.push_back(waiter);
    waiter->wake.expires_at(deadline);
    boost::system::error_code ignored;
    auto token = asio::redirect_error(asio::use_awaitable, ignored);
    co_await waiter->wake.async_wait(token);
    std::erase(waiters, waiter);
    co_return std::move(waiter->connection);
  }

  // What is wrong; empty: it is connected. Each address gets its share of the time: a silent one
  // keeps the next from being tried no longer than that.
  asio::awaitable<std::string> connect(ConnectionPtr connection, Clock::time_point deadline) {
    connection->buffer.clear();
    auto finding = names.find(deadline);
    const Addresses found = co_await std::move(finding);
    std::string why = found.error;
    std::size_t left = found.endpoints.size();
    for (const tcp::endpoint& endpoint : found.endpoints) {
      const auto now = Clock::now();
      watch(connection, now + (deadline - now) / static_cast<int>(left--));
      boost::system::error_code error;
      auto token = asio::redirect_error(asio::use_awaitable, error);
      co_await connection->socket.async_connect(endpoint, token);
      // A watch that fired between the last step and here has closed the socket.
      if (!error && !connection->late) {
        boost::system::error_code ignored;
        connection->socket.set_option(tcp::no_delay(true), ignored);
        connection->socket.set_option(asio::socket_base::keep_alive(true), ignored);
        connection->socket.non_blocking(true, ignored);  // for look_at()
        co_return std::string();
      }
      why = connection->late ? "not connected in time" : error.message();
      connection->close();
    }
    names.not_there();
    co_return why;
  }

  // One whole message, without the interim ones before it; or what is wrong.
  asio::awaitable<std::string> read_answer(ConnectionPtr connection,
                                           std::optional<Parser>& parser) {
    for (std::size_t interims = 0;; ++interims) {
      parser.emplace();
      parser->body_limit(limits.answer_bytes_max);
      boost::system::error_code error;
      auto token = asio::redirect_error(asio::use_awaitable, error);
      co_await beast_http::async_read(connection->socket, connection->buffer, *parser, token);
      if (error || connection->late) co_return error ? error.message() : "late";
      if (!interim(*parser)) break;
      if (parser->get().result() == beast_http::status::switching_protocols)
        co_return "the service switched to another protocol";
      if (interims == limits.interim_answers_max)
        co_return "too many interim answers came before the answer";
    }
    if (look_at(*connection) == Idle::bytes) {
      ++out_of_step;
      co_return "bytes came after the answer: whoever sent it counts them wrongly";
    }
    co_return std::string();
  }
};

HttpLink::HttpLink(asio::any_io_executor io, Url url, LinkLimits limits, Resolve resolve)
    : url_(std::move(url)),
      impl_(std::make_shared<Impl>(std::move(io), url_, limits, std::move(resolve))) {}
HttpLink::~HttpLink() = default;

std::size_t HttpLink::connections() const { return impl_->open; }
std::uint64_t HttpLink::out_of_step() const { return impl_->out_of_step; }

asio::awaitable<Exchange> HttpLink::post(std::string path, std::string body, HttpHeaders headers,
                                         std::chrono::milliseconds time_max) {
  using Kind = Exchange::Kind;
  const auto impl = impl_;
  const std::string request = request_text(url_, path, body, headers);
  const auto deadline = Clock::now() + time_max;
  auto waiting = impl->wait(deadline);
  const ConnectionPtr connection = co_await std::move(waiting);
  Exchange exchange;
  exchange.error = "no connection became free";
  if (connection == nullptr) co_return exchange;

  const auto ended = [&](Kind kind, const std::string& why) {
    const bool late = connection->late;
    unwatch(*connection);
    connection->close();
    impl->give_back(connection);
    exchange.kind = late && kind == Kind::no_answer ? Kind::late : kind;
    exchange.error = late && kind == Kind::no_answer ? "no answer in time" : why;
  };
  // Whoever closed an idle one, or spoke on it unasked, has read nothing of this request.
  if (connection->socket.is_open()) {
    const Idle idle = look_at(*connection);
    if (idle == Idle::bytes) ++impl->out_of_step;
    if (idle != Idle::quiet) connection->close();
  }
  if (!connection->socket.is_open()) {
    auto connecting =
        impl->connect(connection, std::min(deadline, Clock::now() + impl->limits.connect_max));
    std::string wrong = co_await std::move(connecting);
    if (wrong.empty() && look_at(*connection) == Idle::bytes) {
      ++impl->out_of_step;
      wrong = "bytes came before the request was sent";
    }
    if (!wrong.empty()) {
      ended(Kind::not_sent, wrong);
      co_return exchange;
    }
  }
  watch(connection, deadline);
  boost::system::error_code error;
  auto token = asio::redirect_error(asio::use_awaitable, error);
  co_await asio::async_write(connection->socket, asio::buffer(request), token);
  std::string wrong = error.message();
  std::optional<Parser> parser;
  if (!error) {
    auto reading = impl->read_answer(connection, parser);
    wrong = co_await std::move(reading);
  }
  if (error || !wrong.empty()) {
    ended(Kind::no_answer, wrong);
    co_return exchange;
  }
  unwatch(*connection);
  exchange.kind = Kind::answered;
  exchange.status = static_cast<int>(parser->get().result_int());
  exchange.media_type = media_type(*parser);
  exchange.encoded = encoded(*parser);
  exchange.body = std::move(parser->get().body());
  exchange.error.clear();
  if (!parser->get().keep_alive()) connection->close();
  impl->give_back(connection);
  co_return exchange;
}

}  // namespace txcoord::remote
