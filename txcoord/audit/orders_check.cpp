// The eight streams, merged by order_id.
#include "txcoord/audit/orders_check.hpp"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "txcoord/pg/array.hpp"

namespace txcoord::audit {
namespace {

// {orders} becomes a condition on order_id, or true. Cursors take no parameters: see
// select_orders().
constexpr pg::Statement order_rows{"audit_orders", R"(
  SELECT order_id, o.order_id IS NOT NULL, coalesce(o.status, ''), coalesce(o.mode, ''),
         coalesce(o.customer_id, ''), coalesce(o.transaction_id, ''), coalesce(o.total_amount, 0),
         coalesce((extract(epoch FROM o.created_at) * 1000000)::bigint, 0),
         coalesce(i.items, ''), coalesce(i.total, 0), coalesce(o.reason, '')
    FROM (SELECT * FROM orders WHERE {orders}) o
    FULL JOIN (SELECT order_id,
                      string_agg(sku || ' x' || quantity, ', ' ORDER BY sku COLLATE "C", quantity) AS items,
                      sum(quantity::numeric * unit_price) AS total
                 FROM order_items
                WHERE {orders}
                GROUP BY order_id) i USING (order_id)
   ORDER BY order_id)"};

constexpr pg::Statement reservation_rows{"audit_reservations", R"(
  SELECT order_id, string_agg(sku || ' x' || quantity, ', ' ORDER BY sku COLLATE "C", quantity),
         string_agg(DISTINCT status, ',' ORDER BY status)
    FROM reservations
   WHERE {orders}
   GROUP BY order_id
   ORDER BY order_id)"};

constexpr pg::Statement payment_rows{"audit_payments", R"(
  SELECT order_id, status, payment_method, customer_id, amount
    FROM payments
   WHERE {orders}
   ORDER BY order_id)"};

constexpr pg::Statement shipment_rows{"audit_shipments", R"(
  SELECT order_id, status
    FROM shipments
   WHERE {orders}
   ORDER BY order_id)"};

constexpr pg::Statement logged_operations{"audit_operations", R"(
  SELECT o.order_id, o.kind, o.outcome, coalesce(o.gid, ''),
         d.outcome IS NOT DISTINCT FROM 'commit' AND d.completed_at IS NULL AND NOT d.heuristic,
         o.scope = 'accepted'
    FROM (SELECT * FROM operations WHERE {orders}) o
    LEFT JOIN decisions d ON d.gid = o.gid
   ORDER BY o.order_id, o.created_at, o.scope, o.idempotency_key)"};

// {silent} becomes saga_silence_max. What is tried again is silent only when no next try is due.
constexpr pg::Statement logged_sagas{"audit_sagas", R"(
  SELECT s.order_id, s.saga_id, s.saga_type, s.status, s.reason, s.ended_at IS NOT NULL,
         s.stuck_since IS NOT NULL,
         s.epoch IS NOT DISTINCT FROM e.epoch AND coalesce(l.expires_at > now(), false),
         greatest(s.updated_at, s.next_retry_at) < now() - interval '{silent} milliseconds',
         concat_ws(' ', s.coordinator, s.epoch, s.current_step, s.attempts, s.next_retry_at)
    FROM (SELECT * FROM saga_instances WHERE {orders}) s
    LEFT JOIN coordinator_epoch e ON e.id = s.coordinator
    LEFT JOIN coordinator_lease l ON l.id = s.coordinator
   ORDER BY s.order_id, s.created_at, s.saga_id)"};

constexpr pg::Statement logged_lost{"audit_lost_of_orders", R"(
  SELECT order_id, saga_id
    FROM lost_sagas
   WHERE resolved_at IS NULL AND order_id IS NOT NULL AND {orders}
   ORDER BY order_id, saga_id)"};

// While the first period of keys is there, the log knows every order; after that, those made since
// the oldest period that is kept, and a minute for the clocks.
constexpr pg::Statement log_scope{"audit_log_scope", R"(
  SELECT 'txc_' || i.installation || '_',
         CASE WHEN min(p.period) = 1 THEN 0
              ELSE (extract(epoch FROM min(p.started_at) + interval '1 minute') * 1000000)::bigint END
    FROM txc_installation i CROSS JOIN key_periods p
   GROUP BY i.installation)"};

LogScope log_scope_of(Snapshot& log) {
  const pqxx::result rows = log.read(log_scope.name, log_scope.sql);
  if (rows.size() != 1)
    throw std::runtime_error("database 'log' does not say which installation it is");
  return {rows[0][0].as<std::string>(), rows[0][1].as<std::int64_t>()};
}

// Coordinators tell the services' databases about once a second how far their log has come.
constexpr pg::Statement others_at_work{"audit_others_at_work", R"(
  SELECT EXISTS (SELECT FROM txc_log_seen
                  WHERE 'txc_' || installation || '_' <> {prefix}
                    AND at > now() - interval '60 seconds'))"};

// The ids are canonical uuids that a database gave us, so quoting adds nothing but certainty.
std::string select_orders(Snapshot& snapshot, const pg::Statement& statement,
                          const std::vector<std::string>& only) {
  std::string condition = "true";
  if (!only.empty())
    condition = "order_id = ANY (" + snapshot.quote(pg::array_text(only)) + "::uuid[])";
  constexpr std::string_view marker = "{orders}";
  std::string sql = statement.sql;
  for (auto at = sql.find(marker); at != std::string::npos;
       at = sql.find(marker, at + condition.size())) {
    sql.replace(at, marker.size(), condition);
  }
  return sql;
}

// A stream whose rows start with order_id, sorted by it: canonical text sorts as the uuids do.
class OrderStream {
 public:
  OrderStream(Snapshot& snapshot, const pg::Statement& statement,
              const std::vector<std::string>& only)
      : cursor_(snapshot, statement.name, select_orders(snapshot, statement, only)) {}

