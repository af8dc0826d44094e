// The loop around TwoPhase: deliver → step → perform. The actions' I/O is in driver_actions.cpp.
#include "txcoord/engine/driver.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <exception>

#include "txcoord/base/halves.hpp"
#include "txcoord/base/logging.hpp"
#include "txcoord/base/time.hpp"

namespace txcoord::engine {

using protocol::ActionKind;
using protocol::EventKind;
using protocol::State;

Driver::Driver(asio::any_io_executor io, std::vector<Participant*> participants,
               TransactionLog& log, Health& health, CrashPoints& crash, Metrics& metrics,
               std::chrono::milliseconds vote_max, DriverHooks hooks)
    : io_(std::move(io)),
      participants_(std::move(participants)),
      log_(log),
      health_(health),
      crash_(crash),
      metrics_(metrics),
      vote_max_(vote_max),
      hooks_(std::move(hooks)),
      own_rows_(io_) {}

void Driver::start(const GroupPtr& group) {
  group->started_at = now_utc();
  group->phase_started_at = std::chrono::steady_clock::now();
  crash_.reach("vote.before");
  deliver(group, {.kind = EventKind::start});
}

void Driver::deliver(const GroupPtr& group, Event event) {
  group->feed.deliver(std::move(event), [&](const Event& next) { step(group, next); });
}

void Driver::step(const GroupPtr& group, const Event& event) {
  const State before = group->core.state();
  const protocol::Actions actions = group->core.step(event);
  follow_rows(*group, event);
  observe(group, before, event);
  for (const Action& action : actions) perform(group, action);
}

// Whose branch has ended where, or waits for its database: the next group need not wait for it.
void Driver::follow_rows(const Group& group, const Event& event) {
  if (event.voter == protocol::log_voter) return;
  const auto name = participant(event.voter).name();
  switch (event.kind) {
    case EventKind::commit_failed:
    case EventKind::commit_not_found: return own_rows_.stuck(group.gid, name);
    case EventKind::vote_failed:
    case EventKind::judge_failed:
    case EventKind::prepare_failed:
    case EventKind::committed:
    case EventKind::witness_found:
    case EventKind::decision_complete:
    case EventKind::heuristic_recorded:
    case EventKind::rolled_back:
    case EventKind::rollback_failed:
    case EventKind::released: return own_rows_.ended(group.gid, name);
    default: return;
  }
}

// What is measured and told when a state is left; crash points between steps.
void Driver::observe(const GroupPtr& group, State before, const Event& event) {
  const State now = group->core.state();
  switch (event.kind) {
    case EventKind::prepared:
      crash_.reach("prepare", participant(event.voter).name(), "after");
      break;
    case EventKind::committed:
      crash_.reach("commit", participant(event.voter).name(), "after");
      break;
    case EventKind::rolled_back: crash_.reach("rollback.after"); break;
    default: break;
  }
  const bool gate_done = now != State::voting && now != State::judging;
  if (gate_done && std::exchange(group->holds_gate, false)) hooks_.gate_open(group);
  // A commit that must be tried again waits for a database: the lane does not wait with it.
  const bool waits =
      event.kind == EventKind::commit_failed || now == State::burying || now == State::settling;
  if ((now == State::done || waits) && std::exchange(group->holds_lane, false))
    hooks_.lane_free(group);
  if (now == before) return;

  const auto time = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(time - group->phase_started_at).count();
  group->phase_started_at = time;
  switch (before) {
    case State::voting:
    case State::judging: metrics_.phase("2pc", "vote", seconds); break;
    case State::preparing: metrics_.phase("2pc", "prepare", seconds); break;
    case State::deciding:
    case State::refusing:
    case State::settling: metrics_.phase("2pc", "decide", seconds); break;
    case State::committing: metrics_.phase("2pc", "commit", seconds); break;
    case State::aborting:
    case State::burying: metrics_.phase("2pc", "abort", seconds); break;
    case State::idle:
    case State::done: break;
  }
  if (before == State::voting && now == State::preparing) crash_.reach("vote.after");
  if (now == State::deciding) crash_.reach("prepare.after");
  if (now == State::committing) crash_.reach("decide.after");
  if (now == State::done && before == State::committing) crash_.reach("commit.after");
  if (now == State::aborting && before != State::aborting &&
      group->core.cause() != protocol::AbortCause::none) {
    crash_.reach("abort.before");
    const auto cause = to_string(group->core.cause());
    metrics_.abort("2pc", cause == "poison" ? "error" : cause);
    if (group->core.cause() == protocol::AbortCause::deadlock) metrics_.deadlock();
    logging::warn(
        "group aborted",
        {{"gid", std::string_view(group->text)}, {"phase", to_string(before)}, {"cause", cause}});
  }
}

void Driver::perform(const GroupPtr& group, const Action& action) {
  switch (action.kind) {
    case ActionKind::claim: return spawn(claim(group));
    case ActionKind::vote: return spawn(vote(group, action.voter));
    case ActionKind::judge: return spawn(judge(group, action));
    case ActionKind::prepare: return spawn(prepare(group, action));
    case ActionKind::decide: return spawn(decide(group, true));
    case ActionKind::record_refusals: return spawn(decide(group, false));
    case ActionKind::settle: return spawn(settle(group, action.attempt));
    case ActionKind::commit: return spawn(commit(group, action));
    case ActionKind::check_witness: return spawn(check_witness(group, action));
    case ActionKind::reread_decision: return spawn(reread_decision(group, action));
    case ActionKind::record_heuristic: return spawn(record_heuristic(group, action));
    case ActionKind::rollback: return spawn(rollback(group, action.voter));
    case ActionKind::release: return spawn(release(group, action.voter));
    case ActionKind::reply:
      crash_.reach("reply.before");
      hooks_.reply(group);
      crash_.reach("reply.after");
      return;
    case ActionKind::applied: return hooks_.applied(group);
    case ActionKind::complete: return hooks_.complete(group);
    case ActionKind::sweep: return hooks_.sweep(participant(action.voter).name());
    case ActionKind::resubmit_whole:
    case ActionKind::resubmit_halves:
    case ActionKind::resubmit_refused: return resubmit(group, action.kind);
    case ActionKind::finish: own_rows_.forget(group->gid); return hooks_.finished(group);
  }
}

void Driver::resubmit(const GroupPtr& group, ActionKind how) {
  group->resubmitted = true;
  metrics_.retry(to_string(group->core.cause()));
  GroupRequest again = group->request;
  if (how == ActionKind::resubmit_whole) {
    --again.conflict_retries_left;
    // Two groups that met once shall not meet again in step.
    const auto wait = std::uniform_int_distribution<int>(1, 20)(jitter_);
    again.not_before = std::chrono::steady_clock::now() + std::chrono::milliseconds(wait);
    return hooks_.resubmit(std::move(again));
  }
  if (how == ActionKind::resubmit_refused) {
    again.refuse_alone = true;
    return hooks_.resubmit(std::move(again));
  }
  auto [first, rest] = halves(std::move(again.members));
  GroupRequest second = again;
  again.members = std::move(first);
  second.members = std::move(rest);
  hooks_.resubmit(std::move(again));
  hooks_.resubmit(std::move(second));
}

// An exception here is a defect, or memory is gone. Stopping is the safe answer: what is not
// decided is presumed aborted, and the next start recovers the rest.
void Driver::spawn(asio::awaitable<void> work) {
  asio::co_spawn(io_, std::move(work), [](const std::exception_ptr& error) {
    if (error) logging::stop_on_defect("defect in the commit protocol: stopping", error);
  });
}

DecisionRecord Driver::record_of(const Group& group, bool commit) const {
  DecisionRecord record;
  record.commit = commit;
  for (const auto id : group.core.branches())
    record.participants.push_back(group.core.plan().participants[id]);
  const auto& verdicts = group.core.verdicts();
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    if (verdicts[i].fate == protocol::Fate::confirmed) record.confirmed.push_back(i);
    if (verdicts[i].fate == protocol::Fate::refused)
      record.refused.push_back({i, verdicts[i].reason, verdicts[i].detail});
  }
  return record;
}

}  // namespace txcoord::engine
