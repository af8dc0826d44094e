// Listens on the public and the admin port; bounds connections, for each port, in all and for each
// peer; sweeps late ones; drains at shutdown. All on the I/O thread of the executor given.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <unordered_set>

#include "txcoord/base/settings.hpp"
#include "txcoord/http/connection_shares.hpp"
#include "txcoord/http/session.hpp"

namespace txcoord::http {

class Server {
 public:
  // The settings and the handler must outlive the server; the io_context must not run after it is
  // gone.
  Server(asio::any_io_executor io, const HttpSettings& settings, RequestHandler& handler);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Binds and listens on both ports; throws SettingsError that names the setting (a port in use).
  void start();
  // As bound: settings may say 0.
  std::uint16_t port() const { return open_port_; }
  std::uint16_t admin_port() const { return admin_port_; }

  // Each connection, new ones too, closes after its next answer, so that clients who keep theirs
  // come again by way of the load balancer; until stop_accepting.
  void close_after_answers();
  // No new connections; idle ones close, busy ones close after their answer.
  void stop_accepting();
  // stop_accepting, then waits until the last connection is gone, at most drain_ms_max: then cuts.
  asio::awaitable<void> drain();

  std::size_t connections() const { return sessions_.size(); }

 private:
  std::uint16_t listen(asio::ip::tcp::acceptor& acceptor, const std::string& address,
                       std::uint16_t port, const std::string& setting);
  asio::awaitable<void> accept(asio::ip::tcp::acceptor& acceptor, Port port);
  void admit(asio::ip::tcp::socket socket, Port port);
  asio::awaitable<void> serve(std::shared_ptr<Session> session, asio::ip::address peer, Port port,
                              Admission admission);
  ConnectionShares& shares(Port port) { return port == Port::admin ? admin_shares_ : open_shares_; }
  asio::awaitable<void> sweep();

  asio::any_io_executor io_;
  const HttpSettings& settings_;
  RequestHandler& handler_;
  ConnectionShares open_shares_, admin_shares_;
  asio::ip::tcp::acceptor open_acceptor_, admin_acceptor_;
  asio::steady_timer sweep_timer_, drained_;
  std::uint16_t open_port_ = 0, admin_port_ = 0;
  bool leaving_ = false, stopping_ = false;
  std::unordered_set<std::shared_ptr<Session>> sessions_;
};

}  // namespace txcoord::http