  // The order under the cursor; empty at the end.
  std::string_view order_id() const {
    const auto row = cursor_.row();
    return row ? (*row)[0].view() : std::string_view();
  }
  // Hands over the rows of one order, and moves past them.
  template <class Take>
  void take(const std::string& order_id, Take take) {
    while (this->order_id() == order_id) {
      take(*cursor_.row());
      cursor_.next();
    }
  }

 private:
  Cursor cursor_;
};

OrderRow order_row(const pqxx::row& row) {
  OrderRow order;
  order.row = row[1].as<bool>();
  order.status = row[2].as<std::string>();
  order.mode = row[3].as<std::string>();
  order.customer_id = row[4].as<std::string>();
  order.transaction_id = row[5].as<std::string>();
  order.total_amount = row[6].as<std::int64_t>();
  order.created_us = row[7].as<std::int64_t>();
  order.items = row[8].as<std::string>();
  order.items_total = row[9].as<std::string>();
  order.reason = row[10].as<std::string>();
  return order;
}

PaymentRow payment_row(const pqxx::row& row) {
  return {row[1].as<std::string>(), row[2].as<std::string>(), row[3].as<std::string>(),
          row[4].as<std::int64_t>()};
}

LoggedOperation logged_operation(const pqxx::row& row) {
  return {row[1].as<std::string>(), row[2].as<std::string>(), row[3].as<std::string>(),
          row[4].as<bool>(), row[5].as<bool>()};
}

LoggedSaga logged_saga(const pqxx::row& row) {
  LoggedSaga saga;
  saga.saga_id = row[1].as<std::string>();
  saga.type = row[2].as<std::string>();
  saga.status = row[3].as<std::string>();
  saga.reason = row[4].as<std::string>();
  saga.ended = row[5].as<bool>();
  saga.stuck = row[6].as<bool>();
  saga.owned = row[7].as<bool>();
  saga.silent = row[8].as<bool>();
  saga.trouble = row[9].as<std::string>();
  return saga;
}

// The two streams of what the log says.
class LogStream {
 public:
  LogStream(Snapshot& log, const std::string& sagas_sql, const std::vector<std::string>& only)
      : operations_(log, logged_operations, only),
        sagas_(log, {logged_sagas.name, sagas_sql.c_str()}, only),
        lost_(log, logged_lost, only) {}

  std::string_view order_id() const {
    std::string_view first = operations_.order_id();
    for (const std::string_view other : {sagas_.order_id(), lost_.order_id()})
      if (first.empty() || (!other.empty() && other < first)) first = other;
    return first;
  }
  LoggedOrder take(const std::string& order_id) {
    LoggedOrder logged;
    operations_.take(order_id, [&](const pqxx::row& row) {
      logged.operations.push_back(logged_operation(row));
    });
    sagas_.take(order_id, [&](const pqxx::row& row) { logged.sagas.push_back(logged_saga(row)); });
    lost_.take(order_id,
               [&](const pqxx::row& row) { logged.lost.push_back(row[1].as<std::string>()); });
    return logged;
  }

