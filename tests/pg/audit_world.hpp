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

  World() {
    log.run("INSERT INTO coordinator_epoch VALUES ('c1', 2)");
    inventory.run(
        "INSERT INTO inventory (sku, unit_price, available) VALUES ('book-1', 500, 1000), "
        "('book-2', 70, 900);"
        "INSERT INTO stock_ledger (sku, delta, cause) VALUES ('book-1', 900, 'PUT'),"
        " ('book-1', 100, 'RESTOCK'), ('book-2', 900, 'LOAD')");
    payment.run(
        "INSERT INTO wallets (customer_id, balance) VALUES ('anna', 100000), ('bert', 0);"
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
    return "txc_" + installation + "_c1_" + std::to_string(epoch) + "_89abcdef_" +
           std::to_string(number);
  }
  std::string last_gid() const { return gid(seq); }

  // The decision's own transaction; nothing is applied yet.
  void decide(const std::string& order_id, const std::string& kind) {
    const std::string now_gid = gid(++seq);
    log.run(
        "INSERT INTO decisions (gid, coordinator, epoch, outcome, participants, order_ids) VALUES "
        "('" +
        now_gid + "', 'c1', 2, 'commit', '{order,inventory,payment,shipping}', '{" + order_id +
        "}');" + logged(order_id, kind, "confirmed", now_gid));
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
                     const std::string& outcome, const std::string& of) {
    static int keys = 0;
    return "INSERT INTO operations (period, scope, idempotency_key, fingerprint, kind, outcome, "
           "order_id, gid)"
           " VALUES (1, 's', 'key-" +
           std::to_string(++keys) + "', decode(repeat('00', 32), 'hex'), '" + kind + "', '" +
           outcome + "', '" + order_id + "', '" + of + "')";
  }

  // Places an order of two book-1 and one book-2 (1070) by anna's wallet.
  std::string place() {
    const std::string id = uuid_v7();
    const std::string q = "'" + id + "'";
    decide(id, "place");
    apply(order,
          "INSERT INTO orders (order_id, customer_id, status, mode, total_amount, transaction_id, "
          "correlation_id,"
          " created_at, updated_at) VALUES (" +
              q + ", 'anna', 'CONFIRMED', '2pc', 1070, '" + last_gid() +
              "', '', now(), now());"
              "INSERT INTO order_items VALUES (" +
              q + ", 1, 'book-2', 1, 70), (" + q + ", 2, 'book-1', 2, 500)");
    apply(inventory,
          "INSERT INTO reservations (reservation_id, order_id, sku, quantity, status, created_at) "
          "VALUES"
          " (gen_random_uuid(), " +
              q +
              ", 'book-1', 2, 'RESERVED', now()),"
              " (gen_random_uuid(), " +
              q +
              ", 'book-2', 1, 'RESERVED', now());"
              "UPDATE inventory SET available = available - 2, reserved = reserved + 2 WHERE sku = "
              "'book-1';"
              "UPDATE inventory SET available = available - 1, reserved = reserved + 1 WHERE sku = "
              "'book-2'");
    apply(payment,
          "INSERT INTO payments (payment_id, order_id, customer_id, amount, payment_method, "
          "status, created_at)"
          " VALUES (gen_random_uuid(), " +
              q +
              ", 'anna', 1070, 'wallet', 'CAPTURED', now());"
              "UPDATE wallets SET balance = balance - 1070 WHERE customer_id = 'anna'");
    apply(shipping,
          "INSERT INTO shipments (shipment_id, order_id, shipping_address, tracking_number, "
          "carrier, status,"
          " created_at, updated_at) VALUES (gen_random_uuid(), " +
              q +
              ", '{}', gen_random_uuid()::text, 'x',"
              " 'ARRANGED', now(), now())");
    complete();
    return id;
  }
  void cancel(const std::string& id) {
    decide(id, "cancel");
    apply(order, "UPDATE orders SET status = 'CANCELLED' WHERE order_id = '" + id + "'");
    apply(inventory, "UPDATE reservations SET status = 'RELEASED' WHERE order_id = '" + id +
                         "';"
                         "UPDATE inventory SET available = available + 2, reserved = reserved - 2 "
                         "WHERE sku = 'book-1';"
                         "UPDATE inventory SET available = available + 1, reserved = reserved - 1 "
                         "WHERE sku = 'book-2'");
    apply(payment, "UPDATE payments SET status = 'REFUNDED' WHERE order_id = '" + id +
                       "';"
                       "UPDATE wallets SET balance = balance + 1070 WHERE customer_id = 'anna'");
    apply(shipping, "UPDATE shipments SET status = 'CANCELLED' WHERE order_id = '" + id + "'");
    complete();
  }
  void ship(const std::string& id) {
    decide(id, "ship");
    apply(order, "UPDATE orders SET status = 'SHIPPED' WHERE order_id = '" + id + "'");
    apply(inventory, "UPDATE reservations SET status = 'SHIPPED' WHERE order_id = '" + id +
                         "';"
                         "UPDATE inventory SET shipped = shipped + 2, reserved = reserved - 2 "
                         "WHERE sku = 'book-1';"
                         "UPDATE inventory SET shipped = shipped + 1, reserved = reserved - 1 "
                         "WHERE sku = 'book-2'");
    apply(payment, "SELECT 1");
    apply(shipping, "UPDATE shipments SET status = 'SHIPPED' WHERE order_id = '" + id + "'");
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
