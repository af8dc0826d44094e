// The order service's branch SQL: one statement places a group's orders, one moves the others.
#include "participants/order/order_branch.hpp"

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "participants/order/order_judge.hpp"
#include "txcoord/base/time.hpp"

namespace txcoord {
namespace {

// Locks in key order; the key never changes, so the order is the same in every transaction.
constexpr pg::Statement lock_orders{"order_lock", R"(
  SELECT order_id, status
    FROM orders
   WHERE order_id = ANY ($1::uuid[])
   ORDER BY order_id
     FOR NO KEY UPDATE)"};

// Nothing here waits: the ids are new, and made by us.
constexpr pg::Statement place_orders{"order_place", R"(
  WITH items AS (
    INSERT INTO order_items (order_id, line, sku, quantity, unit_price)
    SELECT * FROM unnest($7::uuid[], $8::integer[], $9::text[], $10::bigint[], $11::bigint[])
  ), history AS (
    INSERT INTO events (order_id, type, correlation_id, at)
    SELECT o.order_id, 'OrderConfirmed', o.correlation_id, o.created_at
      FROM unnest($1::uuid[], $4::text[], $5::timestamptz[]) AS o (order_id, correlation_id, created_at)
  )
  INSERT INTO orders (order_id, customer_id, status, mode, total_amount, transaction_id, correlation_id,
                      created_at, updated_at)
  SELECT o.order_id, o.customer_id, 'CONFIRMED', '2pc', o.total_amount, $6, o.correlation_id,
         o.created_at, o.created_at
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::timestamptz[])
      AS o (order_id, customer_id, total_amount, correlation_id, created_at))"};

// Counts the rows that were what the judge saw: under our locks, all of them.
constexpr pg::Statement move_orders{"order_move", R"(
  WITH moved AS (
    UPDATE orders o
       SET status = m.to_status, updated_at = greatest(o.updated_at, m.at)
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
        AS m (order_id, from_status, to_status, event, correlation_id, at)
     WHERE o.order_id = m.order_id AND o.status = m.from_status
    RETURNING o.order_id, m.event, m.correlation_id, m.at
  )
  INSERT INTO events (order_id, type, correlation_id, at)
  SELECT order_id, event, correlation_id, at FROM moved)"};

std::string event_name(OperationKind kind) {
  switch (kind) {
    case OperationKind::place: return "OrderConfirmed";
    case OperationKind::cancel: return "OrderCancelled";
    case OperationKind::ship: return "OrderShipped";
    case OperationKind::deliver: return "OrderDelivered";
  }
  throw std::logic_error("an operation of no kind");
}

struct Placed {  // one array a column
  std::vector<std::string> order_ids, customers, correlations, times;
  std::vector<std::int64_t> totals;
  std::vector<std::string> item_orders, item_skus;
  std::vector<std::int64_t> item_lines, item_quantities, item_prices;

  void add(const Operation& operation) {
    order_ids.push_back(operation.order_id);
    customers.push_back(operation.place.customer_id);
    correlations.push_back(operation.correlation_id);
    times.push_back(rfc3339(operation.created_at));
    totals.push_back(operation.place.total_amount);
    std::int64_t line = 0;
    for (const OrderItem& item : operation.place.items) {
      item_orders.push_back(operation.order_id);
      item_lines.push_back(++line);
      item_skus.push_back(item.sku);
      item_quantities.push_back(item.quantity);
      item_prices.push_back(item.unit_price);
    }
  }
};

class OrderLogic final : public BranchLogic {
 public:
  std::string_view name() const override { return "order"; }
  bool touches(const Operation&) const override { return true; }

  std::unique_ptr<LockedRows> without_locks(const Operations& operations) const override {
    return only_places(operations) ? std::make_unique<LockedOrders>() : nullptr;
  }

  std::unique_ptr<LockedRows> lock(pg::Session& session, const Operations& operations,
                                   const PreliminaryPtr&) const override {
    const pqxx::result rows = session.exec(lock_orders, orders_to_lock(operations));
    std::map<std::string, OrderStatus> statuses;
    for (const pqxx::row& row : rows) {
      statuses.emplace(row[0].as<std::string>(), parse_order_status(row[1].view()));
    }
    return std::make_unique<LockedOrders>(std::move(statuses));
  }

  void apply(pg::Session& session, const Operations& operations, const OperationMask& survivors,
             const LockedRows& rows, const std::string& gid) const override {
    const auto& locked = dynamic_cast<const LockedOrders&>(rows);
    Placed placed;
    MovedRows moved;
    for (std::size_t i = 0; i < operations.size(); ++i) {
      if (!survivors[i]) continue;
      const Operation& operation = *operations[i];
      if (operation.kind == OperationKind::place) {
        placed.add(operation);
      } else {
        moved.add(operation, locked.status(operation.order_id), order_moves(),
                  event_name(operation.kind));
      }
    }
    if (!placed.order_ids.empty()) {
      const pqxx::result result = session.exec(
          place_orders, placed.order_ids, placed.customers, placed.totals, placed.correlations,
          placed.times, gid, placed.item_orders, placed.item_lines, placed.item_skus,
          placed.item_quantities, placed.item_prices);
      expect_rows(result, placed.order_ids.size(), place_orders.name);
    }
    if (!moved.order_ids.empty()) {
      const pqxx::result result = session.exec(move_orders, moved.order_ids, moved.from, moved.to,
                                               moved.events, moved.correlations, moved.times);
      expect_rows(result, moved.order_ids.size(), move_orders.name);
    }
  }
};

}  // namespace

std::shared_ptr<const BranchLogic> make_order_logic() { return std::make_shared<OrderLogic>(); }

}  // namespace txcoord
