// The Order service outside of branches: reads, and the failing of orders that did not end in time.
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "participants/order/order.hpp"
#include "participants/order/order_branch.hpp"
#include "participants/pg_participant.hpp"

namespace txcoord {
namespace {

constexpr pg::Statement one_order{"order_one", R"(
  SELECT order_id, customer_id, status, mode, coalesce(reason, ''), transaction_id, correlation_id,
         total_amount, created_at, updated_at
    FROM orders
   WHERE order_id = $1::uuid)"};

// Ids are time-ordered: by id is newest first. Plans are custom, so an empty filter costs nothing.
constexpr pg::Statement page_of_orders{"order_page", R"(
  SELECT order_id, customer_id, status, mode, coalesce(reason, ''), transaction_id, correlation_id,
         total_amount, created_at, updated_at
    FROM orders
   WHERE ($1 = '' OR customer_id = $1)
     AND ($2 = '' OR status = $2)
     AND ($3 = '' OR order_id < nullif($3, '')::uuid)
   ORDER BY order_id DESC
   LIMIT $4::bigint)"};

constexpr pg::Statement items_of_orders{"order_items", R"(
  SELECT order_id, sku, quantity, unit_price
    FROM order_items
   WHERE order_id = ANY ($1::uuid[])
   ORDER BY order_id, line)"};

// Bounded: an order has few events, whatever wrote them.
constexpr pg::Statement events_of_order{"order_events", R"(
  SELECT type, correlation_id, at FROM events WHERE order_id = $1::uuid ORDER BY event_id LIMIT 1000)"};

constexpr std::int64_t orders_of_correlation_max = 50;

// Ids are time-ordered: by id is newest first.
constexpr pg::Statement orders_of_correlation{"order_of_correlation", R"(
  SELECT DISTINCT order_id FROM events WHERE correlation_id = $1 ORDER BY order_id DESC LIMIT $2::bigint)"};

// In key order, as branches do, and without waiting for them.
constexpr pg::Statement lock_free_orders{"order_lock_free", R"(
  SELECT order_id, status
    FROM orders
   WHERE order_id = ANY ($1::uuid[])
   ORDER BY order_id
     FOR NO KEY UPDATE SKIP LOCKED)"};

constexpr pg::Statement existing_orders{"order_existing", R"(
  SELECT order_id FROM orders WHERE order_id = ANY ($1::uuid[]))"};

constexpr pg::Statement fail_orders{"order_fail", R"(
  WITH failed AS (
    UPDATE orders
       SET status = 'FAILED', reason = $2, updated_at = greatest(updated_at, clock_timestamp())
     WHERE order_id = ANY ($1::uuid[]) AND status = 'PENDING'
    RETURNING order_id, correlation_id, updated_at
  )
  INSERT INTO events (order_id, type, correlation_id, at)
  SELECT order_id, 'OrderFailed', correlation_id, updated_at FROM failed)"};

// I8: an order ends once. Its row decides between this and the saga's own confirmation: both lock
// it, and whoever comes second finds it ended.
std::vector<OrderFate> fail(pg::Session& session, const std::vector<std::string>& order_ids,
                            const std::string& reason) {
  return in_local_transaction(session, [&] {
    std::vector<OrderFate> fates;
    std::vector<std::string> pending;
    std::set<std::string> found;
    for (const pqxx::row& row : session.exec(lock_free_orders, order_ids)) {
      OrderFate fate{row[0].as<std::string>(), row[1].as<std::string>()};
      found.insert(fate.order_id);
      if (fate.status == "PENDING") {
        pending.push_back(fate.order_id);
        fate.status = "FAILED";
      }
      fates.push_back(std::move(fate));
    }
    if (!pending.empty())
      expect_rows(session.exec(fail_orders, pending, reason), pending.size(), fail_orders.name);
    if (found.size() == order_ids.size()) return fates;
    // The others are locked, or are not there: an order is never deleted.
    for (const pqxx::row& row : session.exec(existing_orders, order_ids))
      found.insert(row[0].as<std::string>());
    for (const std::string& order_id : order_ids) {
      if (!found.contains(order_id)) fates.push_back({order_id, ""});
    }
    return fates;
  });
}

OrderView order_of(const pqxx::row& row) {
  OrderView order;
  order.order_id = row[0].as<std::string>();
  order.customer_id = row[1].as<std::string>();
  order.status = row[2].as<std::string>();
  order.mode = row[3].as<std::string>();
  order.reason = row[4].as<std::string>();
  order.transaction_id = row[5].as<std::string>();
  order.correlation_id = row[6].as<std::string>();
  order.total_amount = row[7].as<std::int64_t>();
  order.created_at = time_of(row[8]);
  order.updated_at = time_of(row[9]);
  return order;
}

// An order's items never change, so a second statement sees those of the first's orders.
std::vector<OrderView> with_items(pg::Session& session, const pqxx::result& rows) {
  std::vector<OrderView> orders;
  std::vector<std::string> ids;
  std::map<std::string, std::size_t> place_of;
  for (const pqxx::row& row : rows) {
    place_of.emplace(row[0].as<std::string>(), orders.size());
    orders.push_back(order_of(row));
    ids.push_back(orders.back().order_id);
  }
  if (orders.empty()) return orders;
  for (const pqxx::row& row : session.exec(items_of_orders, ids)) {
    OrderItem item;
    item.sku = row[1].as<std::string>();
    item.quantity = row[2].as<std::int64_t>();
    item.unit_price = row[3].as<std::int64_t>();
    orders[place_of.at(row[0].as<std::string>())].items.push_back(std::move(item));
  }
  return orders;
}

class PgOrderService final : public OrderService {
 public:
  PgOrderService(std::shared_ptr<pg::Pool> pool, std::chrono::milliseconds deadline)
      : pool_(std::move(pool)), deadline_(deadline) {}

