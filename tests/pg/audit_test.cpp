// The audit on real servers: a clean world gives nothing; every fault planted in an order, in stock
// or in money is named; movement is not taken for a fault. The command's exit codes.
#include "txcoord/audit/audit.hpp"

#include <atomic>
#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>
#include <sstream>
#include <string>
#include <thread>

#include "tests/pg/audit_world.hpp"
#include "txcoord/base/settings.hpp"

namespace txcoord::audit {
namespace {

TEST_CASE("audit: a clean world gives no violation, with trimming on or off", "[audit]") {
  World world;
  world.place();
  world.cancel(world.place());
  world.ship(world.place());
  const std::string refused = uuid_v7();
  world.log.run(world.logged(refused, "place", "refused", ""));
  AuditTargets targets = world.targets();
  const AuditReport report = audit(targets);
  CHECK(to_text(report).find("no violation") != std::string::npos);
  CHECK(report.clean());
  CHECK(report.orders == 4);
  CHECK(report.operations == 6);
  CHECK(report.gids == 5);
  // Trimmed: decisions and witnesses are gone, nothing else changes.
  world.log.run("DELETE FROM decisions");
  for (ServiceDatabase* each : {&world.order, &world.inventory, &world.payment, &world.shipping}) {
    each->run("DELETE FROM txc_branch");
  }
  targets.trimming = true;
  CHECK(found_by(targets).empty());
}

TEST_CASE("audit: an order that is not whole is named with what is missing", "[audit][I1][I2]") {
  World world;
  const auto of = [](const std::string& id) { return " WHERE order_id = '" + id + "'"; };
  Found expected;
  const auto plant = [&](const char* invariant, const char* check, ServiceDatabase& where,
                         const std::string& sql) {
    const std::string id = world.place();
    where.run(sql + of(id));
    expected.emplace(invariant, check, id);
    return id;
  };
  plant("I1", "payment_missing", world.payment, "DELETE FROM payments");
  plant("I1", "shipment_missing", world.shipping, "DELETE FROM shipments");
  plant("I1", "reservation_missing", world.inventory, "DELETE FROM reservations");
  plant("I1", "amount_differs", world.payment, "UPDATE payments SET amount = amount - 1");
  plant("I1", "payer_differs", world.payment, "UPDATE payments SET customer_id = 'bert'");
  plant("I1", "items_differ", world.inventory, "UPDATE reservations SET quantity = quantity + 1");
  plant("I1", "total_differs", world.order, "UPDATE order_items SET unit_price = unit_price + 1");
  plant("I1", "statuses_disagree", world.payment, "UPDATE payments SET status = 'REFUNDED'");
  plant("I1", "statuses_disagree", world.shipping, "UPDATE shipments SET status = 'CANCELLED'");
  plant("I5", "placed_by_another", world.order, "UPDATE orders SET transaction_id = 'txc_other'");

  // Without its order, everything else is an orphan.
  const std::string orphan = world.place();
  world.order.run("DELETE FROM orders" + of(orphan) + "; DELETE FROM order_items" + of(orphan));
  for (const char* check :
       {"reservation_without_order", "payment_without_order", "shipment_without_order"}) {
    expected.emplace("I1", check, orphan);
  }
  const std::string itemless = world.place();
  world.order.run("DELETE FROM order_items" + of(itemless));
  expected.emplace("I1", "order_without_items", itemless);
  expected.emplace("I1", "items_differ", itemless);
  const std::string headless = world.place();
  world.order.run("DELETE FROM orders" + of(headless));
  for (const char* check : {"items_without_order", "reservation_without_order",
                            "payment_without_order", "shipment_without_order"}) {
    expected.emplace("I1", check, headless);
  }
  const std::string gone = uuid_v7();
  world.decide_in_vain(gone, "place");
  expected.emplace("I2", "confirmed_but_absent", gone);

  Found found = found_by(world.targets());
  std::erase_if(found, [](const auto& each) {
    return std::get<0>(each) == "I6";
  });  // the same faults, as sums
  CHECK(found == expected);
}

TEST_CASE("audit: what the log does not know must look wrong for a while, and is then named",
          "[audit][I1][I4]") {
  World world;
  const std::string unlogged = world.place();
  world.log.run("DELETE FROM operations; DELETE FROM decisions");
  for (ServiceDatabase* each : {&world.order, &world.inventory, &world.payment, &world.shipping}) {
    each->run("DELETE FROM txc_branch");
  }
  const std::string orphan = uuid_v7();
  world.payment.run(
      "INSERT INTO payments (payment_id, order_id, customer_id, amount, payment_method, status,"
      " created_at) VALUES (gen_random_uuid(), '" +
      orphan + "', 'bert', 0, 'wallet', 'CAPTURED', now())");
  const auto started = test::Clock::now();
  CHECK(found_by(world.targets()) == Found{{"I4", "order_without_operation", unlogged},
                                           {"I1", "payment_without_order", orphan}});
  CHECK(test::since(started) >= world.targets().orphan_age_max);
  // Another installation's order is not for our log to know.
  world.order.run("UPDATE orders SET transaction_id = 'txc_00000000_c1_1_89abcdef_1'");
  CHECK(found_by(world.targets()) == Found{{"I1", "payment_without_order", orphan}});
}

TEST_CASE("audit: answers in the log and the order's state contradict each other",
          "[audit][I2][I4][I9][I10]") {
  World world;
  Found expected;
  const std::string refused = world.place();
  world.log.run("UPDATE operations SET outcome = 'refused', gid = '' WHERE order_id = '" + refused +
                "';"
                "DELETE FROM decisions WHERE gid = '" +
                world.last_gid() + "'");
  for (ServiceDatabase* each : {&world.order, &world.inventory, &world.payment, &world.shipping}) {
    each->run("DELETE FROM txc_branch WHERE gid = '" + world.last_gid() + "'");
  }
  expected.emplace("I10", "refused_but_present", refused);

  const std::string lost = world.place();
  world.decide_in_vain(lost, "ship");
  expected.emplace("I2", "answer_lost", lost);

  const std::string ahead = world.place();
  world.ship(ahead);
  world.log.run("DELETE FROM operations WHERE kind = 'ship' AND order_id = '" + ahead +
                "'; DELETE FROM decisions WHERE gid = '" + world.last_gid() + "'");
  for (ServiceDatabase* each : {&world.order, &world.inventory, &world.payment, &world.shipping}) {
    each->run("DELETE FROM txc_branch WHERE gid = '" + world.last_gid() + "'");
  }
  expected.emplace("I4", "moved_without_decision", ahead);

  const std::string twice = world.place();
  world.cancel(twice);
  world.decide_in_vain(twice, "cancel");
  expected.emplace("I9", "moved_twice", twice);

  const std::string both = world.place();
  world.ship(both);
  world.decide_in_vain(both, "cancel");
  expected.emplace("I9", "cancelled_and_shipped", both);

  const std::string placed_twice = world.place();
  world.log.run(world.logged(placed_twice, "place", "confirmed", world.last_gid()));
  expected.emplace("I5", "placed_twice", placed_twice);
  CHECK(found_by(world.targets()) == expected);
}

TEST_CASE("audit: a unit of stock or money too many or too few is named", "[audit][I6]") {
  World world;
  world.place();
  world.inventory.run("UPDATE inventory SET available = available + 1 WHERE sku = 'book-1'");
  CHECK(found_by(world.targets()) == Found{{"I6", "stock_not_conserved", "book-1"}});
  world.inventory.run("UPDATE inventory SET reserved = reserved - 1 WHERE sku = 'book-1'");
  CHECK(found_by(world.targets()) ==
        Found{{"I6", "reserved_differs", "book-1"}});  // the sum is right again
  world.inventory.run(
      "UPDATE inventory SET available = available - 1, reserved = reserved + 1 WHERE sku = "
      "'book-1';"
      "ALTER TABLE inventory DROP CONSTRAINT inventory_available_check;"
      "UPDATE inventory SET available = -8 WHERE sku = 'book-2';"
      "INSERT INTO stock_ledger (sku, delta, cause) VALUES ('book-2', -900007, 'PUT')");
  CHECK(found_by(world.targets()) == Found{{"I6", "stock_negative", "book-2"}});
  world.inventory.run(
      "UPDATE inventory SET available = 899999 WHERE sku = 'book-2';"
      "DELETE FROM stock_ledger WHERE delta = -900007; INSERT INTO stock_ledger (sku, delta, cause)"
      " VALUES ('book-3', 1, 'PUT')");
  CHECK(found_by(world.targets()) == Found{{"I6", "stock_not_conserved", "book-3"}});
  world.inventory.run("DELETE FROM stock_ledger WHERE sku = 'book-3'");
  REQUIRE(found_by(world.targets()).empty());

  world.payment.run("UPDATE wallets SET balance = balance - 1 WHERE customer_id = 'anna'");
  CHECK(found_by(world.targets()) == Found{{"I6", "wallet_not_conserved", "anna"}});
  world.payment.run(
      "UPDATE wallets SET balance = balance + 1 WHERE customer_id = 'anna';"
      "ALTER TABLE wallets DROP CONSTRAINT wallets_balance_check;"
      "UPDATE wallets SET balance = -5 WHERE customer_id = 'bert';"
      "INSERT INTO wallet_ledger (customer_id, delta, cause) VALUES ('bert', -5, 'PUT')");
  CHECK(found_by(world.targets()) == Found{{"I6", "wallet_negative", "bert"}});
}

TEST_CASE("audit: an authorised card that nobody will capture is named", "[audit][I1]") {
  World world;
  const std::string id = world.place();
  world.payment.run(
      "UPDATE payments SET payment_method = 'card', status = 'AUTHORIZED';"
      "UPDATE wallets SET balance = balance + 1070 WHERE customer_id = 'anna'");
  CHECK(found_by(world.targets()) == Found{{"I1", "capture_forgotten", id}});
  world.payment.run(
      "INSERT INTO card_outbox (payment_id, order_id, customer_id, action, provider_reference)"
      " SELECT payment_id, order_id, customer_id, 'CAPTURE', '' FROM payments");
  CHECK(found_by(world.targets()).empty());
}

TEST_CASE("audit: a card errand that was refused, and a reversal that nobody made, are named",
          "[audit][I1]") {
  World world;
  const std::string id = world.place();
  world.payment.run(
      "UPDATE payments SET payment_method = 'card', status = 'AUTHORIZED';"
      "UPDATE wallets SET balance = balance + 1070 WHERE customer_id = 'anna';"
      "INSERT INTO card_outbox (payment_id, order_id, customer_id, action, provider_reference, "
      "answer,"
      " refused_at) SELECT payment_id, order_id, customer_id, 'CAPTURE', '', 'VOIDED', now() FROM "
      "payments");
  CHECK(found_by(world.targets()) == Found{{"I1", "card_errand_refused", id}});
  world.payment.run("DELETE FROM card_outbox; UPDATE payments SET status = 'VOIDED'");
  Found found = found_by(world.targets());
  std::erase_if(
      found, [](const auto& violation) { return std::get<1>(violation) == "statuses_disagree"; });
  CHECK(found == Found{{"I1", "reversal_forgotten", id}});
}

TEST_CASE("audit: movement between the snapshots is not taken for a violation", "[audit]") {
  World world;
  std::atomic<bool> stop = false;
  std::thread mover([&] {
    // Decides, applies in one database after the other, completes: as the coordinator does.
    while (!stop) {
      const std::string id = world.place();
      world.cancel(id);
    }
  });
  AuditTargets targets = world.targets();
  targets.orphan_age_max = 2s;  // the mover is one thread of many, and may be kept waiting
  for (int i = 0; i < 8; ++i) {
    const AuditReport report = audit(targets);
    if (!report.clean()) FAIL_CHECK(to_text(report));
    CHECK(report.unsettled == 0);
  }
  stop = true;
  mover.join();
  CHECK(found_by(world.targets()).empty());
}

TEST_CASE("audit: the command's exit codes and JSON", "[audit]") {
  World world;
  const std::string id = world.place();
  Settings settings;
  settings.log.dsn = world.log.dsn();
  settings.participants["order"].dsn = world.order.dsn();
  settings.participants["inventory"].dsn = world.inventory.dsn();
  settings.participants["payment"].dsn = world.payment.dsn();
  std::ostringstream incomplete;
  CHECK(run_audit(settings, false, incomplete) == 2);
  CHECK(incomplete.str().find("participants.shipping") != std::string::npos);
  settings.participants["shipping"].dsn = world.shipping.dsn();

  std::ostringstream clean;
  CHECK(run_audit(settings, true, clean) == 0);
  CHECK(boost::json::parse(clean.str()).at("clean").as_bool());

  world.payment.run(
      "DELETE FROM payments; UPDATE wallets SET balance = balance + 1070 WHERE customer_id = "
      "'anna'");
  std::ostringstream broken;
  CHECK(run_audit(settings, true, broken) == 1);
  const auto json = boost::json::parse(broken.str());
  CHECK(json.at("violations_total").as_int64() == 1);
  CHECK(json.at("violations").at(0).at("check").as_string() == "payment_missing");
  CHECK(json.at("violations").at(0).at("subject").as_string() == id);

  settings.participants["payment"].dsn = "host=/nonexistent password=secret dbname=none";
  std::ostringstream unreadable;
  CHECK(run_audit(settings, false, unreadable) == 2);
  CHECK(unreadable.str().find("'payment'") != std::string::npos);
  CHECK(unreadable.str().find("secret") == std::string::npos);
}

}  // namespace
}  // namespace txcoord::audit