 private:
  OrderStream operations_, sagas_, lost_;
};

std::string sagas_sql(const AuditTargets& targets) {
  constexpr std::string_view marker = "{silent}";
  std::string sql = logged_sagas.sql;
  return sql.replace(sql.find(marker), marker.size(),
                     std::to_string(targets.saga_silence_max.count()));
}

// What is found now is certain: see the rules in orders_check.hpp.
bool certain(const OrderFacts& facts, std::chrono::steady_clock::duration unchanged,
             const AuditTargets& targets) {
  if (facts.open_saga()) return unchanged >= targets.saga_silence_max;
  return facts.at_rest() && (facts.logged() || unchanged >= targets.orphan_age_max);
}

constexpr std::size_t orders_a_look = 1000;  // bounds the text of one condition
constexpr std::chrono::milliseconds pause_between_looks{200};

}  // namespace

Look::Look(const AuditTargets& targets)
    : log_before("log", targets.log),
      order("order", targets.order),
      inventory("inventory", targets.inventory),
      payment("payment", targets.payment),
      shipping("shipping", targets.shipping),
      log_after("log", targets.log) {}

namespace {

bool shared_with_others(Look& look, const std::string& prefix) {
  for (Snapshot* service : {&look.order, &look.inventory, &look.payment, &look.shipping}) {
    constexpr std::string_view marker = "{prefix}";
    std::string sql = others_at_work.sql;
    sql.replace(sql.find(marker), marker.size(), service->quote(prefix));
    if (service->read(others_at_work.name, sql)[0][0].as<bool>()) return true;
  }
  return false;
}

}  // namespace

LogScope read_log_scope(Look& look) {
  LogScope scope = log_scope_of(look.log_after);
  scope.shared = shared_with_others(look, scope.installation_prefix);
  return scope;
}

void read_orders(Look& look, const AuditTargets& targets, const std::vector<std::string>& only,
                 const std::function<void(const OrderFacts&)>& each) {
  const std::string sagas = sagas_sql(targets);
  LogStream before(look.log_before, sagas, only);
  OrderStream orders(look.order, order_rows, only);
  OrderStream reservations(look.inventory, reservation_rows, only);
  OrderStream payments(look.payment, payment_rows, only);
  OrderStream shipments(look.shipping, shipment_rows, only);
  LogStream after(look.log_after, sagas, only);
  const LogScope scope = read_log_scope(look);

  while (true) {
    std::string_view first;
    for (const std::string_view id :
         {before.order_id(), orders.order_id(), reservations.order_id(), payments.order_id(),
          shipments.order_id(), after.order_id()}) {
      if (!id.empty() && (first.empty() || id < first)) first = id;
    }
    if (first.empty()) return;

    OrderFacts facts;
    facts.order_id = first;
    facts.log = scope;
    const std::string& id = facts.order_id;
    facts.log_before = before.take(id);
    orders.take(id, [&](const pqxx::row& row) { facts.order = order_row(row); });
    reservations.take(id, [&](const pqxx::row& row) {
      facts.reservations = ReservationRows{row[1].as<std::string>(), row[2].as<std::string>()};
    });
    payments.take(id, [&](const pqxx::row& row) { facts.payment = payment_row(row); });
    shipments.take(id, [&](const pqxx::row& row) { facts.shipment = row[1].as<std::string>(); });
    facts.log_after = after.take(id);
    each(facts);
  }
}

Suspects check_orders(Look& look, const AuditTargets& targets, AuditReport& counts,
                      const Report& report) {
  Suspects suspects;
  const auto now = std::chrono::steady_clock::now();
  read_orders(look, targets, {}, [&](const OrderFacts& facts) {
    ++counts.orders;
    counts.operations += facts.log_after.operations.size();
    std::vector<Violation> found = judge_order(facts);
    if (found.empty()) return;
    if (certain(facts, {}, targets)) {
      for (Violation& violation : found) report(std::move(violation));
    } else if (suspects.size() < targets.suspects_max) {
      suspects.emplace(facts.order_id, Suspect{facts, now});
    } else {
      ++counts.unsettled;
    }
  });
  counts.looked_again = suspects.size();
  return suspects;
}

void settle_suspects(Suspects suspects, const AuditTargets& targets, AuditReport& counts,
                     const Report& report) {
  const auto end = std::chrono::steady_clock::now() + targets.patience;
  while (!suspects.empty() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(pause_between_looks);
    Suspects left;
    for (auto from = suspects.cbegin(); from != suspects.cend();) {
      std::vector<std::string> some;
      for (; from != suspects.cend() && some.size() < orders_a_look; ++from)
        some.push_back(from->first);
      Look look(targets);
      const auto now = std::chrono::steady_clock::now();
      read_orders(look, targets, some, [&](const OrderFacts& facts) {
        std::vector<Violation> found = judge_order(facts);
        if (found.empty()) return;
        const Suspect& before = suspects.at(facts.order_id);
        const auto since = before.facts == facts ? before.since : now;
        if (certain(facts, now - since, targets)) {
          for (Violation& violation : found) report(std::move(violation));
        } else {
          left.emplace(facts.order_id, Suspect{facts, since});
        }
      });
    }
    suspects = std::move(left);
  }
  counts.unsettled += suspects.size();
  for (const auto& [order_id, suspect] : suspects) {
    if (counts.unsettled_orders.size() >= targets.violations_max) break;
    counts.unsettled_orders.push_back(order_id);
  }
}

}  // namespace txcoord::audit
