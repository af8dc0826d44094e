// A participant's service as `txcoord participant` wires it, over the test doubles of a
// coordinator's server: its REST and the branch protocol on one port.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "participants/remote/participant_host.hpp"
#include "tests/http/test_server.hpp"
#include "tests/unit/fake_participant.hpp"
#include "txcoord/http/participant_api.hpp"
#include "txcoord/http/participant_rest.hpp"

namespace txcoord::testing {

class ParticipantServer {
 public:
  // Lives as long as the coordinator's server, on its I/O thread.
  static std::shared_ptr<const ParticipantServer> beside(TestServer& coordinator,
                                                         std::set<std::string> names,
                                                         const std::string& token = {}) {
    const auto made = std::make_shared<ParticipantServer>(coordinator, std::move(names), token);
    coordinator.keep(made);
    coordinator.on_io([&] { made->server_.start(); });
    return made;
  }

  ParticipantServer(TestServer& coordinator, std::set<std::string> names, const std::string& token)
      : world_(coordinator.world),
        script_(coordinator.executor()),
        settings_(settings(token)),
        hosted_(hosted(names)),
        host_(coordinator.executor(), hosted_, std::chrono::milliseconds(1000)),
        rest_(coordinator.executor(), hosted_, settings_, rest_body_bytes_max, metrics_,
              [this] { return health(); }),
        api_(host_, metrics_, settings_.http, token, &rest_.handler()),
        server_(coordinator.executor(), settings_.http, api_) {}

  Client connect() const { return Client(server_.port()); }
  Client connect_admin() const { return Client(server_.admin_port()); }
  http::RouteSet routes() const {
    std::vector<std::string> names;
    for (const auto& [name, hosted] : hosted_) names.push_back(name);
    return http::participant_routes(names);
  }

  static constexpr std::uint32_t rest_body_bytes_max = 64 * 1024;

 private:
  static Settings settings(const std::string& token) {
    Settings settings;
    settings.http.port = 0;
    settings.http.hosts_allowed = "test";
    settings.http.read_wait_ms_max = 300;
    settings.http.body_bytes_max = 1024 * 1024;  // the protocol's
    settings.internal_token = token;
    return settings;
  }

  http::ParticipantRest::HostedByName hosted(const std::set<std::string>& names) {
    const http::ParticipantRest::HostedByName all = {
        {"order", {.participant = &order_branches_, .orders = &orders_}},
        {"inventory", {.participant = &inventory_branches_, .inventory = &inventory_}},
        {"payment", {.participant = &payment_branches_, .payments = &payments_}},
        {"shipping", {.participant = &shipping_branches_, .shipping = &shipping_}}};
    http::ParticipantRest::HostedByName chosen;
    for (const std::string& name : names) chosen[name] = all.at(name);
    return chosen;
  }

  boost::asio::awaitable<std::vector<http::DatabaseHealth>> health() {
    std::vector<http::DatabaseHealth> databases;
    for (const auto& [name, hosted] : hosted_) {
      const bool away = world_.away.contains(name);
      databases.push_back({name, !away, away ? "connection refused" : ""});
    }
    co_return databases;
  }

  FakeWorld& world_;
  Script script_;
  FakeParticipant order_branches_{"order", script_}, inventory_branches_{"inventory", script_},
      payment_branches_{"payment", script_}, shipping_branches_{"shipping", script_};
  FakeOrders orders_{world_};
  FakeInventory inventory_{world_};
  FakePayments payments_{world_};
  FakeShipping shipping_{world_};
  Settings settings_;
  Metrics metrics_;
  http::ParticipantRest::HostedByName hosted_;
  remote::ParticipantHost host_;
  http::ParticipantRest rest_;
  http::ParticipantApi api_;
  http::Server server_;
};

}  // namespace txcoord::testing
