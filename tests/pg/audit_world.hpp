// A world for the audit's tests: five databases with orders in them, written by SQL alone, so that
// the audit shares no code with what it reads.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <set>
#include <string>
#include <tuple>

#include "tests/pg/service_database.hpp"
#include "txcoord/audit/audit.hpp"

namespace txcoord::audit {

using test::ServiceDatabase;
using namespace std::chrono_literals;

// Making and dropping a database costs a checkpoint: all worlds share five, each has its own
// schemas.
inline test::FreshDatabase& shared(const std::string& server) {
  static std::map<std::string, test::FreshDatabase> databases;
  return databases.try_emplace(server, server).first->second;
}

struct World {
  ServiceDatabase order{"order", shared("ORDER")}, inventory{"inventory", shared("INVENTORY")},
      payment{"payment", shared("PAYMENT")}, shipping{"shipping", shared("SHIPPING")},
      log{"log", shared("LOG")};
  std::string installation = log.value("SELECT installation FROM txc_installation");
  int seq = 0;

  // Enough of everything: how many orders a loop of a test places is the machine's affair.
  World() {
    log.run("INSERT INTO coordinator_epoch VALUES ('c1', 2)");
    inventory.run(
        "INSERT INTO inventory (sku, unit_price, available) VALUES ('book-1', 500, "
        "1000000), ('book-2', 70, 900000);"
        "INSERT INTO stock_ledger (sku, delta, cause) VALUES ('book-1', 900000, 'PUT'),"
        " ('book-1', 100000, 'RESTOCK'), ('book-2', 900000, 'LOAD')");
    payment.run(
        "INSERT INTO wallets (customer_id, balance) VALUES ('anna', 1000000000), ('bert', 0);"
        "INSERT INTO wallet_ledger (customer_id, delta, cause) VALUES ('anna', 1000000000, 'PUT')");
  }

  AuditTargets targets() const {
    AuditTargets targets{order.dsn(), inventory.dsn(), payment.dsn(), shipping.dsn(), log.dsn()};
    targets.trimming = false;
    targets.orphan_age_max = 300ms;
    targets.saga_silence_max = 300ms;
    targets.patience = 5s;
    return targets;
  }

  std::string gid(int number, int epoch = 2) const {
    return "txc_" + installation + "_c1_" + std::to_string(epoch) + "_89abcdef_" +
           std::to_string(number);
  }
  std::string last_gid() const { return gid(seq); }

  // The decision's own transaction; nothing is applied yet.
  void decide(const std::string& order_id, const std::string& kind,
              const std::string& scope = "s") {
    const std::string now_gid = gid(++seq);
    log.run(
        "INSERT INTO decisions (gid, coordinator, epoch, outcome, participants, order_ids) VALUES "
        "('" +
        now_gid + "', 'c1', 2, 'commit', '{order,inventory,payment,shipping}', '{" + order_id +
        "}');" + logged(order_id, kind, "confirmed", now_gid, scope));
  }
  void complete() {
    log.run("UPDATE decisions SET completed_at = clock_timestamp() WHERE gid = '" + last_gid() +
            "'");
  }
  // One branch: the effects and the witness in one transaction.
  void apply(ServiceDatabase& service, const std::string& sql) {
    service.run("INSERT INTO txc_branch (gid) VALUES ('" + last_gid() + "');" + sql);
  }
  // Decided and complete, with witnesses and without any effect.
  void decide_in_vain(const std::string& order_id, const std::string& kind) {
    decide(order_id, kind);
    for (ServiceDatabase* each : {&order, &inventory, &payment, &shipping})
      apply(*each, "SELECT 1");
    complete();
  }
  std::string logged(const std::string& order_id, const std::string& kind,
                     const std::string& outcome, const std::string& of,
                     const std::string& scope = "s") {
    static int keys = 0;
    return "INSERT INTO operations (period, scope, idempotency_key, fingerprint, kind, outcome, "
           "order_id, gid)"
           " VALUES (1, '" +
           scope + "', 'key-" + std::to_string(++keys) + "', decode(repeat('00', 32), 'hex'), '" +
           kind + "', '" + outcome + "', '" + order_id + "', '" + of + "')";
  }

