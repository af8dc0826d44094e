// What a group's statements cost does not depend on how full the tables were when they were
// planned: each session plans them once (pg::Planning::once).
#include <catch2/catch_test_macros.hpp>
#include <stdexcept>
#include <string>
#include <thread>

#include "participants/inventory/inventory.hpp"
#include "participants/order/order.hpp"
#include "participants/payment/payment.hpp"
#include "participants/shipping/shipping.hpp"
#include "tests/pg/branch_rig.hpp"

namespace txcoord {
namespace {

using namespace std::chrono_literals;
using test::operation_on;
using test::place_order;

constexpr int rows = 20000;

// A participant with one session for its branches, so that all groups share its plans.
template <class Parts>
struct PlannedRig {
  explicit PlannedRig(std::string_view name,
                      Parts (*make)(asio::any_io_executor, const DatabaseSettings&))
      : database(name), parts(make(io.get_executor(), settings())) {}

  DatabaseSettings settings() {
    DatabaseSettings settings = test::settings_of(database);
    settings.connections_max = 3;
    return settings;
  }
  void place_and_cancel() {
    Operations placed, cancelled;
    for (const char* const sku : {"a", "b", "c"}) {
      auto order = place_order({{sku, 1, 100, ""}});
      order->place.address = {"田中 太郎", "100-0001", "東京都", "千代田区", "1-1", "", ""};
      order->place.shipment_id = uuid_v7();
      placed.push_back(std::move(order));
      cancelled.push_back(operation_on(placed.back()->order_id, OperationKind::cancel));
    }
    branch.committed(placed);
    branch.committed(cancelled);
  }
  // Every operation writes one.
  std::string events() { return database.value("SELECT count(*) FROM events"); }
  // The most rows that sequential scans have read from one table. A session tells at its end.
  int read_by_scans() {
    parts = Parts{};
    for (const auto end = test::Clock::now() + 10s; database.sessions() != "0";
         std::this_thread::sleep_for(5ms)) {
      if (test::Clock::now() > end) throw std::runtime_error("the participant left a session");
    }
    return std::stoi(database.value("SELECT max(seq_tup_read) FROM pg_stat_user_tables"));
  }

  test::ServiceDatabase database;
  boost::asio::io_context io;
  Parts parts;
  test::BranchDriver branch{io, *parts.participant};
};

std::string numbered(const std::string& sql) {
  return sql + " FROM generate_series(1, " + std::to_string(rows) + ") n";
}

TEST_CASE("inventory: a group planned on empty tables reads full ones by key", "[inventory]") {
  PlannedRig<InventoryParts> rig("inventory", [](auto io, const auto& settings) {
    return make_inventory(io, settings, nullptr);
  });
  rig.database.run(
      "INSERT INTO inventory (sku, unit_price, available) SELECT sku, 100, 9 FROM "
      "unnest('{a,b,c}'::text[]) sku");
  rig.place_and_cancel();
  rig.database.run(numbered("INSERT INTO inventory (sku) SELECT 'other-' || n"));
  rig.database.run(numbered(
      "INSERT INTO reservations (reservation_id, order_id, sku, quantity, status, created_at) "
      "SELECT gen_random_uuid(), gen_random_uuid(), 'a', 1, 'SHIPPED', now()"));
  rig.place_and_cancel();
  CHECK(rig.events() == "12");
  CHECK(rig.read_by_scans() < rows);
}

TEST_CASE("payment: a group planned on empty tables reads full ones by key", "[payment]") {
  PlannedRig<PaymentParts> rig(
      "payment", [](auto io, const auto& settings) { return make_payment(io, settings, nullptr); });
  rig.database.run("INSERT INTO wallets (customer_id, balance) VALUES ('customer-001', 9000)");
  rig.place_and_cancel();
  rig.database.run(numbered("INSERT INTO wallets (customer_id) SELECT 'other-' || n"));
  rig.database.run(numbered(
      "INSERT INTO payments (payment_id, order_id, customer_id, amount, payment_method, status, "
      "created_at) SELECT gen_random_uuid(), gen_random_uuid(), 'other', 1, 'wallet', 'REFUNDED', "
      "now()"));
  rig.place_and_cancel();
  CHECK(rig.events() == "12");
  CHECK(rig.read_by_scans() < rows);
}

TEST_CASE("order: a group planned on empty tables reads full ones by key", "[order]") {
  PlannedRig<OrderParts> rig(
      "order", [](auto io, const auto& settings) { return make_order(io, settings, nullptr); });
  rig.place_and_cancel();
  rig.database.run(numbered(
      "INSERT INTO orders (order_id, customer_id, status, mode, total_amount, transaction_id, "
      "correlation_id, created_at, updated_at) SELECT gen_random_uuid(), 'other', 'CANCELLED', "
      "'2pc', 1, 'gid', 'corr', now(), now()"));
  rig.place_and_cancel();
  CHECK(rig.events() == "12");
  CHECK(rig.read_by_scans() < rows);
}

TEST_CASE("shipping: a group planned on empty tables reads full ones by key", "[shipping]") {
  PlannedRig<ShippingParts> rig("shipping", [](auto io, const auto& settings) {
    return make_shipping(io, settings, nullptr);
  });
  rig.place_and_cancel();
  rig.database.run(numbered(
      "INSERT INTO shipments (shipment_id, order_id, shipping_address, tracking_number, carrier, "
      "status, created_at, updated_at) SELECT gen_random_uuid(), gen_random_uuid(), '{}', n::text, "
      "'carrier', 'CANCELLED', now(), now()"));
  rig.place_and_cancel();
  CHECK(rig.events() == "12");
  CHECK(rig.read_by_scans() < rows);
}

}  // namespace
}  // namespace txcoord
