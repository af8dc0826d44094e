// Steps of sagas at one participant's database: a batch of them is one local transaction, and the
// barrier (txc_saga_steps) makes each happen once.
//
// Why a step happens at most once, and never after its compensation, whoever repeats it and
// whatever answers are lost:
//  1. A step's row is claimed before anything else and commits with the step's effects. A second
//     try of the same step waits at the claim for the first one's end: after a commit it finds the
//     row and answers from it, after a rollback it is the first.
//  2. A compensation claims its own row and, in the same statement, the row of the step that it
//     undoes, as `skipped`. If that step is under way it waits for its end. If the step never came,
//     the claim stands, and the step finds it whenever it comes.
//  3. Claims come before the locks of the business rows, in the order of the key: who waits for a
//     claim holds nothing but claims that sort before it, and branches of groups claim nothing. So
//     no cycle is possible.
// A row that somebody else holds stays with the calls that need it: they are answered `retry`,
// their claims are given back, and the rest of the batch commits. A claim cannot skip (ON CONFLICT
// waits): its wait is short, and whoever calls halves the batch when it fails with lock_timeout. A
// business refusal is kept in its row and so is final. That of a compensation, or of a step that
// must succeed, is not kept: it needs a person, and is asked again until it can be done (I8).
//
// Barriers are trimmed at some time, and a step may come later than that. Its owner is fenced by
// then, and the fence is checked in the string that commits (pg_fence.hpp).
#include <algorithm>
#include <atomic>
#include <map>
#include <set>
#include <stdexcept>
#include <utility>

#include "participants/pg_fence.hpp"
#include "participants/pg_participant.hpp"

namespace txcoord {
namespace {

using std::chrono::steady_clock;

constexpr pg::Statement claim_steps{"step_claim", R"(
  INSERT INTO txc_saga_steps (saga_id, step, outcome, order_id)
  SELECT c.saga_id, c.step, c.outcome, c.order_id
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[])
      AS c (saga_id, step, outcome, order_id)
   ORDER BY c.saga_id, c.step
      ON CONFLICT (saga_id, step) DO NOTHING
  RETURNING saga_id, step)"};

// In the statement after the claims: what a claim waited for is not in that one's snapshot.
constexpr pg::Statement read_steps{"step_read", R"(
  SELECT saga_id, step, outcome, reason, detail
    FROM txc_saga_steps
   WHERE saga_id = ANY ($1::uuid[]) AND step = ANY ($2::text[]))"};

// What was claimed as done and is not: refused for good, or given back for another try.
constexpr pg::Statement correct_steps{"step_correct", R"(
  WITH refused AS (
    UPDATE txc_saga_steps s SET outcome = 'refused', reason = r.reason, detail = r.detail
      FROM unnest($2::uuid[], $3::text[], $4::text[]) AS r (saga_id, reason, detail)
     WHERE s.saga_id = r.saga_id AND s.step = $1
    RETURNING 1
  ), given_back AS (
    DELETE FROM txc_saga_steps WHERE saga_id = ANY ($5::uuid[]) AND step = $1
    RETURNING 1
  )
  SELECT (SELECT count(*) FROM refused), (SELECT count(*) FROM given_back))"};

// A compensation that found its work done by somebody else answers with the reason that stands
// there; asked again, with the same.
constexpr pg::Statement keep_reasons{"step_keep_reasons", R"(
  UPDATE txc_saga_steps s SET reason = r.reason
    FROM unnest($2::uuid[], $3::text[]) AS r (saga_id, reason)
   WHERE s.saga_id = r.saga_id AND s.step = $1)"};

constexpr pg::Statement trim_barriers{"step_trim", R"(
  DELETE FROM txc_saga_steps WHERE saga_id = ANY ($1::uuid[]))"};

Failure not_sent(FailureKind kind, std::string message) {
  return {kind, false, "", std::move(message)};
}

struct Barrier {
  std::string outcome, reason, detail;
};
using BarrierKey = std::pair<std::string, std::string>;  // saga id, step

// One batch, on the worker's thread.
struct StepWork {
  std::shared_ptr<const BranchLogic> logic;
  StepRequest request;
  PreliminaryPtr preliminary;
  protocol::Gid gid;
  // Set just before COMMIT can reach the server: before that, no failure is in doubt.
  std::shared_ptr<std::atomic<bool>> sent = std::make_shared<std::atomic<bool>>(false);

  // Nothing: its owner is fenced.
  std::optional<std::vector<StepReply>> operator()(pg::Session& session) {
    return with_lock_mode(request.lock_mode, [&](LockMode mode) { return run(session, mode); });
  }