  // Places an order of two book-1 and one book-2 (1070) by anna's wallet; or one that was accepted
  // and stands there PENDING.
  std::string place(const std::string& accepted = "") {
    const std::string id = accepted.empty() ? uuid_v7() : accepted;
    const std::string q = "'" + id + "'";
    decide(id, "place", accepted.empty() ? "s" : "accepted");
    if (accepted.empty()) {
      apply(order, new_order(q, "CONFIRMED", "2pc", last_gid()));
    } else {
      apply(order, "UPDATE orders SET status = 'CONFIRMED', transaction_id = '" + last_gid() +
                       "' WHERE order_id = " + q);
    }
    apply(inventory, reserve(q));
    apply(payment, charge(q));
    apply(shipping, arrange(q));
    complete();
    return id;
  }

  // What each service writes for a new order; `q` is its quoted id.
  static std::string new_order(const std::string& q, const std::string& status,
                               const std::string& mode, const std::string& transaction) {
    return "INSERT INTO orders (order_id, customer_id, status, mode, total_amount, transaction_id,"
           " correlation_id, created_at, updated_at) VALUES (" +
           q + ", 'anna', '" + status + "', '" + mode + "', 1070, '" + transaction +
           "', '', now(), now());"
           "INSERT INTO order_items VALUES (" +
           q + ", 1, 'book-2', 1, 70), (" + q + ", 2, 'book-1', 2, 500)";
  }
  static std::string reserve(const std::string& q) {
    return "INSERT INTO reservations (reservation_id, order_id, sku, quantity, status, created_at)"
           " VALUES (gen_random_uuid(), " +
           q + ", 'book-1', 2, 'RESERVED', now()), (gen_random_uuid(), " + q +
           ", 'book-2', 1, 'RESERVED', now());" +
           move_stock("available = available - n, reserved = reserved + n");
  }
  static std::string charge(const std::string& q) {
    return "INSERT INTO payments (payment_id, order_id, customer_id, amount, payment_method,"
           " status, created_at) VALUES (gen_random_uuid(), " +
           q +
           ", 'anna', 1070, 'wallet', 'CAPTURED', now());"
           "UPDATE wallets SET balance = balance - 1070 WHERE customer_id = 'anna'";
  }
  static std::string arrange(const std::string& q) {
    return "INSERT INTO shipments (shipment_id, order_id, shipping_address, tracking_number,"
           " carrier, status, created_at, updated_at) VALUES (gen_random_uuid(), " +
           q + ", '{}', gen_random_uuid()::text, 'x', 'ARRANGED', now(), now())";
  }
  static std::string release(const std::string& q) {
    return "UPDATE reservations SET status = 'RELEASED' WHERE order_id = " + q + ";" +
           move_stock("available = available + n, reserved = reserved - n");
  }
  static std::string refund(const std::string& q) {
    return "UPDATE payments SET status = 'REFUNDED' WHERE order_id = " + q +
           ";UPDATE wallets SET balance = balance + 1070 WHERE customer_id = 'anna'";
  }
  static std::string move_stock(const std::string& how) {
    return "UPDATE inventory SET " + how +
           " FROM (VALUES ('book-1', 2), ('book-2', 1)) AS moved (what, n) WHERE sku = what";
  }

  void cancel(const std::string& id) {
    const std::string q = "'" + id + "'";
    decide(id, "cancel");
    apply(order, "UPDATE orders SET status = 'CANCELLED' WHERE order_id = " + q);
    apply(inventory, release(q));
    apply(payment, refund(q));
    apply(shipping, "UPDATE shipments SET status = 'CANCELLED' WHERE order_id = " + q);
    complete();
  }
  void ship(const std::string& id) {
    const std::string q = "'" + id + "'";
    decide(id, "ship");
    apply(order, "UPDATE orders SET status = 'SHIPPED' WHERE order_id = " + q);
    apply(inventory, "UPDATE reservations SET status = 'SHIPPED' WHERE order_id = " + q + ";" +
                         move_stock("shipped = shipped + n, reserved = reserved - n"));
    apply(payment, "SELECT 1");
    apply(shipping, "UPDATE shipments SET status = 'SHIPPED' WHERE order_id = " + q);
    complete();
  }
};

using Found =
    std::set<std::tuple<std::string, std::string, std::string>>;  // invariant, check, subject

inline Found found_by(const AuditTargets& targets) {
  const AuditReport report = audit(targets);
  CHECK(report.unsettled == 0);
  Found found;
  for (const Violation& each : report.violations) {
    CHECK_FALSE(each.found.empty());
    found.emplace(each.invariant, each.check, each.subject);
  }
  return found;
}

}  // namespace txcoord::audit
