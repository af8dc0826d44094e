// See http_link.hpp.
#include "participants/remote/http_link.hpp"

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <deque>
#include <stdexcept>

namespace txcoord::remote {
namespace {

using tcp = asio::ip::tcp;
using Clock = std::chrono::steady_clock;
namespace beast_http = boost::beast::http;

struct Connection {
  explicit Connection(const asio::any_io_executor& io) : socket(io), resolver(io), watch(io) {}

  tcp::socket socket;
  tcp::resolver resolver;
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
        boost::system::error_code ignored;
        connection->resolver.cancel();
        connection->socket.close(ignored);
      });
}

void unwatch(Connection& connection) {
  ++connection.exchange;
  connection.watch.cancel();
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
  Impl(asio::any_io_executor executor, LinkLimits all) : io(std::move(executor)), limits(all) {}

  struct Waiter {
    explicit Waiter(const asio::any_io_executor& executor) : wake(executor) {}
    asio::steady_timer wake;
    ConnectionPtr connection;
  };

  asio::any_io_executor io;
  LinkLimits limits;
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

  asio::awaitable<boost::system::error_code> connect(Connection& connection, const Url& url) {
    boost::system::error_code error;
    auto token = asio::redirect_error(asio::use_awaitable, error);
    connection.buffer.clear();
    const auto endpoints = co_await connection.resolver.async_resolve(url.host, url.port, token);
    if (error) co_return error;
    co_await asio::async_connect(connection.socket, endpoints, token);
    if (error) co_return error;
    boost::system::error_code ignored;
    connection.socket.set_option(tcp::no_delay(true), ignored);
    connection.socket.set_option(asio::socket_base::keep_alive(true), ignored);
    co_return error;
  }
};

HttpLink::HttpLink(asio::any_io_executor io, Url url, LinkLimits limits)
    : url_(std::move(url)), impl_(std::make_shared<Impl>(std::move(io), limits)) {}
HttpLink::~HttpLink() = default;

std::size_t HttpLink::connections() const { return impl_->open; }

asio::awaitable<Exchange> HttpLink::post(std::string path, std::string body, HttpHeaders headers,
                                         std::chrono::milliseconds time_max) {
  using Kind = Exchange::Kind;
  const auto impl = impl_;
  const Url url = url_;
  const auto deadline = Clock::now() + time_max;
  auto waiting = impl->wait(deadline);
  const ConnectionPtr connection = co_await std::move(waiting);
  if (connection == nullptr) co_return Exchange{Kind::not_sent, 0, {}, "no connection became free"};

  boost::system::error_code error;
  const auto ended = [&](Kind kind, const std::string& why) {
    const bool late = connection->late;
    unwatch(*connection);
    boost::system::error_code ignored;
    connection->socket.close(ignored);
    impl->give_back(connection);
    if (late && kind == Kind::no_answer) kind = Kind::late;
    return Exchange{kind, 0, {}, late ? "no answer in time" : why};
  };
  if (!connection->socket.is_open()) {
    watch(connection, std::min(deadline, Clock::now() + impl->limits.connect_max));
    auto connecting = impl->connect(*connection, url);
    error = co_await std::move(connecting);
    // A watch that fired between the last step and here has closed the socket.
    if (error || connection->late) co_return ended(Kind::not_sent, error.message());
  }
  watch(connection, deadline);
  const std::string request = request_text(url, path, body, headers);
  auto token = asio::redirect_error(asio::use_awaitable, error);
  co_await asio::async_write(connection->socket, asio::buffer(request), token);
  if (error) co_return ended(Kind::no_answer, error.message());

  beast_http::response_parser<beast_http::string_body> parser;
  parser.body_limit(impl->limits.answer_bytes_max);
  co_await beast_http::async_read(connection->socket, connection->buffer, parser, token);
  if (error || connection->late) co_return ended(Kind::no_answer, error.message());
  unwatch(*connection);
  Exchange exchange{Kind::answered,
                    static_cast<int>(parser.get().result_int()),
                    std::move(parser.get().body()),
                    {}};
  if (!parser.get().keep_alive()) {
    boost::system::error_code ignored;
    connection->socket.close(ignored);
  }
  impl->give_back(connection);
  co_return exchange;
}

}  // namespace txcoord::remote