 private:
  std::optional<std::vector<StepReply>> run(pg::Session& session, LockMode mode) {
    const auto work = [&] {
      *sent = false;
      std::vector<StepReply> replies(request.calls.size());
      const std::vector<std::size_t> fresh = claim(session, replies);
      if (!fresh.empty()) perform(session, fresh, replies, mode);
      *sent = true;
      return replies;
    };
    return fence_sql::transaction(session, fence_owner(gid), work, begin_bounded());
  }

  bool compensates() const { return !request.undoes.empty(); }

  // Claims every call's row, answers those that were answered before, and gives the others.
  std::vector<std::size_t> claim(pg::Session& session, std::vector<StepReply>& replies) {
    std::vector<std::string> ids, steps, outcomes, orders;
    for (const StepCall& call : request.calls) {
      ids.push_back(call.saga_id);
      steps.push_back(request.step);
      outcomes.emplace_back("done");
      orders.push_back(call.operation->order_id);
      if (!compensates()) continue;
      ids.push_back(call.saga_id);
      steps.push_back(request.undoes);
      outcomes.emplace_back("skipped");
      orders.push_back(call.operation->order_id);
    }
    std::set<BarrierKey> claimed;
    for (const pqxx::row& row : session.exec(claim_steps, ids, steps, outcomes, orders))
      claimed.emplace(row[0].as<std::string>(), row[1].as<std::string>());
    const std::map<BarrierKey, Barrier> standing =
        claimed.size() < ids.size() ? read(session, ids) : std::map<BarrierKey, Barrier>{};

    std::vector<std::size_t> fresh;
    for (std::size_t i = 0; i < request.calls.size(); ++i) {
      const BarrierKey own{request.calls[i].saga_id, request.step};
      if (!claimed.contains(own)) {
        replies[i] = answered(standing.at(own));
      } else if (nothing_to_undo(request.calls[i], claimed, standing)) {
        replies[i] = {};
      } else {
        fresh.push_back(i);
      }
    }
    return fresh;
  }

  std::map<BarrierKey, Barrier> read(pg::Session& session, const std::vector<std::string>& ids) {
    std::map<BarrierKey, Barrier> standing;
    const std::vector<std::string> steps{request.step, request.undoes};
    for (const pqxx::row& row : session.exec(read_steps, ids, steps)) {
      standing.emplace(
          BarrierKey{row[0].as<std::string>(), row[1].as<std::string>()},
          Barrier{row[2].as<std::string>(), row[3].as<std::string>(), row[4].as<std::string>()});
    }
    return standing;
  }

  static StepReply answered(const Barrier& barrier) {
    if (barrier.outcome == "done") return {StepStatus::done, barrier.reason, barrier.detail};
    if (barrier.outcome == "skipped") return {StepStatus::barred, {}, {}};
    return {StepStatus::refused, barrier.reason, barrier.detail};
  }

  // The step never came, or was refused. (An order that was never created is failed all the same:
  // a row is left that says why.)
  bool nothing_to_undo(const StepCall& call, const std::set<BarrierKey>& claimed,
                       const std::map<BarrierKey, Barrier>& standing) const {
    if (!compensates() || call.operation->kind == OperationKind::fail) return false;
    const BarrierKey undone{call.saga_id, request.undoes};
    return claimed.contains(undone) || standing.at(undone).outcome != "done";
  }

  void perform(pg::Session& session, const std::vector<std::size_t>& fresh,
               std::vector<StepReply>& replies, LockMode mode) {
    Operations operations;
    OperationMask candidates;
    for (const std::size_t i : fresh) {
      operations.push_back(request.calls[i].operation);
      candidates.push_back(request.calls[i].refuse_as.empty());
    }
    std::shared_ptr<const LockedRows> rows = logic->without_locks(operations);
    if (!rows) rows = logic->lock(session, operations, preliminary, mode);
    std::map<std::size_t, std::string> undone_for;  // by call: why, where its row says so
    for (std::size_t k = 0; k < fresh.size(); ++k) {
      if (!candidates[k] || !rows->undone_already(*operations[k])) continue;
      candidates[k] = false;
      std::string reason = rows->undone_for(*operations[k]);
      if (!reason.empty()) undone_for.emplace(fresh[k], std::move(reason));
    }
    // All of one transaction: what an earlier call of the batch takes, it has taken. So a refusal
    // that is not final (judgement.hpp) is as right as one that is.
    const protocol::Votes votes = rows->judge(operations, candidates);
    OperationMask survivors(operations.size());
    for (std::size_t k = 0; k < fresh.size(); ++k) {
      const StepCall& call = request.calls[fresh[k]];
      survivors[k] = candidates[k] && votes[k].answer == protocol::Answer::yes;
      replies[fresh[k]] = call.refuse_as.empty()
                              ? reply_to(votes[k])
                              : StepReply{StepStatus::refused, call.refuse_as, "a fault on demand"};
    }
    correct(session, fresh, replies);
    keep(session, undone_for, replies);
    if (std::find(survivors.begin(), survivors.end(), true) != survivors.end())
      logic->apply(session, operations, survivors, *rows, format(gid));
  }

