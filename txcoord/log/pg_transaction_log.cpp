// The log's port on three pools: which call runs on which sessions, and until when.
#include "txcoord/log/pg_transaction_log.hpp"

#include <algorithm>

#include "txcoord/log/pg_transaction_log_sql.hpp"
#include "txcoord/metrics/metrics.hpp"
#include "txcoord/pg/pool.hpp"

namespace txcoord {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t side_sessions = 4, lease_sessions = 1;
constexpr milliseconds release_ms_max{500};
constexpr milliseconds trim_ms_max{10000};  // several statements, each with its own limit

template <class T>
using Reply = asio::awaitable<Result<T>>;

std::size_t group_sessions(const Settings& settings) {
  const std::size_t lanes = settings.engine.lanes;
  return std::max<std::size_t>(settings.log.connections_max, lanes + 2);
}

pg::PoolSettings group_pool(const Settings& settings) {
  pg::PoolSettings pool = pg::pool_settings(settings.log, "log", group_sessions(settings));
  pool.session.planning = pg::Planning::once;
  return pool;
}

// settle(), raise_epoch() and take_over() wait for decisions in flight, so their locks may take as
// long as a decision may.
pg::PoolSettings side_pool(const Settings& settings) {
  pg::PoolSettings pool = pg::pool_settings(settings.log, "log-side", side_sessions);
  const milliseconds decide(settings.engine.decide_ms_max);
  pool.session.lock_timeout = std::max(pool.session.lock_timeout, decide + milliseconds(500));
  pool.session.statement_timeout =
      std::max(pool.session.statement_timeout, pool.session.lock_timeout + milliseconds(500));
  return pool;
}

// A renewal that hangs must fail early enough for another before the lease runs out.
milliseconds renew_ms_max(const Settings& settings) {
  return milliseconds(std::max<std::uint32_t>(settings.engine.lease_ms / 3, 100));
}

pg::PoolSettings lease_pool(const Settings& settings) {
  pg::PoolSettings pool = pg::pool_settings(settings.log, "log-lease", lease_sessions);
  pool.connect_timeout = renew_ms_max(settings);
  return pool;
}

class PgTransactionLog final : public TransactionLog {
 public:
  PgTransactionLog(const asio::any_io_executor& io, const Settings& settings, Metrics* metrics)
      : claim_ms_max_(settings.engine.vote_ms_max),
        decide_ms_max_(settings.engine.decide_ms_max),
        side_ms_max_(side_pool(settings).session.statement_timeout + milliseconds(500)),
        renew_ms_max_(renew_ms_max(settings)),
        lease_(settings.engine.lease_ms),
        groups_(io, group_pool(settings)),
        side_(io, side_pool(settings)),
        leases_(io, lease_pool(settings)) {
    if (metrics == nullptr) return;
    for (pg::Pool* pool : {&groups_, &side_})
      pool->on_wait([metrics](double seconds) { metrics->pool_wait("log", seconds); });
  }

  Reply<ClaimReply> claim(protocol::Gid gid, Operations operations) override;
  Reply<Done> decide(protocol::Gid gid, DecisionRecord record) override;
  asio::awaitable<void> release(protocol::Gid gid) override;

