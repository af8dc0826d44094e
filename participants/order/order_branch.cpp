// The order service's branch SQL: one statement places a group's orders, one moves the others.
#include "participants/order/order_branch.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "participants/order/order_judge.hpp"
#include "txcoord/base/time.hpp"

namespace txcoord {
namespace {

// Locks in key order; the key never changes, so the order is the same in every transaction.
#define TXC_ORDERS_IN_KEY_ORDER                                                   \
  "SELECT order_id, status, reason FROM orders WHERE order_id = ANY ($1::uuid[])" \
  " ORDER BY order_id FOR NO KEY UPDATE"
constexpr pg::Statement lock_free_orders{"order_lock_free_orders",
                                         TXC_ORDERS_IN_KEY_ORDER " SKIP LOCKED"};
constexpr pg::Statement lock_orders{"order_lock", TXC_ORDERS_IN_KEY_ORDER};

// Without a lock: what came back as no row and is there all the same is held by somebody else.
constexpr pg::Statement held_orders{"order_held", R"(
  SELECT order_id, xmax::text FROM orders WHERE order_id = ANY ($1::uuid[]))"};

// Nothing in these two waits: the ids are new, and made by us. The first is a group's: confirmed
// at once, under one gid. The second is for sagas and accepted orders: PENDING, or FAILED at once.
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

constexpr pg::Statement create_orders{"order_create", R"(
  WITH items AS (
    INSERT INTO order_items (order_id, line, sku, quantity, unit_price)
    SELECT * FROM unnest($11::uuid[], $12::integer[], $13::text[], $14::bigint[], $15::bigint[])
  ), history AS (
    INSERT INTO events (order_id, type, correlation_id, at)
    SELECT o.order_id, $10, o.correlation_id, o.written_at
      FROM unnest($1::uuid[], $4::text[], $6::timestamptz[]) AS o (order_id, correlation_id, written_at)
  )
  INSERT INTO orders (order_id, customer_id, total_amount, correlation_id, created_at, updated_at, mode,
                      transaction_id, reason, status)
  SELECT o.order_id, o.customer_id, o.total_amount, o.correlation_id, o.created_at,
         greatest(o.created_at, o.written_at), o.mode, o.transaction_id, nullif(o.reason, ''),
         CASE $10 WHEN 'OrderFailed' THEN 'FAILED' ELSE 'PENDING' END
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::timestamptz[], $6::timestamptz[],
                $7::text[], $8::text[], $9::text[])
      AS o (order_id, customer_id, total_amount, correlation_id, created_at, written_at, mode,
            transaction_id, reason))"};

// Counts the rows that were what the judge saw: under our locks, all of them. $7 and $8 are empty
// unless some of the moves say why, or are an accepted order's: unnest() fills up with nulls.
constexpr pg::Statement move_orders{"order_move", R"(
  WITH moved AS (
    UPDATE orders o
       SET status = m.to_status, updated_at = greatest(o.updated_at, m.at),
           reason = coalesce(nullif(m.reason, ''), o.reason),
           transaction_id = coalesce(nullif(m.transaction_id, ''), o.transaction_id)
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
                  $7::text[], $8::text[])
        AS m (order_id, from_status, to_status, event, correlation_id, at, reason, transaction_id)
     WHERE o.order_id = m.order_id AND o.status = m.from_status
    RETURNING o.order_id, m.event, m.correlation_id, m.at
  )
  INSERT INTO events (order_id, type, correlation_id, at)
  SELECT order_id, event, correlation_id, at FROM moved)"};

std::string event_name(OperationKind kind) {
  switch (kind) {
    case OperationKind::place:
    case OperationKind::confirm: return "OrderConfirmed";
    case OperationKind::create: return "OrderCreated";
    case OperationKind::fail: return "OrderFailed";
    case OperationKind::cancel: return "OrderCancelled";
    case OperationKind::ship: return "OrderShipped";
    case OperationKind::deliver: return "OrderDelivered";
  }
  throw std::logic_error("an operation of no kind");
}

struct MadeOrders {  // one array a column
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

  void place(pg::Session& session, const std::string& gid) const {
    if (order_ids.empty()) return;
    const pqxx::result result =
        session.exec(place_orders, order_ids, customers, totals, correlations, times, gid,
                     item_orders, item_lines, item_skus, item_quantities, item_prices);
    expect_rows(result, order_ids.size(), place_orders.name);
  }
};

