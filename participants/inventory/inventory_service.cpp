// Inventory outside of branches: reads, and PUT and restock, each one transaction of one database.
// Every change locks its stock row first, as branches do, and writes its ledger row in the same
// transaction (I6).
#include <stdexcept>
#include <utility>

#include "participants/inventory/inventory.hpp"
#include "participants/inventory/inventory_branch.hpp"
#include "participants/inventory/reservation_expiry.hpp"
#include "participants/pg_participant.hpp"
#include "participants/request_age.hpp"
#include "txcoord/base/sha256.hpp"

namespace txcoord {
namespace {

constexpr pg::Statement read_stock{"inventory_read_stock", R"(
  SELECT sku, title, category, unit_price, available, reserved, shipped, low_stock_threshold
    FROM inventory WHERE sku = $1)"};

constexpr pg::Statement list_stock{"inventory_list_stock", R"(
  SELECT sku, title, category, unit_price, available, reserved, shipped, low_stock_threshold
    FROM inventory WHERE sku > $1 ORDER BY sku LIMIT $2)"};

constexpr pg::Statement make_stock{"inventory_make_stock", R"(
  INSERT INTO inventory (sku, title) VALUES ($1, $1) ON CONFLICT (sku) DO NOTHING RETURNING 1)"};

constexpr pg::Statement lock_available{"inventory_lock_available", R"(
  SELECT available FROM inventory WHERE sku = $1 FOR NO KEY UPDATE)"};

constexpr pg::Statement set_stock{"inventory_set_stock", R"(
  UPDATE inventory
     SET title = coalesce($2, title), category = coalesce($3, category),
         unit_price = coalesce($4::bigint, unit_price), available = coalesce($5::bigint, available),
         low_stock_threshold = coalesce($6::bigint, low_stock_threshold), updated_at = now()
   WHERE sku = $1
  RETURNING sku, title, category, unit_price, available, reserved, shipped, low_stock_threshold)"};

constexpr pg::Statement write_ledger{"inventory_write_ledger", R"(
  INSERT INTO stock_ledger (sku, delta, cause) VALUES ($1, $2, $3))"};

constexpr pg::Statement claim_key{"inventory_claim_key", R"(
  INSERT INTO request_keys (scope, key, fingerprint) VALUES ($1, $2, decode($3, 'hex'))
  ON CONFLICT (scope, key) DO NOTHING RETURNING 1)"};

constexpr pg::Statement give_key_back{"inventory_give_key_back", R"(
  DELETE FROM request_keys WHERE scope = $1 AND key = $2)"};

constexpr pg::Statement add_stock{"inventory_add_stock", R"(
  UPDATE inventory SET available = available + $2, updated_at = now() WHERE sku = $1
  RETURNING sku, title, category, unit_price, available, reserved, shipped, low_stock_threshold)"};

constexpr pg::Statement keep_answer{"inventory_keep_answer", R"(
  UPDATE request_keys SET answer = (SELECT to_jsonb(i) FROM inventory i WHERE i.sku = $3)
   WHERE scope = $1 AND key = $2)"};

constexpr pg::Statement read_answer{"inventory_read_answer", R"(
  SELECT (a).sku, (a).title, (a).category, (a).unit_price, (a).available, (a).reserved, (a).shipped,
         (a).low_stock_threshold, encode(fingerprint, 'hex')
    FROM (SELECT fingerprint, jsonb_populate_record(NULL::inventory, answer) AS a
            FROM request_keys WHERE scope = $1 AND key = $2) k)"};

// Bounded work, and no waiting for a row that somebody else deletes or reads.
constexpr pg::Statement trim_keys{"inventory_trim_keys", R"(
  DELETE FROM request_keys WHERE (scope, key) IN (
    SELECT scope, key FROM request_keys WHERE created_at < now() - interval '48 hours'
     ORDER BY created_at LIMIT 100 FOR UPDATE SKIP LOCKED))"};

constexpr pg::Statement read_reservation{"inventory_read_reservation", R"(
  SELECT reservation_id, order_id, sku, status, quantity, created_at, expires_at
    FROM reservations WHERE reservation_id = $1::uuid)"};

constexpr pg::Statement list_reservations{"inventory_list_reservations", R"(
  SELECT reservation_id, order_id, sku, status, quantity, created_at, expires_at
    FROM reservations WHERE order_id = $1::uuid ORDER BY sku)"};

constexpr pg::Statement list_events{"inventory_list_events", R"(
  SELECT type, correlation_id, at FROM events WHERE order_id = $1::uuid ORDER BY at, event_id)"};

StockView stock_view(const pqxx::row& row) {
  StockView view;
  view.sku = row[0].as<std::string>();
  view.title = row[1].as<std::string>();
  view.category = row[2].as<std::string>();
  view.unit_price = row[3].as<Money>();
  view.available = row[4].as<std::int64_t>();
  view.reserved = row[5].as<std::int64_t>();
  view.shipped = row[6].as<std::int64_t>();
  view.low_stock_threshold = row[7].as<std::int64_t>();
  return view;
}

ReservationView reservation_view(const pqxx::row& row) {
  ReservationView view;
  view.reservation_id = row[0].as<std::string>();
  view.order_id = row[1].as<std::string>();
  view.sku = row[2].as<std::string>();
  view.status = row[3].as<std::string>();
  view.quantity = row[4].as<std::int64_t>();
  view.created_at = time_of(row[5]);
  if (!row[6].is_null()) view.expires_at = time_of(row[6]);
  return view;
}

// nullopt: it is missing, and the change does not make it.
std::optional<StockPut> put(pg::Session& session, const std::string& sku, const StockChange& change,
                            AskedAt asked_at) {
  return in_local_transaction(session, [&]() -> std::optional<StockPut> {
    refuse_old(session, asked_at);
    bool made = false;
    auto locked = session.exec(lock_available, sku);
    if (locked.empty()) {
      if (!change.available) return std::nullopt;
      made = !session.exec(make_stock, sku).empty();  // or somebody else has, just now
      locked = session.exec(lock_available, sku);
    }
    expect_rows(locked, 1, lock_available.name);
    const auto before = locked[0][0].as<std::int64_t>();
    const auto result =
        session.exec(set_stock, sku, change.title, change.category, change.unit_price,
                     change.available, change.low_stock_threshold);
    expect_rows(result, 1, set_stock.name);
    const StockPut after{stock_view(result[0]), made};
    if (after.available != before)
      session.exec(write_ledger, sku, after.available - before, "PUT");  // I6
    return after;
  });
}

RestockReply replay(pg::Session& session, const RequestKey& key) {
  const auto result = session.exec(read_answer, key.scope, key.key);
  if (result.empty())
    throw std::runtime_error("a restock key vanished while it was read");  // trimmed: rare
  RestockReply reply;
  if (result[0][8].as<std::string>() != to_hex(key.fingerprint)) {
    reply.status = KeyedStatus::key_reused;
  } else if (result[0][0].is_null()) {
    reply.status = KeyedStatus::not_found;  // kept by an older version
  } else {
    reply.status = KeyedStatus::replayed;
    reply.stock = stock_view(result[0]);
  }
  return reply;
}

// I5: the key is claimed first, in the transaction that adds the stock. A second request with the
// same key waits for the first one's end, holding nothing, and then finds its answer.
RestockReply add(pg::Session& session, const std::string& sku, std::int64_t quantity,
                 const RequestKey& key, AskedAt asked_at) {
  return in_local_transaction(session, [&] {
    refuse_old(session, asked_at);
    if (session.exec(claim_key, key.scope, key.key, to_hex(key.fingerprint)).empty())
      return replay(session, key);
    RestockReply reply;
    const auto result = session.exec(add_stock, sku, quantity);
    if (result.empty()) {
      // No outcome of the request, and so not kept: the product may be made, and then it counts.
      session.exec(give_key_back, key.scope, key.key);
      reply.status = KeyedStatus::not_found;
      return reply;
    }
    reply.stock = stock_view(result[0]);
    session.exec(write_ledger, sku, quantity, "RESTOCK");  // I6
    session.exec(keep_answer, key.scope, key.key, sku);
    session.exec(trim_keys);
    return reply;
  });
}

class PgInventoryService final : public InventoryService {
 public:
  PgInventoryService(std::shared_ptr<pg::Pool> pool, std::chrono::milliseconds deadline)
      : pool_(std::move(pool)), deadline_(deadline) {}

