// See pg_lost_saga_log.hpp.
#include "txcoord/log/pg_lost_saga_log.hpp"

#include "txcoord/log/pg_claims_sql.hpp"
#include "txcoord/pg/pool.hpp"

namespace txcoord {
namespace {

using std::chrono::milliseconds;

template <class T>
using Reply = asio::awaitable<Result<T>>;

constexpr pg::Statement unknown_sagas{"lost_unknown", R"(
SELECT k.saga_id FROM unnest($1::uuid[]) AS k (saga_id)
WHERE NOT EXISTS (SELECT FROM saga_instances s WHERE s.saga_id = k.saga_id))"};

constexpr pg::Statement orders_without{"lost_orders_without_saga", R"(
SELECT k.order_id FROM unnest($1::uuid[]) AS k (order_id)
WHERE NOT EXISTS (SELECT FROM saga_instances s WHERE s.order_id = k.order_id))"};

// What a person has resolved is not opened again: the saga stands in the log, and has an end there.
constexpr pg::Statement put_saga{"lost_put", R"(
INSERT INTO lost_sagas AS l (saga_id, saga_type, order_id, order_status, customer_id, money_taken,
                             payment_status, stock_held, shipment_status, may_compensate,
                             may_complete)
VALUES ($1, $2, nullif($3, '')::uuid, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (saga_id) DO UPDATE
SET saga_type = excluded.saga_type, order_id = excluded.order_id,
    order_status = excluded.order_status, customer_id = excluded.customer_id,
    money_taken = excluded.money_taken, payment_status = excluded.payment_status,
    stock_held = excluded.stock_held, shipment_status = excluded.shipment_status,
    may_compensate = excluded.may_compensate, may_complete = excluded.may_complete,
    looked_at = now(), resolved_at = NULL, resolution = ''
WHERE l.resolution IN ('', 'by_itself')
RETURNING xmax = 0)"};

constexpr pg::Statement saga_gone{"lost_gone", R"(
UPDATE lost_sagas SET resolved_at = now(), resolution = 'by_itself', looked_at = now()
WHERE saga_id = $1 AND resolved_at IS NULL)"};

// One statement: either all of it stands, or the saga is as lost as before. Owned by nobody (epoch
// 0 is below every coordinator's), so that whoever adopts next runs it. A key that the log still
// has for it gets its outcome; else it has one of its own.
constexpr pg::Statement write_again{"lost_resolve", R"(
WITH mine AS (
  UPDATE lost_sagas SET resolved_at = now(), resolution = $12, resolution_key = $13
  WHERE saga_id = $3 AND resolved_at IS NULL AND order_id IS NOT NULL
  RETURNING saga_id, order_id),
old_key AS MATERIALIZED (
  SELECT o.period, o.scope, o.idempotency_key FROM operations o JOIN mine m
    ON o.order_id = m.order_id AND o.gid = m.saga_id::text LIMIT 1),
new_key AS (
  INSERT INTO operations (period, scope, idempotency_key, fingerprint, kind, outcome, order_id, gid)
  SELECT $1::integer, 'lost', m.saga_id::text, decode(repeat('00', 32), 'hex'), $11,
         CASE WHEN $14::boolean THEN 'confirmed' ELSE 'pending' END, m.order_id, m.saga_id::text
  FROM mine m WHERE NOT EXISTS (SELECT FROM old_key)
  RETURNING period, scope, idempotency_key),
its_key AS (SELECT * FROM old_key UNION ALL SELECT * FROM new_key),
begun AS (
  INSERT INTO saga_instances (saga_id, saga_type, order_id, correlation_id, period, scope,
                              idempotency_key, accepted, coordinator, epoch, progress, status,
                              current_step, reason, detail, payload, answered)
  SELECT m.saga_id, $4, m.order_id, $5, k.period, k.scope, k.idempotency_key, false, $2, 0,
         $6::integer, $7, $8, $9, $10, $15, $14::boolean
  FROM mine m CROSS JOIN its_key k
  RETURNING saga_id, progress, status, current_step),
noted AS (
  INSERT INTO saga_history (saga_id, n, status, step)
  SELECT saga_id, progress, status, current_step FROM begun
  UNION ALL
  SELECT saga_id, 1, 'ORDER_CONFIRMED', 'order.confirm' FROM begun WHERE $14::boolean
  UNION ALL
  SELECT saga_id, 0, 'STARTED', '' FROM begun)
SELECT count(*) FROM begun)"};

#define TXC_LOST_COLUMNS                                                                    \
  "l.saga_id, l.saga_type, coalesce(l.order_id::text, ''), l.order_status, l.customer_id, " \
  "l.payment_status, l.stock_held, l.shipment_status, l.money_taken, l.may_compensate, "    \
  "l.may_complete, (extract(epoch FROM l.found_at) * 1000000)::bigint, "                    \
  "(extract(epoch FROM l.looked_at) * 1000000)::bigint, l.resolution, l.resolution_key"

constexpr pg::Statement find_lost{
    "lost_find", "SELECT " TXC_LOST_COLUMNS " FROM lost_sagas l WHERE l.saga_id = $1"};
constexpr pg::Statement lost_of_order{"lost_of_order", "SELECT " TXC_LOST_COLUMNS R"(
FROM lost_sagas l WHERE l.order_id = $1::uuid AND l.resolved_at IS NULL ORDER BY l.saga_id)"};
constexpr pg::Statement list_lost{"lost_list", "SELECT " TXC_LOST_COLUMNS R"(
FROM lost_sagas l
WHERE l.resolved_at IS NULL AND ($1 = '' OR l.saga_id < nullif($1, '')::uuid)
ORDER BY l.saga_id DESC LIMIT $2)"};
constexpr pg::Statement count_lost{"lost_count",
                                   "SELECT count(*) FROM lost_sagas WHERE resolved_at IS NULL"};
constexpr pg::Statement trim_lost{"lost_trim", R"(
DELETE FROM lost_sagas WHERE resolved_at < clock_timestamp() - $1::bigint * interval '1 second')"};

UtcTime time_of(const pqxx::field& microseconds) {
  return UtcTime(std::chrono::microseconds(microseconds.as<std::int64_t>()));
}

std::vector<LostSaga> read_lost(const pqxx::result& rows) {
  std::vector<LostSaga> sagas;
  for (const auto& row : rows) {
    LostSaga saga;
    saga.saga_id = row[0].as<std::string>();
    saga.type = row[1].as<std::string>();
    saga.order_id = row[2].as<std::string>();
    saga.order_status = row[3].as<std::string>();
    saga.customer_id = row[4].as<std::string>();
    saga.payment_status = row[5].as<std::string>();
    saga.stock_held = row[6].as<std::string>();
    saga.shipment_status = row[7].as<std::string>();
    saga.money_taken = row[8].as<Money>();
    saga.may_compensate = row[9].as<bool>();
    saga.may_complete = row[10].as<bool>();
    saga.found_at = time_of(row[11]);
    saga.looked_at = time_of(row[12]);
    saga.resolution = row[13].as<std::string>();
    saga.resolution_key = row[14].as<std::string>();
    sagas.push_back(std::move(saga));
  }
  return sagas;
}

std::vector<std::string> read_ids(const pqxx::result& rows) {
  std::vector<std::string> ids;
  ids.reserve(static_cast<std::size_t>(rows.size()));
  for (const auto& row : rows) ids.push_back(row[0].as<std::string>());
  return ids;
}

bool resolve_one(pg::Session& session, const SagaOwner& owner, const SagaRewrite& saga) {
  try {
    const int period = log_sql::begin_claim(session);
    const auto written = session.exec(
        write_again, period, owner.coordinator, saga.saga_id, saga.type, saga.correlation_id,
        static_cast<std::int64_t>(saga.progress), saga.status, saga.current_step, saga.reason,
        saga.detail, saga.kind, saga.resolution, saga.resolution_key, saga.confirmed, saga.payload);
    const bool begun = written[0][0].as<std::int64_t>() == 1;
    session.exec_simple("SET LOCAL synchronous_commit = on;" +
                        log_sql::fence(session, owner.coordinator, owner.epoch) + "COMMIT");
    return begun;
  } catch (...) {
    log_sql::roll_back(session);
    throw;
  }
}

class PgLostSagaLog final : public LostSagaLog {
 public:
  PgLostSagaLog(const asio::any_io_executor& io, const Settings& settings)
      : write_ms_max_(settings.engine.decide_ms_max),
        side_ms_max_(settings.log.statement_ms_max + 500),
        pool_(io, pg::pool_settings(settings.log, "log-lost", pg_lost_saga_log_sessions_max)) {}

  Reply<std::vector<std::string>> unknown(std::vector<std::string> saga_ids) override {
    return ids(unknown_sagas, std::move(saga_ids));
  }
  Reply<std::vector<std::string>> orders_without_saga(std::vector<std::string> order_ids) override {
    return ids(orders_without, std::move(order_ids));
  }

  Reply<bool> put(LostSaga saga) override {
    return side([saga = std::move(saga)](pg::Session& session) {
      const auto row =
          session.exec(put_saga, saga.saga_id, saga.type, saga.order_id, saga.order_status,
                       saga.customer_id, saga.money_taken, saga.payment_status, saga.stock_held,
                       saga.shipment_status, saga.may_compensate, saga.may_complete);
      return !row.empty() && row[0][0].as<bool>();
    });
  }
  Reply<Done> gone(std::string saga_id) override {
    return side([saga_id = std::move(saga_id)](pg::Session& session) {
      session.exec(saga_gone, saga_id);
      return Done{};
    });
  }
  Reply<bool> resolve(SagaOwner owner, SagaRewrite saga) override {
    auto running =
        pool_.run([owner = std::move(owner), saga = std::move(saga)](
                      pg::Session& session) { return resolve_one(session, owner, saga); },
                  write_ms_max_);
    auto result = co_await std::move(running);
    if (!result) co_return log_sql::commit_failure(result.failure());
    co_return std::move(result);
  }

  Reply<std::optional<LostSaga>> find(std::string saga_id) override {
    return side([saga_id = std::move(saga_id)](pg::Session& session) -> std::optional<LostSaga> {
      auto found = read_lost(session.exec(find_lost, saga_id));
      if (found.empty()) return std::nullopt;
      return std::move(found.front());
    });
  }
  Reply<std::vector<LostSaga>> of_order(std::string order_id) override {
    return side([order_id = std::move(order_id)](pg::Session& session) {
      return read_lost(session.exec(lost_of_order, order_id));
    });
  }
  Reply<std::vector<LostSaga>> list(std::size_t limit, std::string before) override {
    return side([limit, before = std::move(before)](pg::Session& session) {
      return read_lost(session.exec(list_lost, before, limit));
    });
  }
  Reply<std::size_t> count() override {
    return side(
        [](pg::Session& session) { return session.exec(count_lost)[0][0].as<std::size_t>(); });
  }
  Reply<Done> trim(std::chrono::seconds keep) override {
    return side([keep](pg::Session& session) {
      session.exec(trim_lost, static_cast<std::int64_t>(keep.count()));
      return Done{};
    });
  }

 private:
  template <class F>
  Reply<std::invoke_result_t<F, pg::Session&>> side(F work) {
    return pool_.run(std::move(work), side_ms_max_);
  }
  Reply<std::vector<std::string>> ids(const pg::Statement& statement,
                                      std::vector<std::string> asked) {
    return side([&statement, asked = std::move(asked)](pg::Session& session) {
      return read_ids(session.exec(statement, asked));
    });
  }

  milliseconds write_ms_max_, side_ms_max_;
  pg::Pool pool_;
};

}  // namespace

std::unique_ptr<LostSagaLog> make_pg_lost_saga_log(asio::any_io_executor io,
                                                   const Settings& settings) {
  return std::make_unique<PgLostSagaLog>(io, settings);
}

}  // namespace txcoord