  asio::awaitable<Result<std::optional<OrderView>>> order(std::string order_id) override {
    auto read = [id = std::move(order_id)](pg::Session& session) -> std::optional<OrderView> {
      std::vector<OrderView> found = with_items(session, session.exec(one_order, id));
      if (found.empty()) return std::nullopt;
      return std::move(found.front());
    };
    auto reading = pool_->run(std::move(read), deadline_);
    co_return co_await std::move(reading);
  }

  asio::awaitable<Result<std::vector<OrderView>>> orders(OrderFilter filter,
                                                         PageRequest page) override {
    auto read = [filter = std::move(filter), page = std::move(page)](pg::Session& session) {
      const auto limit = static_cast<std::int64_t>(page.limit);
      return with_items(session, session.exec(page_of_orders, filter.customer_id, filter.status,
                                              page.after, limit));
    };
    auto reading = pool_->run(std::move(read), deadline_);
    co_return co_await std::move(reading);
  }

  asio::awaitable<Result<std::vector<EventView>>> order_events(std::string order_id) override {
    auto read = [id = std::move(order_id)](pg::Session& session) {
      std::vector<EventView> events;
      for (const pqxx::row& row : session.exec(events_of_order, id)) {
        events.push_back({row[0].as<std::string>(), row[1].as<std::string>(), time_of(row[2])});
      }
      return events;
    };
    auto reading = pool_->run(std::move(read), deadline_);
    co_return co_await std::move(reading);
  }

  asio::awaitable<Result<std::vector<std::string>>> orders_by_correlation(
      std::string correlation_id) override {
    auto read = [id = std::move(correlation_id)](pg::Session& session) {
      const pqxx::result rows = session.exec(orders_of_correlation, id, orders_of_correlation_max);
      std::vector<std::string> order_ids;
      order_ids.reserve(static_cast<std::size_t>(rows.size()));
      for (const pqxx::row& row : rows) order_ids.push_back(row[0].as<std::string>());
      return order_ids;
    };
    auto reading = pool_->run(std::move(read), deadline_);
    co_return co_await std::move(reading);
  }

  asio::awaitable<Result<std::vector<OrderFate>>> fail_pending(std::vector<std::string> order_ids,
                                                               std::string reason) override {
    auto work = [ids = std::move(order_ids), reason = std::move(reason)](pg::Session& session) {
      return fail(session, ids, reason);
    };
    auto failing = pool_->run(std::move(work), deadline_);
    co_return co_await std::move(failing);
  }

 private:
  std::shared_ptr<pg::Pool> pool_;
  std::chrono::milliseconds deadline_;
};

}  // namespace

OrderParts make_order(const asio::any_io_executor& io, const DatabaseSettings& database,
                      Metrics* metrics, const ParticipantDeadlines& deadlines) {
  const PgPools pools = make_pools(io, "order", database, metrics);
  return {std::make_unique<PgParticipant>(pools, make_order_logic(), deadlines, metrics),
          std::make_unique<PgOrderService>(pools.service, deadlines.service)};
}

}  // namespace txcoord
