// See inventory_branch.hpp. One group is at most three statements under the vote and one under the
// prepare, whatever its size.
#include "participants/inventory/inventory_branch.hpp"

#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "participants/inventory/stock_judge.hpp"
#include "txcoord/base/time.hpp"

namespace txcoord {
namespace {

// An order's SKUs never change, so they may be read before anything is locked.
constexpr pg::Statement find_skus{"inventory_find_skus", R"(
  SELECT DISTINCT sku FROM reservations WHERE order_id = ANY($1::uuid[]))"};

// One order of locks for everybody: by sku, which never changes. (Ordering by a mutable column
// would lock in a stale order.)
#define TXC_STOCK_IN_KEY_ORDER                       \
  "SELECT sku, unit_price, available FROM inventory" \
  " WHERE sku = ANY($1::text[]) ORDER BY sku FOR NO KEY UPDATE"
constexpr pg::Statement lock_free_stock{"inventory_lock_free_stock",
                                        TXC_STOCK_IN_KEY_ORDER " SKIP LOCKED"};
constexpr pg::Statement lock_stock{"inventory_lock_stock", TXC_STOCK_IN_KEY_ORDER};

// Without a lock: what came back as no row and is there all the same is held by somebody else.
constexpr pg::Statement existing_stock{"inventory_existing_stock", R"(
  SELECT sku, xmax::text FROM inventory WHERE sku = ANY($1::text[]))"};

// In the statement after the locks: a subselect beside them would read the snapshot from before.
// The reservations are locked too: a person's session may hold one without its stock row, and
// apply() must not wait for it.
constexpr pg::Statement lock_reservations{"inventory_lock_reservations", R"(
  WITH mine AS MATERIALIZED (
    SELECT order_id, reservation_id, sku, quantity, status
      FROM reservations WHERE order_id = ANY($1::uuid[])
       FOR NO KEY UPDATE SKIP LOCKED
  )
  SELECT order_id, reservation_id, sku, quantity, status, NULL AS holder FROM mine
  UNION ALL
  SELECT r.order_id, r.reservation_id, r.sku, r.quantity, r.status, r.xmax::text
    FROM reservations r
   WHERE r.order_id = ANY($1::uuid[])
     AND r.reservation_id NOT IN (SELECT reservation_id FROM mine)
   ORDER BY order_id, sku)"};

// Waits for no lock that the vote did not take: reservation ids are ours, the reservations that
// move are locked, and there is no foreign key. $15 is empty unless some of the
// reservations expire: unnest() fills up with nulls.
constexpr pg::Statement apply_group{"inventory_apply", R"(
  WITH placed AS (
    INSERT INTO reservations (reservation_id, order_id, sku, quantity, status, created_at, expires_at)
    SELECT p.reservation_id, p.order_id, p.sku, p.quantity, 'RESERVED', p.created_at,
           nullif(p.expires_at, '')::timestamptz
      FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::timestamptz[], $15::text[])
           AS p (reservation_id, order_id, sku, quantity, created_at, expires_at)
    RETURNING 1
  ), moved AS (
    UPDATE reservations r SET status = m.status, expires_at = NULL, updated_at = now()
      FROM unnest($6::uuid[], $7::text[]) AS m (reservation_id, status)
     WHERE r.reservation_id = m.reservation_id AND r.status = 'RESERVED'
    RETURNING 1
  ), stock AS (
    UPDATE inventory i
       SET available = i.available + d.available, reserved = i.reserved + d.reserved,
           shipped = i.shipped + d.shipped, updated_at = now()
      FROM unnest($8::text[], $9::bigint[], $10::bigint[], $11::bigint[]) AS d (sku, available, reserved, shipped)
     WHERE i.sku = d.sku
    RETURNING 1
  ), history AS (
    INSERT INTO events (order_id, type, correlation_id)
    SELECT * FROM unnest($12::uuid[], $13::text[], $14::text[])
    RETURNING 1
  )
  SELECT (SELECT count(*) FROM placed), (SELECT count(*) FROM moved),
         (SELECT count(*) FROM stock), (SELECT count(*) FROM history))"};

bool moves_reservations(const Operation& operation) {
  return operation.kind == OperationKind::cancel || operation.kind == OperationKind::ship;
}

ReservationStatus reservation_status(std::string_view text) {
  if (text == "RESERVED") return ReservationStatus::reserved;
  if (text == "RELEASED") return ReservationStatus::released;
  if (text == "SHIPPED") return ReservationStatus::shipped;
  throw std::runtime_error("reservations.status is unknown: " + std::string(text));
}

struct StockDelta {
  std::int64_t available = 0, reserved = 0, shipped = 0;
};

// The arrays of apply_group, filled operation by operation; several operations on one SKU become
// one delta, because an UPDATE … FROM applies only one of several matching rows.
struct Batch {
  std::vector<std::string> placed_ids, placed_orders, placed_skus, placed_at;
  std::vector<std::string> placed_expires;  // as many as the last one that expires needs
  std::vector<std::int64_t> placed_quantities;
  std::vector<std::string> moved_ids, moved_to;
  std::map<std::string, StockDelta> deltas;
  std::vector<std::string> event_orders, event_types, event_correlations;