  asio::awaitable<Result<std::optional<StockView>>> stock(std::string sku) override {
    auto work = [sku = std::move(sku)](pg::Session& session) -> std::optional<StockView> {
      const auto result = session.exec(read_stock, sku);
      if (result.empty()) return std::nullopt;
      return stock_view(result[0]);
    };
    return pool_->run(std::move(work), deadline_);
  }

  asio::awaitable<Result<std::vector<StockView>>> stocks(PageRequest page) override {
    auto work = [page = std::move(page)](pg::Session& session) {
      std::vector<StockView> views;
      for (const auto& row : session.exec(list_stock, page.after, page.limit))
        views.push_back(stock_view(row));
      return views;
    };
    return pool_->run(std::move(work), deadline_);
  }

  asio::awaitable<Result<StockPut>> put_stock(std::string sku, StockChange change) override {
    auto work = [sku = std::move(sku), change = std::move(change), asked_at = now_utc()](
                    pg::Session& session) { return put(session, sku, change, asked_at); };
    auto running = pool_->run(std::move(work), deadline_);
    auto done = co_await std::move(running);
    if (!done) co_return done.failure();
    if (!done.value()) {
      co_return Failure{FailureKind::poison, false, missing_product_sqlstate,
                        "a product that is missing is made only with what is available"};
    }
    co_return std::move(*done.value());
  }

