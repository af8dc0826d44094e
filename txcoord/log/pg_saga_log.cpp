// The sagas' port on two pools: which call runs on which sessions, and until when.
#include "txcoord/log/pg_saga_log.hpp"

#include <algorithm>

#include "txcoord/log/pg_claims_sql.hpp"
#include "txcoord/log/pg_saga_log_sql.hpp"
#include "txcoord/metrics/metrics.hpp"
#include "txcoord/pg/pool.hpp"

namespace txcoord {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t side_sessions = 3;
constexpr milliseconds trim_ms_max{10000};  // several statements, each with its own limit

std::size_t writer_sessions(const Settings& settings) {
  return std::max<std::size_t>(2 * settings.saga.lanes, 2) + saga_lanes_alone_max;
}

// Starts and states reach every row by its key, and what PostgreSQL knows of a table that has just
// been emptied or made is wrong: planned for each batch, the join of a full one was an unindexed
// nested loop over all sagas (58 ms in place of 1 ms with 5,000 of them), until autovacuum came.
pg::PoolSettings writers_pool(const Settings& settings) {
  pg::PoolSettings pool = pg::pool_settings(settings.log, "log-sagas", writer_sessions(settings));
  pool.session.planning = pg::Planning::once;
  return pool;
}

template <class T>
using Reply = asio::awaitable<Result<T>>;

class PgSagaLog final : public SagaLog {
 public:
  PgSagaLog(const asio::any_io_executor& io, const Settings& settings, Metrics* metrics)
      : write_ms_max_(settings.engine.decide_ms_max),
        side_ms_max_(settings.log.statement_ms_max + 500),
        writers_(io, writers_pool(settings)),
        side_(io, pg::pool_settings(settings.log, "log-sagas-side", side_sessions)) {
    if (metrics == nullptr) return;
    for (pg::Pool* pool : {&writers_, &side_})
      pool->on_wait([metrics](double seconds) { metrics->pool_wait("log", seconds); });
  }

  Reply<std::vector<SagaStartReply>> start(SagaOwner owner, std::vector<SagaStart> sagas) override {
    return fenced(writers_,
                  [owner = std::move(owner), sagas = std::move(sagas)](pg::Session& session) {
                    return saga_sql::start(session, owner, sagas);
                  });
  }
  Reply<std::vector<std::string>> record(SagaOwner owner,
                                         std::vector<SagaUpdate> updates) override {
    return fenced(writers_,
                  [owner = std::move(owner), updates = std::move(updates)](pg::Session& session) {
                    return saga_sql::record(session, owner, updates);
                  });
  }
  Reply<Done> note_trouble(SagaOwner owner, std::vector<SagaTrouble> troubles) override {
    return fenced(side_,
                  [owner = std::move(owner), troubles = std::move(troubles)](pg::Session& session) {
                    return saga_sql::note_trouble(session, owner, troubles);
                  });
  }
  Reply<std::vector<SagaInstance>> adopt(SagaOwner owner, std::size_t limit) override {
    return fenced(side_, [owner = std::move(owner), limit](pg::Session& session) {
      return saga_sql::adopt(session, owner, limit);
    });
  }
  Reply<std::vector<SagaInstance>> adopt_these(SagaOwner owner,
                                               std::vector<std::string> saga_ids) override {
    return fenced(side_,
                  [owner = std::move(owner), ids = std::move(saga_ids)](pg::Session& session) {
                    return saga_sql::adopt_these(session, owner, ids);
                  });
  }
  Reply<std::vector<std::string>> orphans(std::size_t limit) override {
    return side([limit](pg::Session& session) { return saga_sql::orphans(session, limit); });
  }
  Reply<std::vector<std::string>> unfinished_of(SagaOwner owner, std::string after,
                                                std::size_t limit) override {
    return side([owner = std::move(owner), after = std::move(after), limit](pg::Session& session) {
      return saga_sql::unfinished_of(session, owner, after, limit);
    });
  }
  Reply<std::vector<SagaInstance>> take_up(SagaOwner owner,
                                           std::vector<std::string> saga_ids) override {
    return fenced(side_,
                  [owner = std::move(owner), ids = std::move(saga_ids)](pg::Session& session) {
                    return saga_sql::take_up(session, owner, ids);
                  });
  }
  Reply<std::vector<std::string>> owners() override { return side(&saga_sql::owners); }

  Reply<std::optional<SagaInstance>> find(std::string saga_id) override {
    return side([saga_id = std::move(saga_id)](pg::Session& session) {
      return saga_sql::find(session, saga_id);
    });
  }
  Reply<std::vector<SagaInstance>> of_order(std::string order_id) override {
    return side([order_id = std::move(order_id)](pg::Session& session) {
      return saga_sql::of_order(session, order_id);
    });
  }
  Reply<std::vector<SagaInstance>> list(std::string state, std::size_t limit,
                                        std::string before) override {
    return side(
        [state = std::move(state), limit, before = std::move(before)](pg::Session& session) {
          return saga_sql::list(session, state, limit, before);
        });
  }
  Reply<std::size_t> count_stuck() override { return side(&saga_sql::count_stuck); }
  Reply<std::vector<SagaHistoryEntry>> history(std::string saga_id) override {
    return side([saga_id = std::move(saga_id)](pg::Session& session) {
      return saga_sql::history(session, saga_id);
    });
  }
  Reply<std::vector<std::string>> orders_of_correlation(std::string correlation_id) override {
    return side([correlation_id = std::move(correlation_id)](pg::Session& session) {
      return saga_sql::orders_of_correlation(session, correlation_id);
    });
  }

  Reply<std::vector<std::string>> ended_before(SagaOwner owner, std::chrono::seconds age,
                                               std::size_t limit) override {
    return side([owner = std::move(owner), age, limit](pg::Session& session) {
      return saga_sql::ended_before(session, owner, age, limit);
    });
  }
  Reply<std::vector<std::string>> owners_of_ended(std::chrono::seconds age) override {
    return side([age](pg::Session& session) { return saga_sql::owners_of_ended(session, age); });
  }
  Reply<Done> barriers_trimmed(std::vector<std::string> saga_ids) override {
    return side([saga_ids = std::move(saga_ids)](pg::Session& session) {
      return saga_sql::barriers_trimmed(session, saga_ids);
    });
  }
  Reply<Done> trim(std::chrono::seconds keep) override {
    return side_.run([keep](pg::Session& session) { return saga_sql::trim(session, keep); },
                     trim_ms_max);
  }

 private:
  template <class F>
  Reply<std::invoke_result_t<F, pg::Session&>> side(F work) {
    return side_.run(std::move(work), side_ms_max_);
  }

  template <class F>
  Reply<std::invoke_result_t<F, pg::Session&>> fenced(pg::Pool& pool, F work) {
    auto running = pool.run(std::move(work), write_ms_max_);
    auto result = co_await std::move(running);
    if (!result) co_return log_sql::commit_failure(result.failure());
    co_return std::move(result);
  }

  milliseconds write_ms_max_, side_ms_max_;
  pg::Pool writers_, side_;
};

}  // namespace

std::size_t pg_saga_log_sessions_max(const Settings& settings) {
  return writer_sessions(settings) + side_sessions;
}

std::unique_ptr<SagaLog> make_pg_saga_log(asio::any_io_executor io, const Settings& settings,
                                          Metrics* metrics) {
  return std::make_unique<PgSagaLog>(io, settings, metrics);
}

}  // namespace txcoord