  Reply<DecisionOutcome> settle(LogOwner owner, protocol::Gid gid) override {
    return fenced([owner = std::move(owner), gid](pg::Session& session) {
      return log_sql::settle(session, owner, gid);
    });
  }
  Reply<std::vector<Decision>> decisions(std::vector<protocol::Gid> gids) override {
    return side([gids = std::move(gids)](pg::Session& session) {
      return log_sql::decisions(session, gids);
    });
  }
  Reply<std::vector<Decision>> incomplete_decisions(std::size_t limit) override {
    return side(
        [limit](pg::Session& session) { return log_sql::incomplete_decisions(session, limit); });
  }
  Reply<std::vector<protocol::Gid>> complete(LogOwner owner,
                                             std::vector<protocol::Gid> gids) override {
    return fenced([owner = std::move(owner), gids = std::move(gids)](pg::Session& session) {
      return log_sql::complete(session, owner, gids);
    });
  }
  Reply<Done> record_heuristic(LogOwner owner, protocol::Gid gid, std::string participant,
                               std::string detail) override {
    return fenced([owner = std::move(owner), gid, participant = std::move(participant),
                   detail = std::move(detail)](pg::Session& session) {
      return log_sql::record_heuristic(session, owner, gid, participant, detail);
    });
  }
  Reply<std::vector<HeuristicOutcome>> heuristic_outcomes(
      std::vector<protocol::Gid> gids) override {
    return side([gids = std::move(gids)](pg::Session& session) {
      return log_sql::heuristic_outcomes(session, gids);
    });
  }
  Reply<std::map<std::string, std::size_t>> open_heuristics() override {
    return side(&log_sql::open_heuristics);
  }
  Reply<Done> resolve_heuristic(protocol::Gid gid, std::vector<std::string> participants,
                                std::string note) override {
    return side([gid, participants = std::move(participants),
                 note = std::move(note)](pg::Session& session) {
      return log_sql::resolve_heuristic(session, gid, participants, note);
    });
  }
  Reply<DecisionOutcome> write_decision_again(LogOwner owner, protocol::Gid gid,
                                              std::vector<std::string> participants,
                                              std::vector<std::string> order_ids) override {
    return fenced([owner = std::move(owner), gid, participants = std::move(participants),
                   order_ids = std::move(order_ids)](pg::Session& session) {
      return log_sql::write_decision_again(session, owner, gid, participants, order_ids);
    });
  }
  Reply<std::string> installation() override { return side(&log_sql::installation); }
  Reply<std::uint64_t> raise_epoch(std::string coordinator, std::uint64_t above) override {
    return side(
        [coordinator = std::move(coordinator), above, lease = lease_](pg::Session& session) {
          return log_sql::raise_epoch(session, coordinator, above, lease);
        });
  }
  Reply<LeaseRound> renew_lease(std::string coordinator) override {
    return leases_.run(
        [coordinator = std::move(coordinator), lease = lease_](pg::Session& session) {
          return log_sql::renew_lease(session, coordinator, lease);
        },
        renew_ms_max_);
  }
  Reply<Done> end_lease(std::string coordinator) override {
    return leases_.run(
        [coordinator = std::move(coordinator)](pg::Session& session) {
          return log_sql::end_lease(session, coordinator);
        },
        renew_ms_max_);
  }
  Reply<Coordinators> coordinators() override { return side(&log_sql::coordinators); }
  Reply<std::vector<std::string>> take_over(std::vector<LeaseClaim> claims) override {
    // Each may be waited for; all of them fit into the deadline of one statement more.
    const milliseconds deadline = side_ms_max_ * static_cast<milliseconds::rep>(claims.size() + 1);
    return side_.run([claims = std::move(claims)](
                         pg::Session& session) { return log_sql::take_over(session, claims); },
                     deadline);
  }
  Reply<DegradedModes> degraded_modes() override {
    return side_.run(&log_sql::degraded_modes, renew_ms_max_);
  }
  Reply<Done> set_degraded_mode(std::string participant, std::string mode) override {
    return side(
        [participant = std::move(participant), mode = std::move(mode)](pg::Session& session) {
          return log_sql::set_degraded_mode(session, participant, mode);
        });
  }
  Reply<std::optional<StoredOutcome>> find_outcome(std::string scope, std::string key) override {
    return side([scope = std::move(scope), key = std::move(key)](pg::Session& session) {
      return log_sql::find_outcome(session, scope, key);
    });
  }
  Reply<std::vector<protocol::Gid>> unapplied(std::string order_id) override {
    return side([order_id = std::move(order_id)](pg::Session& session) {
      return log_sql::unapplied(session, order_id);
    });
  }
  Reply<std::vector<StoredOutcome>> unapplied_outcomes(std::string order_id) override {
    return side([order_id = std::move(order_id)](pg::Session& session) {
      return log_sql::unapplied_outcomes(session, order_id);
    });
  }
  Reply<std::vector<Decision>> list_decisions(std::string state, std::size_t limit) override {
    return side([state = std::move(state), limit](pg::Session& session) {
      return log_sql::list_decisions(session, state, limit);
    });
  }
  Reply<LogIdentity> identity() override { return side(&log_sql::identity); }
  Reply<std::vector<Decision>> complete_before(std::chrono::seconds keep,
                                               std::vector<std::string> away,
                                               std::size_t limit) override {
    return side([keep, away = std::move(away), limit](pg::Session& session) {
      return log_sql::complete_before(session, keep, away, limit);
    });
  }
  Reply<Done> forget(std::vector<protocol::Gid> gids) override {
    return side(
        [gids = std::move(gids)](pg::Session& session) { return log_sql::forget(session, gids); });
  }
  Reply<std::uint64_t> trim(std::chrono::seconds keep, std::chrono::seconds period,
                            std::chrono::seconds keys_keep) override {
    return side_.run(
        [=](pg::Session& session) { return log_sql::trim(session, keep, period, keys_keep); },
        trim_ms_max);
  }

