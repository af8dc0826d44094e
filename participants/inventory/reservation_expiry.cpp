// See reservation_expiry.hpp. Whoever changes a reservation holds its stock row, the parent.
// Nothing here waits for one: what is held by somebody else is left for a later round, alone.
#include "participants/inventory/reservation_expiry.hpp"

#include <cstdint>

#include "participants/branch_logic.hpp"

namespace txcoord {
namespace {

// Bounded before it is made distinct: one pass over the index, from where the last one ended. An
// order's reservations are made by one statement, so they expire together.
constexpr pg::Statement list_expired{"inventory_list_expired", R"(
  SELECT order_id, min(expires_at)::text, count(*)
    FROM (SELECT order_id, expires_at FROM reservations
           WHERE expires_at <= clock_timestamp()
             AND (expires_at, order_id) > (coalesce(nullif($2, ''), '-infinity')::timestamptz,
                   coalesce(nullif($3, ''), '00000000-0000-0000-0000-000000000000')::uuid)
           ORDER BY expires_at, order_id LIMIT $1::bigint) oldest
   GROUP BY order_id
   ORDER BY min(expires_at), order_id)"};

// An order's SKUs never change, so they may be read before anything is locked.
constexpr pg::Statement lock_expiring{"inventory_lock_expiring", R"(
  SELECT sku FROM inventory
   WHERE sku IN (SELECT sku FROM reservations
                  WHERE order_id = ANY ($1::uuid[]) AND expires_at IS NOT NULL)
   ORDER BY sku FOR NO KEY UPDATE SKIP LOCKED)"};

// I6: what leaves `reserved` comes back to `available`, in one statement. RELEASED with an event of
// its own: to everybody but a reader of the history, an expired reservation is a released one.
constexpr pg::Statement free_expiring{"inventory_free_expiring", R"(
  WITH freed AS (
    UPDATE reservations SET status = 'RELEASED', expires_at = NULL, updated_at = now()
     WHERE order_id = ANY ($1::uuid[]) AND status = 'RESERVED' AND expires_at IS NOT NULL
       AND sku = ANY ($2::text[])
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
    FROM (SELECT DISTINCT order_id FROM freed) f
   WHERE NOT EXISTS (SELECT FROM events e
                      WHERE e.order_id = f.order_id AND e.type = 'StockExpired'))"};

constexpr pg::Statement keep_expiring{"inventory_keep_expiring", R"(
  UPDATE reservations SET expires_at = NULL, updated_at = now()
   WHERE order_id = ANY ($1::uuid[]) AND expires_at IS NOT NULL AND sku = ANY ($2::text[]))"};

std::vector<std::string> lock_free_stock(pg::Session& session,
                                         const std::vector<std::string>& order_ids) {
  std::vector<std::string> skus;
  for (const pqxx::row& row : session.exec(lock_expiring, order_ids))
    skus.push_back(row[0].as<std::string>());
  return skus;
}

}  // namespace

ExpiredPage expired_reservations(pg::Session& session, const ExpiryPlace& place,
                                 std::size_t limit) {
  ExpiredPage page;
  std::size_t reservations = 0;
  for (const pqxx::row& row : session.exec(list_expired, static_cast<std::int64_t>(limit),
                                           place.expires_at, place.order_id)) {
    page.order_ids.push_back(row[0].as<std::string>());
    page.next = {row[1].as<std::string>(), page.order_ids.back()};
    reservations += row[2].as<std::size_t>();
  }
  if (reservations < limit) page.next = {};
  return page;
}

std::size_t expire_reservations(pg::Session& session, const std::vector<std::string>& order_ids) {
  return in_local_transaction(session, [&] {
    const auto skus = lock_free_stock(session, order_ids);
    return static_cast<std::size_t>(session.exec(free_expiring, order_ids, skus).affected_rows());
  });
}

void keep_reservations(pg::Session& session, const std::vector<std::string>& order_ids) {
  in_local_transaction(session, [&] {
    const auto skus = lock_free_stock(session, order_ids);
    session.exec(keep_expiring, order_ids, skus);
    return Done{};
  });
}

}  // namespace txcoord
