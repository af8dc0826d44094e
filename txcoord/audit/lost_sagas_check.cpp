// See lost_sagas_check.hpp.
//
// Certain without a second look: a saga's start is durable before its first barrier, the log was
// read after the barriers, and the record of one that is half done is never trimmed. So whoever has
// barriers here and no record there is not being worked on, and does not move.
#include "txcoord/audit/lost_sagas_check.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace txcoord::audit {
namespace {

constexpr pg::Statement shown_as_lost{"audit_lost_sagas", R"(
  SELECT saga_id, coalesce(order_id::text, 'unknown'),
         concat_ws('; ', nullif('order ' || order_status, 'order '),
                   CASE WHEN money_taken > 0 THEN money_taken || ' taken from ' || customer_id END,
                   nullif(stock_held, '') || ' held',
                   CASE WHEN shipment_status = 'ARRANGED' THEN 'shipment ARRANGED' END)
    FROM lost_sagas
   WHERE resolved_at IS NULL
   ORDER BY saga_id)"};

// {order} becomes the order's id, quoted.
constexpr pg::Statement order_status{"audit_lost_order", R"(
  SELECT status FROM orders WHERE order_id = {order})"};
constexpr pg::Statement stock_held{"audit_lost_stock", R"(
  SELECT string_agg(quantity || ' ' || sku, ', ' ORDER BY sku COLLATE "C")
    FROM reservations WHERE order_id = {order} AND status = 'RESERVED')"};
constexpr pg::Statement money_taken{"audit_lost_money", R"(
  SELECT string_agg(amount || ' from ' || customer_id || ' ' || status, ', ')
    FROM payments WHERE order_id = {order} AND status IN ('CAPTURED', 'AUTHORIZED'))"};
constexpr pg::Statement shipment_arranged{"audit_lost_shipment", R"(
  SELECT string_agg(status, ', ')
    FROM shipments WHERE order_id = {order} AND status <> 'CANCELLED')"};

constexpr std::array<std::string_view, 3> settled_orders{"CONFIRMED", "SHIPPED", "DELIVERED"};

bool done(const UnknownSaga& saga, std::string_view step) {
  const auto found = saga.steps.find(std::string(step));
  return found != saga.steps.end() && found->second == "done";
}

// By its barriers: nothing was done, all of it was undone, or it came to its end.
bool ended(const UnknownSaga& saga) {
  const bool nothing =
      std::ranges::none_of(saga.steps, [](const auto& step) { return step.second == "done"; });
  if (nothing || done(saga, "order.fail")) return true;
  if (saga.steps.contains("order.cancel"))
    return done(saga, "shipping.cancel") && done(saga, "payment.refund") &&
           done(saga, "inventory.release");
  const bool turned_back = std::ranges::any_of(saga.steps, [](const auto& step) {
    return step.first == "order.revoke" || step.first == "payment.refund" ||
           step.first == "shipping.cancel" || step.first == "inventory.release";
  });
  return !turned_back && done(saga, "order.confirm") && done(saga, "payment.charge") &&
         done(saga, "shipping.arrange");
}

std::string read(Snapshot& service, const pg::Statement& statement, const std::string& order_id) {
  constexpr std::string_view marker = "{order}";
  std::string sql = statement.sql;
  sql.replace(sql.find(marker), marker.size(), service.quote(order_id) + "::uuid");
  const pqxx::result rows = service.read(statement.name, sql);
  return rows.empty() || rows[0][0].is_null() ? std::string() : rows[0][0].as<std::string>();
}

// What stands half done for the order; empty: nothing.
std::string half_done(Look& look, const UnknownSaga& saga) {
  const std::string& id = saga.order_id;
  if (id.empty()) return "its order is not known";
  const std::string status = read(look.order, order_status, id),
                    stock = read(look.inventory, stock_held, id),
                    money = read(look.payment, money_taken, id),
                    shipment = read(look.shipping, shipment_arranged, id);
  // A confirmed order that lacks a part is reported as such, order by order.
  const bool settled = std::ranges::find(settled_orders, status) != settled_orders.end();
  const bool holds = !stock.empty() || !money.empty() || !shipment.empty();
  // A cancel that the log lost goes on for an order that is cancelled; a place does not.
  if (settled || (status != "PENDING" && !holds)) return {};
  std::string text = "order " + id + ' ' + (status.empty() ? "absent" : status);
  if (!money.empty()) text += "; taken: " + money;
  if (!stock.empty()) text += "; held: " + stock;
  if (!shipment.empty()) text += "; shipment " + shipment;
  return text;
}

}  // namespace

void check_lost_sagas(Look& look, const std::vector<UnknownSaga>& unknown,
                      const AuditTargets& targets, AuditReport& counts, const Report& report) {
  std::set<std::string> shown;
  for (Cursor rows(look.log_after, shown_as_lost.name, shown_as_lost.sql); rows.row();
       rows.next()) {
    const pqxx::row row = *rows.row();
    LostSagaSeen saga{row[0].as<std::string>(), row[1].as<std::string>(), row[2].as<std::string>()};
    shown.insert(saga.saga_id);
    ++counts.sagas_lost_total;
    if (counts.sagas_lost.size() < targets.violations_max)
      counts.sagas_lost.push_back(std::move(saga));
  }
  if (unknown.empty() || read_log_scope(look).shared) return;
  for (const UnknownSaga& saga : unknown) {
    if (shown.contains(saga.saga_id) || ended(saga)) continue;
    const std::string found = half_done(look, saga);
    if (found.empty()) continue;
    std::string steps;
    for (const auto& [step, outcome] : saga.steps) steps += ' ' + step + '=' + outcome;
    report({"I8", "barrier_without_saga", saga.saga_id,
            "the log does not know this saga, and its steps say" + steps + "; " + found});
  }
}

}  // namespace txcoord::audit