  asio::awaitable<Result<RestockReply>> restock(std::string sku, std::int64_t quantity,
                                                RequestKey key) override {
    auto work = [sku = std::move(sku), quantity, key = std::move(key), asked_at = now_utc()](
                    pg::Session& session) { return add(session, sku, quantity, key, asked_at); };
    return pool_->run(std::move(work), deadline_);
  }

  asio::awaitable<Result<std::optional<ReservationView>>> reservation(
      std::string reservation_id) override {
    auto work =
        [id = std::move(reservation_id)](pg::Session& session) -> std::optional<ReservationView> {
      const auto result = session.exec(read_reservation, id);
      if (result.empty()) return std::nullopt;
      return reservation_view(result[0]);
    };
    return pool_->run(std::move(work), deadline_);
  }

  asio::awaitable<Result<std::vector<ReservationView>>> reservations(
      std::string order_id) override {
    auto work = [id = std::move(order_id)](pg::Session& session) {
      std::vector<ReservationView> views;
      for (const auto& row : session.exec(list_reservations, id))
        views.push_back(reservation_view(row));
      return views;
    };
    return pool_->run(std::move(work), deadline_);
  }

  asio::awaitable<Result<std::vector<EventView>>> stock_events(std::string order_id) override {
    auto work = [id = std::move(order_id)](pg::Session& session) {
      std::vector<EventView> views;
      for (const auto& row : session.exec(list_events, id)) {
        views.push_back({row[0].as<std::string>(), row[1].as<std::string>(), time_of(row[2])});
      }
      return views;
    };
    return pool_->run(std::move(work), deadline_);
  }

  asio::awaitable<Result<std::vector<std::string>>> expired_reservations(
      std::size_t limit) override {
    auto work = [limit, place = place_](pg::Session& session) {
      return txcoord::expired_reservations(session, place, limit);
    };
    auto listing = pool_->run(std::move(work), deadline_);
    auto page = co_await std::move(listing);
    if (!page) co_return page.failure();
    place_ = std::move(page.value().next);
    co_return std::move(page.value().order_ids);
  }

  asio::awaitable<Result<std::size_t>> expire(std::vector<std::string> order_ids) override {
    auto work = [ids = std::move(order_ids)](pg::Session& session) {
      return expire_reservations(session, ids);
    };
    return pool_->run(std::move(work), deadline_);
  }

  asio::awaitable<Result<Done>> keep_reservations(std::vector<std::string> order_ids) override {
    auto work = [ids = std::move(order_ids)](pg::Session& session) {
      txcoord::keep_reservations(session, ids);
      return Done{};
    };
    return pool_->run(std::move(work), deadline_);
  }

 private:
  std::shared_ptr<pg::Pool> pool_;
  std::chrono::milliseconds deadline_;
  ExpiryPlace place_;
};

}  // namespace

InventoryParts make_inventory(const asio::any_io_executor& io, const DatabaseSettings& database,
                              Metrics* metrics, const ParticipantDeadlines& deadlines) {
  const PgPools pools = make_pools(io, "inventory", database, metrics);
  return {std::make_unique<PgParticipant>(pools, std::make_shared<InventoryBranch>(), deadlines,
                                          metrics),
          std::make_unique<PgInventoryService>(pools.service, deadlines.service)};
}

}  // namespace txcoord