 private:
  // One group between its claim and its decision.
  struct OpenGroup {
    pg::Lease lease;  // its session has the transaction open
    Operations operations;
    log_sql::Claimed claimed;
  };

  template <class F>
  Reply<std::invoke_result_t<F, pg::Session&>> side(F work) {
    return side_.run(std::move(work), side_ms_max_);
  }

  template <class F>
  Reply<std::invoke_result_t<F, pg::Session&>> fenced(F work) {
    auto running = side_.run(std::move(work), side_ms_max_);
    auto result = co_await std::move(running);
    if (!result) co_return log_sql::commit_failure(result.failure());
    co_return std::move(result);
  }

  milliseconds claim_ms_max_, decide_ms_max_, side_ms_max_, renew_ms_max_, lease_;
  pg::Pool groups_, side_, leases_;
  std::map<protocol::Gid, OpenGroup> open_;
};

Reply<ClaimReply> PgTransactionLog::claim(protocol::Gid gid, Operations operations) {
  const auto until = std::chrono::steady_clock::now() + claim_ms_max_;
  Result<pg::Lease> lease = co_await groups_.acquire(claim_ms_max_);
  if (!lease) co_return lease.failure();
  const auto left = std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now());
  const auto work = [gid, operations](pg::Session& session) {
    return log_sql::claim(session, gid, operations);
  };
  auto claiming = lease.value().run(work, std::max(left, milliseconds(0)));
  Result<log_sql::ClaimResult> result = co_await std::move(claiming);
  // The lease closes a session whose transaction is still open: the claims go with it.
  if (!result) co_return result.failure();
  open_.insert_or_assign(gid, OpenGroup{std::move(lease).value(), std::move(operations),
                                        std::move(result.value().claimed)});
  co_return std::move(result.value().reply);
}

Reply<Done> PgTransactionLog::decide(protocol::Gid gid, DecisionRecord record) {
  auto node = open_.extract(gid);
  if (node.empty()) co_return Failure{FailureKind::error, false, "", "decide without a claim"};
  OpenGroup& group = node.mapped();
  const auto work = [gid, operations = group.operations, claimed = std::move(group.claimed),
                     record = std::move(record)](pg::Session& session) {
    log_sql::decide(session, gid, operations, claimed, record);
    return Done{};
  };
  auto deciding = group.lease.run(work, decide_ms_max_);
  Result<Done> result = co_await std::move(deciding);
  if (result) co_return Done{};
  co_return log_sql::decision_failure(result.failure());
}

asio::awaitable<void> PgTransactionLog::release(protocol::Gid gid) {
  auto node = open_.extract(gid);
  if (node.empty()) co_return;
  // A session that cannot roll back is closed by its lease: the server does it then.
  const auto work = [](pg::Session& session) {
    log_sql::roll_back(session);
    return Done{};
  };
  auto releasing = node.mapped().lease.run(work, release_ms_max);
  co_await std::move(releasing);
}

}  // namespace

std::size_t pg_transaction_log_sessions_max(const Settings& settings) {
  return group_sessions(settings) + side_sessions + lease_sessions;
}

std::unique_ptr<TransactionLog> make_pg_transaction_log(asio::any_io_executor io,
                                                        const Settings& settings,
                                                        Metrics* metrics) {
  return std::make_unique<PgTransactionLog>(io, settings, metrics);
}

}  // namespace txcoord
