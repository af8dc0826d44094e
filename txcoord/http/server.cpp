// See server.hpp.
#include "txcoord/http/server.hpp"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "txcoord/base/logging.hpp"
#include "txcoord/http/problem.hpp"
#include "txcoord/http/wire.hpp"

namespace txcoord::http {
namespace {

using tcp = asio::ip::tcp;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds sweep_interval_max{200};
// Out of file descriptors: accepting again at once would only spin.
constexpr std::chrono::milliseconds accept_retry{50};

// Beside each port's own connections: for health checks and scrapes while it is full. A share for
// each peer, so that whoever filled the port does not fill this too.
constexpr ConnectionShares::Limits reserve{.all = 64, .per_peer = 16};

std::uint32_t share_of_half(std::uint32_t all) { return std::max<std::uint32_t>(1, all / 2); }

// Often enough that a limit is kept within about an eighth of itself.
std::chrono::milliseconds sweep_interval(const HttpSettings& settings) {
  const std::uint32_t shortest = std::min({settings.header_read_ms_max, settings.body_read_ms_max,
                                           settings.idle_ms_max, settings.write_ms_max});
  return std::clamp(std::chrono::milliseconds(shortest / 8), std::chrono::milliseconds(5),
                    sweep_interval_max);
}

// A polite no, without waiting: what does not fit the socket's buffer is lost.
void turn_away(tcp::socket& socket) {
  Reply reply =
      problem_reply({.status = 503, .reason = "OVERLOADED", .detail = "too many connections"});
  std::string bytes;
  append_reply(bytes, reply, /*close=*/true, /*http_1_1=*/true);
  boost::system::error_code ignored;
  socket.non_blocking(true, ignored);
  socket.write_some(asio::buffer(bytes), ignored);
  socket.shutdown(tcp::socket::shutdown_send, ignored);
  socket.close(ignored);
}

asio::awaitable<void> sleep_until_changed(asio::steady_timer& timer) {
  boost::system::error_code ignored;
  auto token = asio::redirect_error(asio::use_awaitable, ignored);
  co_await timer.async_wait(token);
}

}  // namespace

Server::Server(asio::any_io_executor io, const HttpSettings& settings, RequestHandler& handler)
    : io_(io),
      settings_(settings),
      handler_(handler),
      open_shares_({settings.connections_max, settings.connections_per_peer_max}, reserve),
      admin_shares_({settings.admin_connections_max, share_of_half(settings.admin_connections_max)},
                    reserve),
      open_acceptor_(io),
      admin_acceptor_(io),
      sweep_timer_(io),
      drained_(io) {}

void Server::start() {
  open_port_ =
      listen(open_acceptor_, settings_.address, settings_.port, "http.address or http.port");
  // With an ephemeral public port there is no "port + 1" to count on.
  std::uint16_t wanted = settings_.admin_port;
  if (wanted == 0 && settings_.port != 0) wanted = static_cast<std::uint16_t>(settings_.port + 1);
  admin_port_ = listen(admin_acceptor_, settings_.admin_address, wanted,
                       "http.admin_address or http.admin_port");
  asio::co_spawn(io_, accept(open_acceptor_, Port::open), asio::detached);
  asio::co_spawn(io_, accept(admin_acceptor_, Port::admin), asio::detached);
  asio::co_spawn(io_, sweep(), asio::detached);
}

std::uint16_t Server::listen(tcp::acceptor& acceptor, const std::string& address,
                             std::uint16_t port, const std::string& setting) {
  boost::system::error_code error;
  const auto parsed = asio::ip::make_address(address, error);
  if (error) throw SettingsError("change " + setting + ": " + address + " is not an IP address");
  const tcp::endpoint endpoint(parsed, port);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    throw SettingsError("cannot listen on " + address + ":" + std::to_string(port) + " (" +
                        error.message() + "): change " + setting);
  }
  return acceptor.local_endpoint().port();
}

asio::awaitable<void> Server::accept(tcp::acceptor& acceptor, Port port) {
  while (!stopping_) {
    boost::system::error_code error;
    auto token = asio::redirect_error(asio::use_awaitable, error);
    tcp::socket socket = co_await acceptor.async_accept(token);
    if (stopping_) co_return;
    if (!error) {
      admit(std::move(socket), port);
    } else if (error != asio::error::connection_aborted) {
      logging::warn("accept failed", {{"error", std::string_view(error.message())}});
      asio::steady_timer pause(io_, accept_retry);
      auto pausing = sleep_until_changed(pause);
      co_await std::move(pausing);
    }
  }
}

void Server::admit(tcp::socket socket, Port port) {
  boost::system::error_code error;
  const tcp::endpoint remote = socket.remote_endpoint(error);
  if (error) return;  // gone already
  const Admission admission = shares(port).admit(remote.address());
  if (admission == Admission::turned_away) return turn_away(socket);
  socket.set_option(tcp::no_delay(true), error);
  auto session = std::make_shared<Session>(std::move(socket), port, settings_, handler_,
                                           admission == Admission::health_only);
  if (leaving_) session->close_after_answer();
  sessions_.insert(session);
  asio::co_spawn(io_, serve(std::move(session), remote.address(), port, admission), asio::detached);
}

asio::awaitable<void> Server::serve(std::shared_ptr<Session> session, asio::ip::address peer,
                                    Port port, Admission admission) {
  auto running = session->run();
  co_await std::move(running);
  sessions_.erase(session);
  shares(port).leave(peer, admission);
  if (stopping_ && sessions_.empty()) drained_.cancel();
}

asio::awaitable<void> Server::sweep() {
  const auto interval = sweep_interval(settings_);
  while (!(stopping_ && sessions_.empty())) {
    sweep_timer_.expires_after(interval);
    auto waiting = sleep_until_changed(sweep_timer_);
    co_await std::move(waiting);
    const auto now = Clock::now();
    for (const auto& session : sessions_) session->sweep(now);
  }
}

void Server::close_after_answers() {
  leaving_ = true;
  for (const auto& session : sessions_) session->close_after_answer();
}

void Server::stop_accepting() {
  stopping_ = true;
  boost::system::error_code ignored;
  open_acceptor_.close(ignored);
  admin_acceptor_.close(ignored);
  for (const auto& session : sessions_) session->drain();
}

asio::awaitable<void> Server::drain() {
  stop_accepting();
  const auto deadline = Clock::now() + std::chrono::milliseconds(settings_.drain_ms_max);
  while (!sessions_.empty() && Clock::now() < deadline) {
    drained_.expires_at(deadline);
    auto waiting = sleep_until_changed(drained_);
    co_await std::move(waiting);
  }
  if (!sessions_.empty()) {
    logging::warn("connections cut at shutdown",
                  {{"connections", static_cast<std::int64_t>(sessions_.size())}});
    for (const auto& session : sessions_) session->cut();
  }
  sweep_timer_.cancel();
}

}  // namespace txcoord::http
