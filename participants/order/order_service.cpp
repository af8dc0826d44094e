// Reads of the Order service: an order, a page of orders, an order's events.
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "participants/order/order.hpp"
#include "participants/order/order_branch.hpp"

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