  void keep(pg::Session& session, const std::map<std::size_t, std::string>& undone_for,
            std::vector<StepReply>& replies) {
    std::vector<std::string> ids, reasons;
    for (const auto& [i, reason] : undone_for) {
      if (reason == request.calls[i].operation->reason) continue;
      replies[i].reason = reason;
      ids.push_back(request.calls[i].saga_id);
      reasons.push_back(reason);
    }
    if (ids.empty()) return;
    const pqxx::result kept = session.exec(keep_reasons, request.step, ids, reasons);
    expect_rows(kept, ids.size(), keep_reasons.name);
  }

  static StepReply reply_to(const protocol::Vote& vote) {
    switch (vote.answer) {
      case protocol::Answer::yes: return {};
      case protocol::Answer::no: return {StepStatus::refused, vote.reason, vote.detail};
      case protocol::Answer::duplicate:  // the log's alone
      case protocol::Answer::retry: break;
    }
    return {StepStatus::retry, vote.reason, vote.detail};
  }

  void correct(pg::Session& session, const std::vector<std::size_t>& fresh,
               const std::vector<StepReply>& replies) {
    std::vector<std::string> refused, reasons, details, given_back;
    for (const std::size_t i : fresh) {
      const StepReply& reply = replies[i];
      if (reply.status == StepStatus::refused && !compensates() && !request.must_succeed) {
        refused.push_back(request.calls[i].saga_id);
        reasons.push_back(reply.reason);
        details.push_back(reply.detail);
      } else if (reply.status != StepStatus::done) {
        given_back.push_back(request.calls[i].saga_id);
      }
    }
    if (refused.empty() && given_back.empty()) return;
    const pqxx::result result =
        session.exec(correct_steps, request.step, refused, reasons, details, given_back);
    expect_count(result[0][0].as<std::size_t>(), refused.size(), correct_steps.name);
    expect_count(result[0][1].as<std::size_t>(), given_back.size(), correct_steps.name);
  }
};

// What the engine must never ask for; an answer to it would be about something else.
const char* misuse(const BranchLogic& logic, const StepRequest& request) {
  std::set<std::string_view> sagas;
  for (const StepCall& call : request.calls) {
    if (!logic.touches(*call.operation)) return "step: an operation that has no work here";
    if (call.operation->kind != request.calls.front().operation->kind)
      return "step: calls of different kinds";
    if (!sagas.insert(call.saga_id).second) return "step: a saga calls twice";
  }
  return nullptr;
}

}  // namespace

asio::awaitable<Result<std::vector<StepReply>>> PgParticipant::run_step(protocol::Gid gid,
                                                                        StepRequest request) {
  const auto start = steady_clock::now();
  const auto until = start + deadlines_.vote + deadlines_.prepare;
  if (request.calls.empty()) co_return std::vector<StepReply>{};
  if (const char* const wrong = misuse(*logic_, request))
    co_return not_sent(FailureKind::error, wrong);

  Operations operations;
  for (const StepCall& call : request.calls) {
    if (call.refuse_as.empty()) operations.push_back(call.operation);
  }
  auto preparation = logic_->before_vote(gid, std::move(operations), start + deadlines_.vote);
  auto preliminary = co_await std::move(preparation);
  if (!preliminary) co_return preliminary.failure();

  StepWork work;
  work.logic = logic_;
  work.request = std::move(request);
  work.preliminary = std::move(preliminary).value();
  work.gid = gid;
  const auto sent = work.sent;
  const auto left = left_until(until);
  auto running = pools_.branch->run(std::move(work), left);
  auto replies = co_await std::move(running);
  if (!replies) {
    Failure failure = replies.failure();
    // The work ended by itself and had not come to its COMMIT: certainly not done. After our own
    // deadline it may still be running, and what it sends may still commit.
    if (failure.kind != FailureKind::timeout && !*sent) failure.outcome_unknown = false;
    co_return failure;
  }
  if (!replies.value()) co_return fenced_out(fence_owner(gid));
  observe("step", start);
  co_return std::move(*replies.value());
}

asio::awaitable<Result<Done>> PgParticipant::trim_steps(std::vector<std::string> saga_ids,
                                                        std::optional<FenceOwner> owner) {
  // A row that comes back after a crash is trimmed again: its saga's barriers still stand.
  return run_fenced(
      *pools_.finish, std::move(owner),
      [ids = std::move(saga_ids)](pg::Session& session) { session.exec(trim_barriers, ids); });
}

}  // namespace txcoord
