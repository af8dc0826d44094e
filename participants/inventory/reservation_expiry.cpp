// See reservation_expiry.hpp. Whoever changes a reservation holds its stock row, the parent, and
// takes those in key order: as branches do, so that no cycle of waits is possible.
#include "participants/inventory/reservation_expiry.hpp"

#include <cstdint>

#include "participants/branch_logic.hpp"

namespace txcoord {
namespace {

// Bounded before it is made distinct: one pass over the index's oldest end.
constexpr pg::Statement list_expired{"inventory_list_expired", R"(
  SELECT order_id
    FROM (SELECT order_id, expires_at FROM reservations
           WHERE expires_at <= clock_timestamp()
           ORDER BY expires_at LIMIT $1::bigint) oldest
   GROUP BY order_id
   ORDER BY min(expires_at))"};

// An order's SKUs never change, so they may be read before anything is locked.
constexpr pg::Statement lock_expiring{"inventory_lock_expiring", R"(
  SELECT sku FROM inventory
   WHERE sku IN (SELECT sku FROM reservations
                  WHERE order_id = ANY ($1::uuid[]) AND expires_at IS NOT NULL)
   ORDER BY sku FOR NO KEY UPDATE)"};

// I6: what leaves `reserved` comes back to `available`, in one statement. RELEASED with an event of
// its own: to everybody but a reader of the history, an expired reservation is a released one.
constexpr pg::Statement free_expiring{"inventory_free_expiring", R"(
  WITH freed AS (
    UPDATE reservations SET status = 'RELEASED', expires_at = NULL, updated_at = now()
     WHERE order_id = ANY ($1::uuid[]) AND status = 'RESERVED' AND expires_at IS NOT NULL
    RETURNING order_id, sku, quantity
  ), stock AS (
    UPDATE inventory i
       SET available = i.available + f.quantity, reserved = i.reserved - f.quantity, updated_at = now()
      FROM (SELECT sku, sum(quantity)::bigint AS quantity FROM freed GROUP BY sku) f
     WHERE i.sku = f.sku
  )
  INSERT INTO events (order_id, type, correlation_id)
  SELECT f.order_id, 'StockExpired',
         coalesce((SELECT e.correlation_id FROM events e
                    WHERE e.order_id = f.order_id AND e.type = 'StockReserved' LIMIT 1), '')
    FROM (SELECT DISTINCT order_id FROM freed) f)"};

constexpr pg::Statement keep_expiring{"inventory_keep_expiring", R"(
  UPDATE reservations SET expires_at = NULL, updated_at = now()
   WHERE order_id = ANY ($1::uuid[]) AND expires_at IS NOT NULL)"};

}  // namespace

std::vector<std::string> expired_reservations(pg::Session& session, std::size_t limit) {
  const pqxx::result rows = session.exec(list_expired, static_cast<std::int64_t>(limit));
  std::vector<std::string> order_ids;
  order_ids.reserve(static_cast<std::size_t>(rows.size()));
  for (const pqxx::row& row : rows) order_ids.push_back(row[0].as<std::string>());
  return order_ids;
}

std::size_t expire_reservations(pg::Session& session, const std::vector<std::string>& order_ids) {
  return in_local_transaction(session, [&] {
    session.exec(lock_expiring, order_ids);
    return static_cast<std::size_t>(session.exec(free_expiring, order_ids).affected_rows());
  });
}

void keep_reservations(pg::Session& session, const std::vector<std::string>& order_ids) {
  in_local_transaction(session, [&] {
    session.exec(lock_expiring, order_ids);
    session.exec(keep_expiring, order_ids);
    return Done{};
  });
}

}  // namespace txcoord
