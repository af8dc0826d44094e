// The audit on real servers: a clean world gives nothing; every planted fault is named.
#include "txcoord/audit/audit.hpp"

#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>

#include "tests/pg/service_database.hpp"
#include "txcoord/base/settings.hpp"

namespace txcoord::audit {
namespace {

using test::ServiceDatabase;
using namespace std::chrono_literals;

// Making and dropping a database costs a checkpoint: all worlds share five, each has its own schemas.
test::FreshDatabase& shared(const std::string& server) {
  static std::map<std::string, test::FreshDatabase> databases;
  return databases.try_emplace(server, server).first->second;
}

// Five databases with orders in them, written by SQL alone: the audit shares no code with this.
struct World {
  ServiceDatabase order{"order", shared("ORDER")}, inventory{"inventory", shared("INVENTORY")},
      payment{"payment", shared("PAYMENT")}, shipping{"shipping", shared("SHIPPING")}, log{"log", shared("LOG")};
  std::string installation = log.value("SELECT installation FROM txc_installation");
  int seq = 0;

  World() {
    log.run("INSERT INTO coordinator_epoch VALUES ('c1', 2)");
    inventory.run("INSERT INTO inventory (sku, unit_price, available) VALUES ('book-1', 500, 1000), ('book-2', 70, 900);"
                  "INSERT INTO stock_ledger (sku, delta, cause) VALUES ('book-1', 900, 'PUT'),"
                  " ('book-1', 100, 'RESTOCK'), ('book-2', 900, 'LOAD')");
    payment.run("INSERT INTO wallets (customer_id, balance) VALUES ('anna', 100000), ('bert', 0);"
                "INSERT INTO wallet_ledger (customer_id, delta, cause) VALUES ('anna', 100000, 'PUT')");
  }

  AuditTargets targets() const {
    AuditTargets targets{order.dsn(), inventory.dsn(), payment.dsn(), shipping.dsn(), log.dsn()};
    targets.trimming = false;
    targets.orphan_age_max = 300ms;
    targets.patience = 5s;
    return targets;
  }

  std::string gid(int number, int epoch = 2) const {
    return "txc_" + installation + "_c1_" + std::to_string(epoch) + "_89abcdef_" + std::to_string(number);
  }
  std::string last_gid() const { return gid(seq); }

  // The decision's own transaction; nothing is applied yet.
  void decide(const std::string& order_id, const std::string& kind) {
    const std::string now_gid = gid(++seq);
    log.run("INSERT INTO decisions (gid, coordinator, epoch, outcome, participants, order_ids) VALUES ('" + now_gid +
            "', 'c1', 2, 'commit', '{order,inventory,payment,shipping}', '{" + order_id + "}');" +
            logged(order_id, kind, "confirmed", now_gid));
  }
  void complete() {
    log.run("UPDATE decisions SET completed_at = clock_timestamp() WHERE gid = '" + last_gid() + "'");
  }
  // One branch: the effects and the witness in one transaction.
  void apply(ServiceDatabase& service, const std::string& sql) {
    service.run("INSERT INTO txc_branch (gid) VALUES ('" + last_gid() + "');" + sql);
  }
  // Decided and complete, with witnesses and without any effect.
  void decide_in_vain(const std::string& order_id, const std::string& kind) {
    decide(order_id, kind);
    for (ServiceDatabase* each : {&order, &inventory, &payment, &shipping}) apply(*each, "SELECT 1");
    complete();
  }
  std::string logged(const std::string& order_id, const std::string& kind, const std::string& outcome,
                     const std::string& of) {
    static int keys = 0;
    return "INSERT INTO operations (period, scope, idempotency_key, fingerprint, kind, outcome, order_id, gid)"
           " VALUES (1, 's', 'key-" +
           std::to_string(++keys) + "', decode(repeat('00', 32), 'hex'), '" + kind + "', '" + outcome + "', '" +
           order_id + "', '" + of + "')";
  }