  void event(const Operation& operation, const char* type) {
    event_orders.push_back(operation.order_id);
    event_types.emplace_back(type);
    event_correlations.push_back(operation.correlation_id);
  }

  void place(const Operation& operation) {
    if (operation.reserve_until) {
      placed_expires.resize(placed_ids.size());
      placed_expires.resize(placed_ids.size() + operation.place.items.size(),
                            rfc3339(*operation.reserve_until));
    }
    for (const OrderItem& item : operation.place.items) {
      placed_ids.push_back(item.reservation_id);
      placed_orders.push_back(operation.order_id);
      placed_skus.push_back(item.sku);
      placed_quantities.push_back(item.quantity);
      placed_at.push_back(rfc3339(operation.created_at));
      StockDelta& delta = deltas[item.sku];
      delta.available -= item.quantity;
      delta.reserved += item.quantity;
    }
    event(operation, "StockReserved");
  }

  void move(const Operation& operation, const std::vector<ReservationRow>& reservations) {
    const bool ship = operation.kind == OperationKind::ship;
    for (const ReservationRow& reservation : reservations) {
      moved_ids.push_back(reservation.reservation_id);
      moved_to.emplace_back(ship ? "SHIPPED" : "RELEASED");
      StockDelta& delta = deltas[reservation.sku];
      delta.reserved -= reservation.quantity;
      (ship ? delta.shipped : delta.available) += reservation.quantity;
    }
    event(operation, ship ? "StockShipped" : "StockReleased");
  }
};

}  // namespace

bool InventoryBranch::touches(const Operation& operation) const {
  return operation.kind == OperationKind::place || moves_reservations(operation);
}

std::unique_ptr<LockedRows> InventoryBranch::lock(pg::Session& session,
                                                  const Operations& operations,
                                                  const PreliminaryPtr&, LockMode mode) const {
  std::set<std::string> skus;
  std::vector<std::string> moving;
  for (const auto& operation : operations) {
    if (moves_reservations(*operation)) moving.push_back(operation->order_id);
    if (operation->kind != OperationKind::place) continue;
    for (const OrderItem& item : operation->place.items) skus.insert(item.sku);
  }
  if (!moving.empty()) {
    for (const auto& row : session.exec(find_skus, moving)) skus.insert(row[0].as<std::string>());
  }

  auto rows = std::make_unique<LockedStock>();
  const pg::Statement& locking = mode == LockMode::wait ? lock_stock : lock_free_stock;
  for (const auto& row :
       session.exec(locking, std::vector<std::string>(skus.begin(), skus.end()))) {
    rows->stock.emplace(row[0].as<std::string>(),
                        StockRow{row[1].as<Money>(), row[2].as<std::int64_t>()});
    skus.erase(row[0].as<std::string>());
  }
  if (!skus.empty()) {
    const std::vector<std::string> missing(skus.begin(), skus.end());
    for (const auto& row : session.exec(existing_stock, missing))
      rows->held.emplace(row[0].as<std::string>(), row[1].as<std::string>());
  }
  if (!moving.empty()) {
    for (const auto& row : session.exec(lock_reservations, moving)) {
      const auto order = row[0].as<std::string>();
      rows->reservations[order].push_back({row[1].as<std::string>(), row[2].as<std::string>(),
                                           row[3].as<std::int64_t>(),
                                           reservation_status(row[4].view())});
      if (!row[5].is_null()) rows->held_orders.emplace(order, row[5].as<std::string>());
    }
  }
  return rows;
}

void InventoryBranch::apply(pg::Session& session, const Operations& operations,
                            const OperationMask& survivors, const LockedRows& rows,
                            const std::string&) const {
  const auto& locked = dynamic_cast<const LockedStock&>(rows);
  Batch batch;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    if (!survivors[i]) continue;
    const Operation& operation = *operations[i];
    if (operation.kind == OperationKind::place) batch.place(operation);
    if (moves_reservations(operation))
      batch.move(operation, locked.reservations.at(operation.order_id));
  }
  if (batch.event_orders.empty()) return;

  std::vector<std::string> skus;
  std::vector<std::int64_t> available, reserved, shipped;
  for (const auto& [sku, delta] : batch.deltas) {
    skus.push_back(sku);
    available.push_back(delta.available);
    reserved.push_back(delta.reserved);
    shipped.push_back(delta.shipped);
  }
  const auto result =
      session.exec(apply_group, batch.placed_ids, batch.placed_orders, batch.placed_skus,
                   batch.placed_quantities, batch.placed_at, batch.moved_ids, batch.moved_to, skus,
                   available, reserved, shipped, batch.event_orders, batch.event_types,
                   batch.event_correlations, batch.placed_expires);
  const auto row = result[0];
  expect_count(row[0].as<std::size_t>(), batch.placed_ids.size(), apply_group.name);
  expect_count(row[1].as<std::size_t>(), batch.moved_ids.size(), apply_group.name);
  expect_count(row[2].as<std::size_t>(), skus.size(), apply_group.name);
  expect_count(row[3].as<std::size_t>(), batch.event_orders.size(), apply_group.name);
}

}  // namespace txcoord