// Orders that are not confirmed: pending ones (create), or failed ones that were never created.
struct OpenOrders : MadeOrders {
  std::vector<std::string> written, modes, transactions, reasons;

  void add(const Operation& operation, const std::string& gid) {
    MadeOrders::add(operation);
    written.push_back(written_at(operation));
    modes.push_back(operation.mode);
    transactions.push_back(operation.transaction_id.empty() ? gid : operation.transaction_id);
    reasons.push_back(operation.kind == OperationKind::fail ? operation.reason : "");
  }

  void create(pg::Session& session, const std::string& event) const {
    if (order_ids.empty()) return;
    const pqxx::result result =
        session.exec(create_orders, order_ids, customers, totals, correlations, times, written,
                     modes, transactions, reasons, event, item_orders, item_lines, item_skus,
                     item_quantities, item_prices);
    expect_rows(result, order_ids.size(), create_orders.name);
  }
};

struct MovedOrders : MovedRows {
  std::vector<std::string> reasons, transactions;  // as many as the last one that has one needs

  void add(const Operation& operation, OrderStatus before, const std::string& gid) {
    const std::size_t index = order_ids.size();
    MovedRows::add(operation, before, order_moves(), event_name(operation.kind));
    if (!operation.reason.empty()) set(reasons, index, operation.reason);
    if (operation.accepted && operation.kind == OperationKind::place) set(transactions, index, gid);
  }

  void move(pg::Session& session) const {
    if (order_ids.empty()) return;
    const pqxx::result result = session.exec(move_orders, order_ids, from, to, events, correlations,
                                             times, reasons, transactions);
    expect_rows(result, order_ids.size(), move_orders.name);
  }

 private:
  static void set(std::vector<std::string>& column, std::size_t index, const std::string& value) {
    column.resize(index + 1);
    column[index] = value;
  }
};

class OrderLogic final : public BranchLogic {
 public:
  std::string_view name() const override { return "order"; }
  bool touches(const Operation&) const override { return true; }

  std::unique_ptr<LockedRows> without_locks(const Operations& operations) const override {
    return all_make_rows(operations, order_made_in) ? std::make_unique<LockedOrders>() : nullptr;
  }

  std::unique_ptr<LockedRows> lock(pg::Session& session, const Operations& operations,
                                   const PreliminaryPtr&, LockMode mode) const override {
    std::map<std::string, OrderStatus> statuses;
    std::map<std::string, std::string> reasons;
    const std::vector<std::string> wanted = orders_to_lock(operations, order_made_in);
    const pg::Statement& locking = mode == LockMode::wait ? lock_orders : lock_free_orders;
    for (const pqxx::row& row : session.exec(locking, wanted)) {
      const auto id = row[0].as<std::string>();
      statuses.emplace(id, parse_order_status(row[1].view()));
      if (!row[2].is_null()) reasons.emplace(id, row[2].as<std::string>());
    }
    HeldRows held = held_rows(session, held_orders, wanted, statuses);
    return std::make_unique<LockedOrders>(std::move(statuses), std::move(reasons), std::move(held));
  }

  void apply(pg::Session& session, const Operations& operations, const OperationMask& survivors,
             const LockedRows& rows, const std::string& gid) const override {
    const auto& locked = dynamic_cast<const LockedOrders&>(rows);
    MadeOrders placed;
    OpenOrders pending, failed;
    MovedOrders moved;
    for (std::size_t i = 0; i < operations.size(); ++i) {
      if (!survivors[i]) continue;
      const Operation& operation = *operations[i];
      const std::optional<OrderStatus> made = order_made_in(operation);
      if (made == OrderStatus::confirmed) {
        placed.add(operation);
      } else if (made) {
        pending.add(operation, gid);
      } else if (operation.kind == OperationKind::fail && !locked.has(operation.order_id)) {
        failed.add(operation, gid);
      } else {
        moved.add(operation, locked.status(operation.order_id), gid);
      }
    }
    placed.place(session, gid);
    pending.create(session, event_name(OperationKind::create));
    failed.create(session, event_name(OperationKind::fail));
    moved.move(session);
  }
};

}  // namespace

std::shared_ptr<const BranchLogic> make_order_logic() { return std::make_shared<OrderLogic>(); }

}  // namespace txcoord