  // Places an order of two book-1 and one book-2 (1070) by anna's wallet.
  std::string place() {
    const std::string id = uuid_v7();
    const std::string q = "'" + id + "'";
    decide(id, "place");
    apply(order, "INSERT INTO orders (order_id, customer_id, status, mode, total_amount, transaction_id, correlation_id,"
              " created_at, updated_at) VALUES (" + q + ", 'anna', 'CONFIRMED', '2pc', 1070, '" + last_gid() +
              "', '', now(), now());"
              "INSERT INTO order_items VALUES (" + q + ", 1, 'book-2', 1, 70), (" + q + ", 2, 'book-1', 2, 500)");
    apply(inventory, "INSERT INTO reservations (reservation_id, order_id, sku, quantity, status, created_at) VALUES"
                  " (gen_random_uuid(), " + q + ", 'book-1', 2, 'RESERVED', now()),"
                  " (gen_random_uuid(), " + q + ", 'book-2', 1, 'RESERVED', now());"
                  "UPDATE inventory SET available = available - 2, reserved = reserved + 2 WHERE sku = 'book-1';"
                  "UPDATE inventory SET available = available - 1, reserved = reserved + 1 WHERE sku = 'book-2'");
    apply(payment, "INSERT INTO payments (payment_id, order_id, customer_id, amount, payment_method, status, created_at)"
                " VALUES (gen_random_uuid(), " + q + ", 'anna', 1070, 'wallet', 'CAPTURED', now());"
                "UPDATE wallets SET balance = balance - 1070 WHERE customer_id = 'anna'");
    apply(shipping, "INSERT INTO shipments (shipment_id, order_id, shipping_address, tracking_number, carrier, status,"
                 " created_at, updated_at) VALUES (gen_random_uuid(), " + q + ", '{}', gen_random_uuid()::text, 'x',"
                 " 'ARRANGED', now(), now())");
    complete();
    return id;
  }
  void cancel(const std::string& id) {
    decide(id, "cancel");
    apply(order, "UPDATE orders SET status = 'CANCELLED' WHERE order_id = '" + id + "'");
    apply(inventory, "UPDATE reservations SET status = 'RELEASED' WHERE order_id = '" + id + "';"
                  "UPDATE inventory SET available = available + 2, reserved = reserved - 2 WHERE sku = 'book-1';"
                  "UPDATE inventory SET available = available + 1, reserved = reserved - 1 WHERE sku = 'book-2'");
    apply(payment, "UPDATE payments SET status = 'REFUNDED' WHERE order_id = '" + id + "';"
                "UPDATE wallets SET balance = balance + 1070 WHERE customer_id = 'anna'");
    apply(shipping, "UPDATE shipments SET status = 'CANCELLED' WHERE order_id = '" + id + "'");
    complete();
  }
  void ship(const std::string& id) {
    decide(id, "ship");
    apply(order, "UPDATE orders SET status = 'SHIPPED' WHERE order_id = '" + id + "'");
    apply(inventory, "UPDATE reservations SET status = 'SHIPPED' WHERE order_id = '" + id + "';"
                  "UPDATE inventory SET shipped = shipped + 2, reserved = reserved - 2 WHERE sku = 'book-1';"
                  "UPDATE inventory SET shipped = shipped + 1, reserved = reserved - 1 WHERE sku = 'book-2'");
    apply(payment, "SELECT 1");
    apply(shipping, "UPDATE shipments SET status = 'SHIPPED' WHERE order_id = '" + id + "'");
    complete();
  }
};

using Found = std::set<std::tuple<std::string, std::string, std::string>>;  // invariant, check, subject

Found found_by(const AuditTargets& targets) {
  const AuditReport report = audit(targets);
  CHECK(report.unsettled == 0);
  Found found;
  for (const Violation& each : report.violations) {
    CHECK_FALSE(each.found.empty());
    found.emplace(each.invariant, each.check, each.subject);
  }
  return found;
}

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
  const auto plant = [&](const char* invariant, const char* check, ServiceDatabase& where, const std::string& sql) {
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
  for (const char* check : {"reservation_without_order", "payment_without_order", "shipment_without_order"}) {
    expected.emplace("I1", check, orphan);
  }
  const std::string itemless = world.place();
  world.order.run("DELETE FROM order_items" + of(itemless));
  expected.emplace("I1", "order_without_items", itemless);
  expected.emplace("I1", "items_differ", itemless);
  const std::string headless = world.place();
  world.order.run("DELETE FROM orders" + of(headless));
  for (const char* check : {"items_without_order", "reservation_without_order", "payment_without_order",
                            "shipment_without_order"}) {
    expected.emplace("I1", check, headless);
  }
  const std::string gone = uuid_v7();
  world.decide_in_vain(gone, "place");
  expected.emplace("I2", "confirmed_but_absent", gone);

  Found found = found_by(world.targets());
  std::erase_if(found, [](const auto& each) { return std::get<0>(each) == "I6"; });  // the same faults, as sums
  CHECK(found == expected);
}

TEST_CASE("audit: what the log does not know must look wrong for a while, and is then named", "[audit][I1][I4]") {
  World world;
  const std::string unlogged = world.place();
  world.log.run("DELETE FROM operations; DELETE FROM decisions");
  for (ServiceDatabase* each : {&world.order, &world.inventory, &world.payment, &world.shipping}) {
    each->run("DELETE FROM txc_branch");
  }
  const std::string orphan = uuid_v7();
  world.payment.run("INSERT INTO payments (payment_id, order_id, customer_id, amount, payment_method, status,"
                    " created_at) VALUES (gen_random_uuid(), '" + orphan + "', 'bert', 0, 'wallet', 'CAPTURED', now())");
  const auto started = test::Clock::now();
  CHECK(found_by(world.targets()) == Found{{"I4", "order_without_operation", unlogged},
                                           {"I1", "payment_without_order", orphan}});
  CHECK(test::since(started) >= world.targets().orphan_age_max);
  // Another installation's order is not for our log to know.
  world.order.run("UPDATE orders SET transaction_id = 'txc_00000000_c1_1_89abcdef_1'");
  CHECK(found_by(world.targets()) == Found{{"I1", "payment_without_order", orphan}});
}

TEST_CASE("audit: answers in the log and the order's state contradict each other", "[audit][I2][I4][I9][I10]") {
  World world;
  Found expected;
  const std::string refused = world.place();
  world.log.run("UPDATE operations SET outcome = 'refused', gid = '' WHERE order_id = '" + refused + "';"
                "DELETE FROM decisions WHERE gid = '" + world.last_gid() + "'");
  for (ServiceDatabase* each : {&world.order, &world.inventory, &world.payment, &world.shipping}) {
    each->run("DELETE FROM txc_branch WHERE gid = '" + world.last_gid() + "'");
  }
  expected.emplace("I10", "refused_but_present", refused);

  const std::string lost = world.place();
  world.decide_in_vain(lost, "ship");
  expected.emplace("I2", "answer_lost", lost);

  const std::string ahead = world.place();
  world.ship(ahead);
  world.log.run("DELETE FROM operations WHERE kind = 'ship' AND order_id = '" + ahead + "'; DELETE FROM decisions WHERE gid = '" +
                world.last_gid() + "'");
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
  CHECK(found_by(world.targets()) == Found{{"I6", "reserved_differs", "book-1"}});  // the sum is right again
  world.inventory.run("UPDATE inventory SET available = available - 1, reserved = reserved + 1 WHERE sku = 'book-1';"
                      "ALTER TABLE inventory DROP CONSTRAINT inventory_available_check;"
                      "UPDATE inventory SET available = -8 WHERE sku = 'book-2';"
                      "INSERT INTO stock_ledger (sku, delta, cause) VALUES ('book-2', -907, 'PUT')");
  CHECK(found_by(world.targets()) == Found{{"I6", "stock_negative", "book-2"}});
  world.inventory.run("UPDATE inventory SET available = 899 WHERE sku = 'book-2';"
                      "DELETE FROM stock_ledger WHERE delta = -907; INSERT INTO stock_ledger (sku, delta, cause)"
                      " VALUES ('book-3', 1, 'PUT')");
  CHECK(found_by(world.targets()) == Found{{"I6", "stock_not_conserved", "book-3"}});
  world.inventory.run("DELETE FROM stock_ledger WHERE sku = 'book-3'");
  REQUIRE(found_by(world.targets()).empty());

  world.payment.run("UPDATE wallets SET balance = balance - 1 WHERE customer_id = 'anna'");
  CHECK(found_by(world.targets()) == Found{{"I6", "wallet_not_conserved", "anna"}});
  world.payment.run("UPDATE wallets SET balance = balance + 1 WHERE customer_id = 'anna';"
                    "ALTER TABLE wallets DROP CONSTRAINT wallets_balance_check;"
                    "UPDATE wallets SET balance = -5 WHERE customer_id = 'bert';"
                    "INSERT INTO wallet_ledger (customer_id, delta, cause) VALUES ('bert', -5, 'PUT')");
  CHECK(found_by(world.targets()) == Found{{"I6", "wallet_negative", "bert"}});
}

TEST_CASE("audit: an authorised card that nobody will capture is named", "[audit][I1]") {
  World world;
  const std::string id = world.place();
  world.payment.run("UPDATE payments SET payment_method = 'card', status = 'AUTHORIZED';"
                    "UPDATE wallets SET balance = balance + 1070 WHERE customer_id = 'anna'");
  CHECK(found_by(world.targets()) == Found{{"I1", "capture_forgotten", id}});
  world.payment.run("INSERT INTO card_outbox (payment_id, order_id, customer_id, action, provider_reference)"
                    " SELECT payment_id, order_id, customer_id, 'CAPTURE', '' FROM payments");
  CHECK(found_by(world.targets()).empty());
}

TEST_CASE("audit: decisions, tombstones and witnesses that contradict each other", "[audit][I1][I3][I4][I10]") {
  World world;
  Found expected;
  world.place();
  world.inventory.run("DELETE FROM txc_branch WHERE gid = '" + world.last_gid() + "'");
  expected.emplace("I1", "witness_missing", world.last_gid());

  const std::string tombstoned = world.gid(900);
  world.log.run("INSERT INTO decisions (gid, coordinator, epoch, outcome, completed_at) VALUES ('" + tombstoned +
                "', 'c1', 2, 'abort', clock_timestamp())");
  world.payment.run("INSERT INTO txc_branch (gid) VALUES ('" + tombstoned + "')");
  expected.emplace("I3", "committed_and_aborted", tombstoned);

  const std::string undecided = world.gid(901);
  world.order.run("INSERT INTO txc_branch (gid) VALUES ('" + undecided + "')");
  expected.emplace("I4", "committed_without_decision", undecided);

  world.place();
  world.log.run("UPDATE decisions SET participants = '{order,inventory,payment}' WHERE gid = '" + world.last_gid() + "'");
  expected.emplace("I4", "committed_outside_decision", world.last_gid());

  world.place();
  world.log.run("DELETE FROM decisions WHERE gid = '" + world.last_gid() + "'");
  expected.emplace("I4", "committed_without_decision", world.last_gid());
  expected.emplace("I4", "confirmed_without_decision", world.last_gid());

  world.place();
  world.log.run("UPDATE decisions SET order_ids = '{" + uuid_v7() + "}' WHERE gid = '" + world.last_gid() + "'");
  expected.emplace("I3", "order_not_in_decision", world.last_gid());
  expected.emplace("I10", "decision_without_answer", world.last_gid());

  world.order.run("INSERT INTO txc_branch (gid) VALUES ('txc_00000000_c1_1_89abcdef_1')");  // not ours
  CHECK(found_by(world.targets()) == expected);
  AuditTargets trimming = world.targets();
  trimming.trimming = true;
  std::erase_if(expected, [](const auto& each) {
    return std::set<std::string>{"witness_missing", "committed_without_decision", "confirmed_without_decision"}
        .contains(std::get<1>(each));
  });
  CHECK(found_by(trimming) == expected);
}

TEST_CASE("audit: a confirmed operation whose decision says abort is named", "[audit][I3]") {
  World world;
  const std::string id = world.place();
  world.log.run("UPDATE decisions SET outcome = 'abort'");
  CHECK(found_by(world.targets()) == Found{{"I3", "committed_and_aborted", world.last_gid()},
                                           {"I3", "confirmed_and_aborted", world.last_gid()}});
}

TEST_CASE("audit: a key used in two periods is named, and does not show itself", "[audit][I5]") {
  World world;
  const std::string first = world.place(), second = world.place();
  world.log.run("SELECT txc_add_key_period(2); INSERT INTO key_periods (period) VALUES (2);"
                "UPDATE operations SET idempotency_key = 'secret', period = 2 WHERE order_id = '" + first + "';"
                "UPDATE operations SET idempotency_key = 'secret' WHERE order_id = '" + second + "'");
  const AuditReport report = audit(world.targets());
  REQUIRE(report.violations.size() == 1);
  CHECK(report.violations[0].check == "key_used_twice");
  CHECK(to_text(report).find("secret") == std::string::npos);
}

TEST_CASE("audit: decisions of fenced or invented epochs are named", "[audit][I3][I11]") {
  World world;
  world.place();  // epoch 2 has decided
  const std::string late = world.gid(800, 1), invented = world.gid(801, 3), misfiled = world.gid(802);
  const auto decide = [&](const std::string& gid, const char* coordinator, const char* epoch) {
    world.log.run("INSERT INTO decisions (gid, coordinator, epoch, outcome, completed_at) VALUES ('" + gid + "', '" +
                  coordinator + "', " + epoch + ", 'commit', clock_timestamp())");
  };
  decide(late, "c1", "1");
  decide(invented, "c1", "3");
  decide(misfiled, "c2", "2");
  CHECK(found_by(world.targets()) == Found{{"I11", "decided_after_fence", late},
                                           {"I11", "epoch_never_granted", invented},
                                           {"I11", "epoch_never_granted", misfiled},
                                           {"I3", "gid_malformed", misfiled}});
}

TEST_CASE("audit: a branch prepared for too long is named, a young one and a foreign one are not", "[audit][I7]") {
  World world;
  const auto prepare = [](ServiceDatabase& database, const std::string& branch) {
    database.run("BEGIN; INSERT INTO txc_branch (gid) VALUES ('" + branch + "'); PREPARE TRANSACTION '" + branch + "'");
  };
  const std::string stale = world.gid(700) + "_payment", misplaced = world.gid(701) + "_order";
  prepare(world.payment, stale);
  prepare(world.payment, misplaced);
  prepare(world.payment, "txc_00000000_c1_1_89abcdef_1_payment");
  AuditTargets patient = world.targets();
  patient.orphan_age_max = 60s;
  CHECK(found_by(patient) == Found{{"I7", "prepared_in_wrong_database", misplaced}});
  std::this_thread::sleep_for(world.targets().orphan_age_max + 50ms);
  CHECK(found_by(world.targets()) == Found{{"I7", "prepared_in_wrong_database", misplaced},
                                           {"I7", "prepared_too_long", stale}});
  // Shown as needing a person: no longer an orphan.
  world.log.run("INSERT INTO heuristic_outcomes (gid, participant, detail) VALUES ('" + world.gid(700) +
                "', 'payment', 'for a person')");
  CHECK(found_by(world.targets()) == Found{{"I7", "prepared_in_wrong_database", misplaced}});
}

TEST_CASE("audit: an order decided and not applied yet is not judged, but its decision's age is", "[audit][I7][I9]") {
  World world;
  const std::string id = uuid_v7();
  world.decide(id, "place");
  world.log.run("UPDATE decisions SET completed_at = NULL");
  for (ServiceDatabase* each : {&world.order, &world.inventory, &world.payment, &world.shipping}) {
    each->run("DELETE FROM txc_branch");
  }
  AuditTargets targets = world.targets();
  targets.orphan_age_max = 60s;
  targets.patience = 500ms;
  const AuditReport young = audit(targets);
  CHECK(young.clean());
  CHECK(young.looked_again == 1);
  CHECK(young.unsettled == 1);
  targets.orphan_age_max = 1ms;
  const AuditReport old = audit(targets);
  REQUIRE(old.violations.size() == 1);
  CHECK(old.violations[0].check == "decided_not_applied");
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
  for (int i = 0; i < 20; ++i) {
    const AuditReport report = audit(world.targets());
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

  world.payment.run("DELETE FROM payments; UPDATE wallets SET balance = balance + 1070 WHERE customer_id = 'anna'");
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
