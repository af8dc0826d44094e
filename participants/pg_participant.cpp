// Branches as PREPARE TRANSACTION: see pg_participant.hpp and, for what may be assumed when an
// answer is lost, the comments beside each failure here.
#include "participants/pg_participant.hpp"

#include <atomic>
#include <optional>
#include <stdexcept>
#include <utility>

#include "txcoord/base/logging.hpp"

namespace txcoord {
namespace {

using std::chrono::steady_clock;

// More open branches than this and the engine has lost count: refuse instead of growing.
constexpr std::size_t branches_max = 256;

Failure own_failure(FailureKind kind, std::string message) {
  Failure failure;
  failure.kind = kind;
  failure.message = std::move(message);
  return failure;
}

double seconds_since(steady_clock::time_point start) {
  return std::chrono::duration<double>(steady_clock::now() - start).count();
}

// BEGIN and lock, on the worker's thread. A failure leaves no transaction open, so that the
// session can be used again.
std::shared_ptr<const LockedRows> begin_and_lock(pg::Session& session, const BranchLogic& logic,
                                                 const Operations& operations,
                                                 const PreliminaryPtr& preliminary,
                                                 LockMode lock_mode) {
  return with_lock_mode(lock_mode, [&](LockMode mode) -> std::shared_ptr<const LockedRows> {
    session.exec_simple(begin_bounded());
    try {
      return logic.lock(session, operations, preliminary, mode);
    } catch (...) {
      roll_back(session);
      throw;
    }
  });
}

struct PrepareWork {
  std::shared_ptr<const BranchLogic> logic;
  Operations operations;
  OperationMask survivors;
  std::shared_ptr<const LockedRows> rows;
  std::string gid, branch_id;
  bool begin = false;  // no locks were needed, so nothing was sent yet
  // Set just before PREPARE TRANSACTION can reach the server: before that, no failure is in doubt.
  std::shared_ptr<std::atomic<bool>> sent = std::make_shared<std::atomic<bool>>(false);

