// The driver's actions: one call to a participant or the log each, and the event it becomes.
// g++ 12: awaitables are named before co_await, so that no temporary lives across a suspension.
#include <boost/asio/steady_timer.hpp>

#include "txcoord/base/logging.hpp"
#include "txcoord/engine/driver.hpp"
#include "txcoord/engine/words.hpp"

namespace txcoord::engine {
namespace {

using protocol::AbortCause;
using protocol::Event;
using protocol::EventKind;
using protocol::ParticipantId;

AbortCause cause_of(const Failure& failure) {
  switch (failure.kind) {
    case FailureKind::unavailable: return AbortCause::unavailable;
    // Our own deadline has no SQLSTATE: the database was silent.
    case FailureKind::timeout:
      return failure.sqlstate.empty() ? AbortCause::timeout : AbortCause::statement;
    case FailureKind::deadlock: return AbortCause::deadlock;
    case FailureKind::lock_timeout: return AbortCause::lock_timeout;
    case FailureKind::poison: return AbortCause::poison;
    case FailureKind::fenced: return AbortCause::fenced;
    case FailureKind::unreadable: return AbortCause::statement;
    case FailureKind::not_found:
    case FailureKind::busy:
    case FailureKind::error:
      return failure.sqlstate.empty() ? AbortCause::error : AbortCause::statement;
  }
  return AbortCause::error;
}

Event failed(EventKind kind, ParticipantId voter, const Failure& failure) {
  Event event;
  event.kind = kind;
  event.voter = voter;
  event.cause = cause_of(failure);
  event.unanswered = failure.outcome_unknown;
  return event;
}

Event plain(EventKind kind, ParticipantId voter = protocol::log_voter) {
  Event event;
  event.kind = kind;
  event.voter = voter;
  return event;
}

LogOwner owner_of(const Group& group) { return {group.gid.coordinator, group.gid.epoch}; }

void log_failure(const Group& group, std::string_view participant, std::string_view phase,
                 const Failure& failure) {
  logging::warn("step failed", {{"gid", std::string_view(group.text)},
                                {"participant", participant},
                                {"phase", phase},
                                {"failure", to_string(failure.kind)},
                                {"sqlstate", std::string_view(failure.sqlstate)},
                                {"outcome_unknown", failure.outcome_unknown},
                                {"error", std::string_view(failure.message)}});
}

}  // namespace

asio::awaitable<void> Driver::claim(GroupPtr group) {
  auto work = log_.claim(group->gid, group->operations);
  auto reply = co_await std::move(work);
  if (!reply) {
    health_.failed(log_name, reply.failure(), group->operations.size());
    log_failure(*group, log_name, "claim", reply.failure());
    deliver(group, failed(EventKind::vote_failed, protocol::log_voter, reply.failure()));
    co_return;
  }
  group->stored = std::move(reply.value().stored);
  Event event = plain(EventKind::voted);
  event.votes = std::move(reply.value().votes);
  deliver(group, std::move(event));
}

asio::awaitable<void> Driver::vote(GroupPtr group, ParticipantId id) {
  const auto name = participant(id).name();
  own_rows_.take(group->gid, name, group->request.members);
  const SteadyTime until = std::chrono::steady_clock::now() + vote_max_;
  auto waiting = own_rows_.wait(group->gid, std::string(name), until);
  co_await std::move(waiting);
  auto work = participant(id).vote(group->gid, group->operations, group->request.lock_mode);
  auto reply = co_await std::move(work);
  if (!reply) {
    health_.failed(name, reply.failure(), group->operations.size());
    log_failure(*group, name, "vote", reply.failure());
    deliver(group, failed(EventKind::vote_failed, id, reply.failure()));
    co_return;
  }
  Event event = plain(EventKind::voted, id);
  event.votes = std::move(reply.value());
  clean(event.votes);
  deliver(group, std::move(event));
}

asio::awaitable<void> Driver::judge(GroupPtr group, Action action) {
  crash_.reach("judge.before");
  auto work = participant(action.voter).judge(group->gid, action.operations);
  auto reply = co_await std::move(work);
  if (!reply) {
    log_failure(*group, participant(action.voter).name(), "judge", reply.failure());
    deliver(group, failed(EventKind::judge_failed, action.voter, reply.failure()));
    co_return;
  }
  Event event = plain(EventKind::judged, action.voter);
  event.votes = std::move(reply.value());
  clean(event.votes);
  deliver(group, std::move(event));
}

asio::awaitable<void> Driver::prepare(GroupPtr group, Action action) {
  crash_.reach("prepare.before");
  const auto name = participant(action.voter).name();
  auto work = participant(action.voter).prepare(group->gid, action.operations);
  auto reply = co_await std::move(work);
  if (!reply) {
    health_.failed(name, reply.failure(), group->operations.size());
    log_failure(*group, name, "prepare", reply.failure());
    deliver(group, failed(EventKind::prepare_failed, action.voter, reply.failure()));
    co_return;
  }
  deliver(group, plain(EventKind::prepared, action.voter));
}

asio::awaitable<void> Driver::decide(GroupPtr group, bool commit) {
  crash_.reach(commit ? "decide.before" : "refuse.before");
  DecisionRecord record = record_of(*group, commit);
  auto work = log_.decide(group->gid, std::move(record));
  auto reply = co_await std::move(work);
  if (reply) {
    if (!commit) crash_.reach("refuse.after");
    deliver(group, plain(EventKind::decided));
    co_return;
  }
  const Failure& failure = reply.failure();
  health_.failed(log_name, failure, failure.outcome_unknown ? 0 : group->operations.size());
  log_failure(*group, log_name, "decide", failure);
  if (failure.kind == FailureKind::fenced)
    hooks_.fenced("a decision was refused: the epoch was raised");
  // Only what the server refused is certainly not committed.
  if (failure.outcome_unknown) {
    deliver(group, plain(EventKind::decide_unknown));
  } else {
    deliver(group, failed(EventKind::decide_failed, protocol::log_voter, failure));
  }
}

asio::awaitable<void> Driver::settle(GroupPtr group, std::uint32_t attempt) {
  crash_.reach("settle.before");
  auto pause = pause_before(attempt);
  co_await std::move(pause);
  auto work = log_.settle(owner_of(*group), group->gid);
  auto reply = co_await std::move(work);
  if (!reply) {
    health_.failed(log_name, reply.failure());
    log_failure(*group, log_name, "settle", reply.failure());
    if (reply.failure().kind == FailureKind::fenced) {
      // Whoever took over may have found it committed, completed and trimmed it. The outcome stays
      // unknown here, so its clients are told nothing else, and nobody asks again.
      hooks_.fenced("an outcome could not be settled: the epoch was raised");
      co_return;
    }
    deliver(group, plain(EventKind::settle_failed));
    co_return;
  }
  crash_.reach("settle.after");
  const bool commit = reply.value() == DecisionOutcome::commit;
  deliver(group, plain(commit ? EventKind::settled_commit : EventKind::settled_abort));
}

asio::awaitable<void> Driver::commit(GroupPtr group, Action action) {
  const auto name = participant(action.voter).name();
  if (action.attempt == 0) crash_.reach("commit", name, "before");
  auto pause = pause_before(action.attempt);
  co_await std::move(pause);
  auto work = participant(action.voter).commit_prepared(group->gid);
  auto reply = co_await std::move(work);
  if (reply) {
    deliver(group, plain(EventKind::committed, action.voter));
    co_return;
  }
  const Failure& failure = reply.failure();
  if (failure.kind == FailureKind::not_found) {
    deliver(group, plain(EventKind::commit_not_found, action.voter));
    co_return;
  }
  // "busy" (55000) proves nothing either: somebody may be finishing it, or may die doing so.
  health_.failed(name, failure);
  metrics_.retry(to_string(failure.kind));
  if (action.attempt < 3) log_failure(*group, name, "commit", failure);
  deliver(group, failed(EventKind::commit_failed, action.voter, failure));
}

asio::awaitable<void> Driver::check_witness(GroupPtr group, Action action) {
  auto pause = pause_before(action.attempt);
  co_await std::move(pause);
  auto work = participant(action.voter).has_witness(group->gid);
  auto reply = co_await std::move(work);
  if (!reply) {
    health_.failed(participant(action.voter).name(), reply.failure());
    deliver(group, plain(EventKind::witness_failed, action.voter));
    co_return;
  }
  deliver(group, plain(reply.value() ? EventKind::witness_found : EventKind::witness_absent,
                       action.voter));
}

asio::awaitable<void> Driver::reread_decision(GroupPtr group, Action action) {
  auto pause = pause_before(action.attempt);
  co_await std::move(pause);
  auto judging = judge_missing_branch(group);
  const auto found = co_await std::move(judging);
  if (!found) {
    health_.failed(log_name, found.failure());
    // Whoever took this process over speaks for the group now.
    if (found.failure().kind == FailureKind::fenced)
      hooks_.fenced("a decision that the log lost was not written again: the epoch was raised");
    deliver(group, plain(EventKind::decision_unread, action.voter));
    co_return;
  }
  const bool committed = found.value() == protocol::MissingBranch::committed;
  deliver(group, plain(committed ? EventKind::decision_complete : EventKind::decision_incomplete,
                       action.voter));
}

asio::awaitable<Result<protocol::MissingBranch>> Driver::judge_missing_branch(GroupPtr group) {
  std::vector<protocol::Gid> gids{group->gid};
  auto reading = log_.decisions(std::move(gids));
  const auto found = co_await std::move(reading);
  if (!found) co_return found.failure();
  if (found.value().empty()) {
    auto judging = judge_missing_row(group);
    co_return co_await std::move(judging);
  }
  const Decision& decision = found.value().front();
  const auto outcome = decision.outcome == DecisionOutcome::commit ? protocol::Outcome::commit
                                                                   : protocol::Outcome::abort;
  co_return protocol::judge_missing_branch(protocol::DecisionNow{outcome, decision.complete}, false,
                                           false);
}

// Rule 12 of recovery_plan.hpp. What is found lost is written again first: the outcome was commit,
// and a heuristic one is shown with its decision.
asio::awaitable<Result<protocol::MissingBranch>> Driver::judge_missing_row(GroupPtr group) {
  auto read_epochs = log_.coordinators();
  const auto epochs = co_await std::move(read_epochs);
  if (!epochs) co_return epochs.failure();
  auto read_log = log_.identity();
  const auto log = co_await std::move(read_log);
  if (!log) co_return log.failure();
  const auto owner = epochs.value().find(group->gid.coordinator);
  const bool fenced = owner != epochs.value().end() && group->gid.epoch < owner->second.epoch;
  const protocol::LogPoint now{log.value().system_identifier, log.value().timeline,
                               log.value().lsn};
  // An owner that never saw the log cannot tell that it stayed the same.
  const bool may_lack =
      group->log_at_start.system_identifier.empty() ||
      protocol::may_lack_decisions(protocol::log_change(group->log_at_start, now));
  const auto judged = protocol::judge_missing_branch(std::nullopt, fenced, may_lack);
  if (judged == protocol::MissingBranch::committed) co_return judged;
  logging::error("the log has lost a decision",
                 {{"gid", std::string_view(group->text)}, {"log_changed", may_lack}});
  DecisionRecord record = record_of(*group, true);
  std::vector<std::string> order_ids;
  order_ids.reserve(record.confirmed.size());
  for (const auto index : record.confirmed) order_ids.push_back(group->operations[index]->order_id);
  auto writing = log_.write_decision_again(owner_of(*group), group->gid, record.participants,
                                           std::move(order_ids));
  const auto written = co_await std::move(writing);
  if (!written) co_return written.failure();
  co_return judged;
}

asio::awaitable<void> Driver::record_heuristic(GroupPtr group, Action action) {
  auto pause = pause_before(action.attempt);
  co_await std::move(pause);
  std::string name(participant(action.voter).name());
  std::string detail =
      "decided commit; no prepared transaction, no witness: the prepared state was lost, or rolled "
      "back by somebody who did not know the decision";
  auto work = log_.record_heuristic(owner_of(*group), group->gid, name, detail);
  auto reply = co_await std::move(work);
  if (!reply) {
    health_.failed(log_name, reply.failure());
    deliver(group, plain(EventKind::heuristic_unrecorded, action.voter));
    co_return;
  }
  metrics_.heuristic_outcome();
  metrics_.recovery_action("heuristic");
  logging::error("heuristic outcome: a decided branch was lost",
                 {{"gid", std::string_view(group->text)}, {"participant", std::string_view(name)}});
  deliver(group, plain(EventKind::heuristic_recorded, action.voter));
}

asio::awaitable<void> Driver::rollback(GroupPtr group, ParticipantId id) {
  const auto name = participant(id).name();
  auto work = participant(id).rollback_prepared(group->gid);
  auto reply = co_await std::move(work);
  if (reply) {
    deliver(group, plain(EventKind::rolled_back, id));
    co_return;
  }
  // Its PREPARE was answered, so "does not exist" here means that somebody else ended it.
  if (reply.failure().kind == FailureKind::not_found) {
    auto showing = show_if_committed(group, id);
    const bool at_rest = co_await std::move(showing);
    deliver(group, plain(at_rest ? EventKind::rolled_back : EventKind::rollback_failed, id));
    co_return;
  }
  health_.failed(name, reply.failure());
  log_failure(*group, name, "rollback", reply.failure());
  deliver(group, plain(EventKind::rollback_failed, id));
}

// A group that is aborting, and a branch that somebody else ended: rolled back, or committed by
// hand? The latter is a heuristic outcome, shown beside the tombstone that it contradicts. False:
// it could not be told, or not be recorded.
asio::awaitable<bool> Driver::show_if_committed(GroupPtr group, ParticipantId id) {
  std::string name(participant(id).name());
  auto looking = participant(id).has_witness(group->gid);
  const auto witness = co_await std::move(looking);
  if (!witness) {
    health_.failed(name, witness.failure());
    co_return false;
  }
  if (!witness.value()) co_return true;
  auto burying = log_.settle(owner_of(*group), group->gid);
  const auto outcome = co_await std::move(burying);
  if (!outcome || outcome.value() != DecisionOutcome::abort) co_return false;
  auto recording = log_.record_heuristic(owner_of(*group), group->gid, name,
                                         "committed by somebody else, while the log says abort");
  const auto recorded = co_await std::move(recording);
  if (!recorded) co_return false;
  metrics_.heuristic_outcome();
  metrics_.recovery_action("heuristic");
  logging::error("heuristic outcome: a branch is committed, while the log says abort",
                 {{"gid", std::string_view(group->text)}, {"participant", std::string_view(name)}});
  co_return true;
}

asio::awaitable<void> Driver::release(GroupPtr group, ParticipantId id) {
  auto work =
      id == protocol::log_voter ? log_.release(group->gid) : participant(id).release(group->gid);
  co_await std::move(work);
  deliver(group, plain(EventKind::released, id));
}

asio::awaitable<void> Driver::pause_before(std::uint32_t attempt) {
  if (attempt == 0) co_return;
  asio::steady_timer timer(io_);
  auto sleeping = sleep(timer, jittered(backoff(attempt), jitter_));
  co_await std::move(sleeping);
}

}  // namespace txcoord::engine