  // PREPARE in a failed transaction gives no error: it is a ROLLBACK whose command tag libpqxx
  // keeps private (seen). So it is never sent after an error (exceptions leave this function), and
  // the witness stands before it in the same string, which stops at its first error: in a failed
  // transaction the INSERT raises 25P02 and the PREPARE is not executed. What prepares has its
  // witness inside, and a lost transaction block is refused below: outside a block the string would
  // be a transaction of its own and prepare a branch that holds nothing but the witness (I1).
  Done operator()(pg::Session& session) const {
    try {
      if (begin) session.exec_simple(begin_bounded());
      logic->apply(session, operations, survivors, *rows, gid);
      if (!session.in_transaction())
        throw std::logic_error("branch: its transaction is gone before PREPARE");
      const std::string last = "INSERT INTO txc_branch (gid) VALUES (" + session.quote(gid) +
                               "); PREPARE TRANSACTION " + session.quote(branch_id);
      *sent = true;
      session.exec_simple(last);
    } catch (...) {
      roll_back(session);
      throw;
    }
    return {};
  }
};

}  // namespace

PgParticipant::PgParticipant(PgPools pools, std::shared_ptr<const BranchLogic> logic,
                             ParticipantDeadlines deadlines, Metrics* metrics)
    : pools_(std::move(pools)),
      logic_(std::move(logic)),
      deadlines_(deadlines),
      metrics_(metrics) {}

PgParticipant::~PgParticipant() = default;

std::string_view PgParticipant::name() const { return logic_->name(); }

bool PgParticipant::touches(const Operation& operation) const { return logic_->touches(operation); }

asio::awaitable<Result<protocol::Votes>> PgParticipant::vote(protocol::Gid gid,
                                                             Operations operations,
                                                             LockMode lock_mode) {
  const auto start = steady_clock::now();
  const auto until = start + deadlines_.vote;
  if (branches_.size() >= branches_max)
    co_return own_failure(FailureKind::unavailable, "too many open branches");
  if (branches_.contains(gid))
    co_return own_failure(FailureKind::error, "a gid votes once: " + format(gid));
  // The entry stands from the first message on, so that no second vote of this gid can slip in.
  branches_.emplace(gid, Branch{{}, operations, nullptr, lock_mode});

  Branch branch{{}, operations, logic_->without_locks(operations), lock_mode};
  if (!branch.rows) {
    auto locking = lock_branch(gid, branch, until);
    std::optional<Failure> failure = co_await std::move(locking);
    if (failure) {
      branches_.erase(gid);
      co_return std::move(*failure);
    }
  }
  protocol::Votes votes = branch.rows->judge(operations, OperationMask(operations.size(), true));
  branches_.insert_or_assign(gid, std::move(branch));
  observe("vote", start);
  co_return votes;
}

asio::awaitable<std::optional<Failure>> PgParticipant::lock_branch(const protocol::Gid& gid,
                                                                   Branch& branch,
                                                                   steady_clock::time_point until) {
  auto preparation = logic_->before_vote(gid, branch.operations, until);
  const auto preliminary = co_await std::move(preparation);
  if (!preliminary) co_return preliminary.failure();

  const auto wait = left_until(until);
  auto lease = co_await pools_.branch->acquire(wait);
  if (!lease) co_return lease.failure();
  branch.lease = std::move(lease).value();

  auto work = [logic = logic_, operations = branch.operations, rows = preliminary.value(),
               mode = branch.lock_mode](pg::Session& session) {
    return begin_and_lock(session, *logic, operations, rows, mode);
  };
  const auto deadline = left_until(until);
  auto locking = branch.lease.run(std::move(work), deadline);
  auto rows = co_await std::move(locking);
  if (!rows) {
    // Nothing of this branch can ever commit: PREPARE is not on its way. So this is not in doubt,
    // even when the answer was lost; dropping the lease closes what is still open.
    Failure failure = rows.failure();
    failure.outcome_unknown = false;
    co_return failure;
  }
  branch.rows = std::move(rows).value();
  co_return std::nullopt;
}

asio::awaitable<Result<protocol::Votes>> PgParticipant::judge(protocol::Gid gid,
                                                              OperationMask candidates) {
  const auto found = branches_.find(gid);
  if (found == branches_.end() || !found->second.rows) {
    co_return own_failure(FailureKind::error, "no open branch: " + format(gid));
  }
  const Branch& branch = found->second;
  if (candidates.size() != branch.operations.size()) {
    co_return own_failure(FailureKind::error, "judge: a mask of another group");
  }
  co_return branch.rows->judge(branch.operations, candidates);
}

asio::awaitable<Result<Done>> PgParticipant::prepare(protocol::Gid gid, OperationMask survivors) {
  const auto start = steady_clock::now();
  const auto found = branches_.find(gid);
  if (found == branches_.end() || !found->second.rows) {
    co_return own_failure(FailureKind::error, "no open branch: " + format(gid));
  }
  // Gone from the map before anything is sent: a (gid, participant) is prepared once.
  Branch branch = std::move(found->second);
  branches_.erase(found);
  if (survivors.size() != branch.operations.size()) {
    co_return own_failure(FailureKind::error, "prepare: a mask of another group");
  }

  PrepareWork work;
  work.logic = logic_;
  work.operations = branch.operations;
  work.survivors = std::move(survivors);
  work.rows = branch.rows;
  work.gid = format(gid);
  work.branch_id = protocol::format_branch(gid, name());
  work.begin = !branch.lease;
  const auto sent = work.sent;

  auto deadline = deadlines_.prepare;
  if (work.begin) {
    auto lease = co_await pools_.branch->acquire(deadline);
    if (!lease) co_return lease.failure();  // nothing was sent
    branch.lease = std::move(lease).value();
    deadline = left_until(start + deadlines_.prepare);
  }
  auto preparing = branch.lease.run(std::move(work), deadline);
  const auto done = co_await std::move(preparing);
  if (!done) {
    Failure failure = done.failure();
    // The work ended by itself and had not come to its PREPARE: certainly not prepared. After our
    // own deadline the work may still be running, and what it sends may still prepare.
    if (failure.kind != FailureKind::timeout && !*sent) failure.outcome_unknown = false;
    co_return failure;
  }
  observe("prepare", start);
  co_return done;
}

asio::awaitable<void> PgParticipant::release(protocol::Gid gid) {
  const auto found = branches_.find(gid);
  if (found == branches_.end()) co_return;
  Branch branch = std::move(found->second);
  branches_.erase(found);
  if (!branch.lease) co_return;
  // A session that does not roll back in time is closed by its lease, and so by the server.
  auto work = [](pg::Session& session) {
    roll_back(session);
    return Done{};
  };
  auto rolling_back = branch.lease.run(std::move(work), deadlines_.finish);
  co_await std::move(rolling_back);
}

asio::awaitable<Result<Done>> PgParticipant::commit_prepared(protocol::Gid gid) {
  return finish("COMMIT PREPARED ", std::move(gid), "commit");
}

asio::awaitable<Result<Done>> PgParticipant::rollback_prepared(protocol::Gid gid) {
  return finish("ROLLBACK PREPARED ", std::move(gid), "abort");
}

// 42704 and 55000 come back as they are (not_found, busy): neither proves anything here, the engine
// asks for the witness or tries again.
asio::awaitable<Result<Done>> PgParticipant::finish(const char* verb, protocol::Gid gid,
                                                    std::string_view phase) {
  const auto start = steady_clock::now();
  auto work = [verb, branch_id = protocol::format_branch(gid, name())](pg::Session& session) {
    session.exec_simple(verb + session.quote(branch_id));
    return Done{};
  };
  auto finishing = pools_.finish->run(std::move(work), deadlines_.finish);
  const auto done = co_await std::move(finishing);
  if (done) observe(phase, start);
  co_return done;
}

void PgParticipant::observe(std::string_view phase, steady_clock::time_point start) const {
  if (metrics_ != nullptr) metrics_->branch(name(), phase, seconds_since(start));
}

}  // namespace txcoord
