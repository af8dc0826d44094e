// The transition function of group two-phase commit. Read two_phase.hpp first: it has the table.
#include "txcoord/protocol/two_phase.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace txcoord::protocol {
namespace {

// What was asked about a decided branch that this is an answer to: an answer to anything else
// (a heuristic outcome that nobody recorded) must not end the branch.
ActionKind question_of(EventKind answer) {
  switch (answer) {
    case EventKind::witness_found:
    case EventKind::witness_absent:
    case EventKind::witness_failed: return ActionKind::check_witness;
    case EventKind::decision_complete:
    case EventKind::decision_incomplete:
    case EventKind::decision_unread: return ActionKind::reread_decision;
    case EventKind::heuristic_recorded:
    case EventKind::heuristic_unrecorded: return ActionKind::record_heuristic;
    default: return ActionKind::commit;
  }
}

}  // namespace

TwoPhase::TwoPhase(GroupPlan plan)
    : plan_(std::move(plan)),
      judgement_(plan_.operations),
      participants_(plan_.participants.size()) {
  check(plan_);
}

Actions TwoPhase::step(const Event& event) {
  switch (event.kind) {
    case EventKind::start:
      expect(state_ == State::idle, event);
      state_ = State::voting;
      return next_stage();
    case EventKind::voted:
    case EventKind::judged: return on_voted(event);
    case EventKind::vote_failed:
    case EventKind::judge_failed: return on_vote_failed(event);
    case EventKind::prepared: return on_prepared(event);
    case EventKind::prepare_failed: return on_prepare_failed(event);
    case EventKind::decided:
    case EventKind::decide_failed:
    case EventKind::decide_unknown: return on_decide_answer(event);
    case EventKind::settled_commit:
    case EventKind::settled_abort:
    case EventKind::settle_failed: return on_settle_answer(event);
    case EventKind::committed:
    case EventKind::commit_failed:
    case EventKind::commit_not_found:
    case EventKind::witness_found:
    case EventKind::witness_absent:
    case EventKind::witness_failed:
    case EventKind::decision_complete:
    case EventKind::decision_incomplete:
    case EventKind::decision_unread:
    case EventKind::heuristic_recorded:
    case EventKind::heuristic_unrecorded: return on_commit_answer(event);
    case EventKind::rolled_back:
    case EventKind::rollback_failed:
    case EventKind::released: return on_rest(event);
  }
  throw std::logic_error("two_phase: unknown event");
}

// --- voting and judging ------------------------------------------------------------------------

Actions TwoPhase::next_stage() {
  Actions actions;
  const std::vector<bool> everything(plan_.operations, true);
  for (; stage_ < plan_.vote_stages.size(); ++stage_) {
    for (const ParticipantId id : plan_.vote_stages[stage_]) {
      if (id == log_voter) {
        actions.push_back({.kind = ActionKind::claim});
      } else if (!plan_.refuse_alone && touched_by(id, everything)) {
        actions.push_back({.kind = ActionKind::vote, .voter = id});
      } else {
        continue;
      }
      voter(id).branch = Branch::voting;
    }
    if (!actions.empty()) return actions;
  }
  return judge_round();
}

Actions TwoPhase::on_voted(const Event& event) {
  Voter& from = voter(event.voter);
  const Branch awaited = event.kind == EventKind::voted ? Branch::voting : Branch::judging;
  expect(from.branch == awaited && event.votes.size() == plan_.operations, event);
  from.branch = Branch::voted;
  from.votes = event.votes;
  if (state_ == State::aborting) {
    Actions actions;
    put_to_rest(event.voter, actions);
    return actions;
  }
  const auto busy = [awaited](const Voter& other) { return other.branch == awaited; };
  if (busy(log_) || any_participant(busy)) return {};
  if (state_ == State::judging) return judge_round();
  ++stage_;
  return next_stage();
}

Actions TwoPhase::on_vote_failed(const Event& event) {
  Voter& from = voter(event.voter);
  expect(from.branch == (event.kind == EventKind::vote_failed ? Branch::voting : Branch::judging),
         event);
  // A voter that fails closes its transaction itself: nothing is left to release.
  from.branch = Branch::ended;
  return state_ == State::aborting ? finish_if_at_rest() : enter_aborting(event.cause);
}

Actions TwoPhase::judge_round() {
  // The log comes first: where it refuses too (a duplicate), the stored answer is the answer.
  std::vector<Votes> votes{log_.votes};
  for (const Voter& participant : participants_)
    if (participant.branch == Branch::voted) votes.push_back(participant.votes);
  if (plan_.refuse_alone)
    votes.push_back(
        Votes(plan_.operations, {Answer::no, true, plan_.refuse_reason, plan_.refuse_detail}));

  if (judgement_.round(votes)) {
    if (any_verdict(Fate::confirmed)) return enter_preparing();
    return any_verdict(Fate::refused) ? enter_refusing() : enter_aborting(AbortCause::none);
  }
  state_ = State::judging;
  Actions actions;
  for (std::size_t i = 0; i < participants_.size(); ++i) {
    if (participants_[i].branch != Branch::voted) continue;
    participants_[i].branch = Branch::judging;
    actions.push_back(
        {ActionKind::judge, static_cast<ParticipantId>(i), 0, judgement_.candidates()});
  }
  return actions;
}

// --- preparing ---------------------------------------------------------------------------------

Actions TwoPhase::enter_preparing() {
  state_ = State::preparing;
  Actions actions;
  const std::vector<bool> chosen = survivors();
  for (std::size_t i = 0; i < participants_.size(); ++i) {
    if (participants_[i].branch != Branch::voted) continue;
    const auto id = static_cast<ParticipantId>(i);
    if (touched_by(id, chosen)) {
      participants_[i].branch = Branch::preparing;
      actions.push_back({ActionKind::prepare, id, 0, chosen});
    } else {
      put_to_rest(id, actions);
    }
  }
  return actions;
}

Actions TwoPhase::on_prepared(const Event& event) {
  Voter& from = voter(event.voter);
  expect(from.branch == Branch::preparing, event);
  from.branch = Branch::prepared;
  if (state_ == State::aborting) {
    Actions actions;
    put_to_rest(event.voter, actions);
    return actions;
  }
  if (any_participant([](const Voter& other) { return other.branch == Branch::preparing; }))
    return {};
  state_ = State::deciding;
  log_.branch = Branch::committing;
  return {{.kind = ActionKind::decide}};
}

Actions TwoPhase::on_prepare_failed(const Event& event) {
  Voter& from = voter(event.voter);
  expect(from.branch == Branch::preparing, event);
  from.branch = event.unanswered ? Branch::unanswered : Branch::ended;
  return state_ == State::aborting ? finish_if_at_rest() : enter_aborting(event.cause);
}

// --- deciding ----------------------------------------------------------------------------------

Actions TwoPhase::enter_refusing() {
  state_ = State::refusing;
  Actions actions;
  for (std::size_t i = 0; i < participants_.size(); ++i)
    put_to_rest(static_cast<ParticipantId>(i), actions);
  log_.branch = Branch::committing;
  actions.push_back({.kind = ActionKind::record_refusals});
  return actions;
}

Actions TwoPhase::on_decide_answer(const Event& event) {
  expect(
      (state_ == State::deciding || state_ == State::refusing) && log_.branch == Branch::committing,
      event);
  log_.branch = Branch::ended;
  if (event.kind == EventKind::decide_failed) return enter_aborting(event.cause);
  if (state_ == State::refusing) {
    // A refusal whose acknowledgement was lost is answered 503: sent again under the same key, it
    // is found refused, or judged anew. Either is the first answer this client gets (I10).
    if (event.kind == EventKind::decide_unknown) return enter_aborting(AbortCause::unavailable);
    Actions actions;
    reply_once(actions);
    Actions rest = finish_if_at_rest();
    actions.insert(actions.end(), rest.begin(), rest.end());
    return actions;
  }
  if (event.kind == EventKind::decided) return enter_committing(DurableDecision(event.kind));
  // I3: absence is not abort; the old backend's COMMIT may still land.
  state_ = State::settling;
  return {{.kind = ActionKind::settle, .attempt = settle_attempts_++}};
}

Actions TwoPhase::on_settle_answer(const Event& event) {
  expect(state_ == State::settling || state_ == State::burying, event);
  if (event.kind == EventKind::settle_failed)
    return {{.kind = ActionKind::settle, .attempt = settle_attempts_++}};
  if (state_ == State::settling) {
    if (event.kind == EventKind::settled_commit)
      return enter_committing(DurableDecision(event.kind));
    return enter_aborting(AbortCause::unavailable);
  }
  // Burying: no decide was sent, or its absence is proven, so a commit here is a broken log.
  expect(event.kind == EventKind::settled_abort, event);
  Actions actions;
  for (std::size_t i = 0; i < participants_.size(); ++i)
    if (participants_[i].branch == Branch::unanswered)
      actions.push_back({.kind = ActionKind::sweep, .voter = static_cast<ParticipantId>(i)});
  resubmit(actions);
  actions.push_back({.kind = ActionKind::finish});
  state_ = State::done;
  return actions;
}

// --- committing --------------------------------------------------------------------------------

// I4: the one place where commit actions are made; a DurableDecision exists only after the event
// that proves the decision durable.
Actions TwoPhase::enter_committing([[maybe_unused]] DurableDecision proof) {
  state_ = State::committing;
  decided_ = true;
  Actions actions;
  for (const ParticipantId id : plan_.commit_order) {
    if (voter(id).branch != Branch::prepared) continue;
    voter(id).branch = Branch::committing;
    actions.push_back({.kind = ActionKind::commit, .voter = id});
  }
  reply_once(actions);
  return actions;
}

Actions TwoPhase::on_commit_answer(const Event& event) {
  Voter& from = voter(event.voter);
  expect(state_ == State::committing && from.branch == Branch::committing, event);
  expect(from.asked == question_of(event.kind), event);
  const auto next = [&](ActionKind kind, bool again) -> Actions {
    from.asked = kind;
    return {
        {.kind = kind, .voter = event.voter, .attempt = again ? ++from.attempts : from.attempts}};
  };
  switch (event.kind) {
    case EventKind::committed:
    case EventKind::witness_found:
    case EventKind::decision_complete: from.branch = Branch::committed; return finish_if_at_rest();
    case EventKind::commit_failed: return next(ActionKind::commit, true);
    case EventKind::commit_not_found: return next(ActionKind::check_witness, false);
    case EventKind::witness_failed: return next(ActionKind::check_witness, true);
    // No witness may also mean: completed by somebody else, and forgotten. The decision tells.
    case EventKind::witness_absent: return next(ActionKind::reread_decision, false);
    case EventKind::decision_unread: return next(ActionKind::reread_decision, true);
    case EventKind::decision_incomplete: return next(ActionKind::record_heuristic, false);
    case EventKind::heuristic_unrecorded: return next(ActionKind::record_heuristic, true);
    default: from.branch = Branch::heuristic; return finish_if_at_rest();
  }
}

// --- aborting and coming to rest ---------------------------------------------------------------

Actions TwoPhase::enter_aborting(AbortCause cause) {
  state_ = State::aborting;
  cause_ = cause;
  Actions actions;
  // No decide is outstanding, so nothing can become durable any more: the answer may leave now.
  if (!will_resubmit()) reply_once(actions);
  put_to_rest(log_voter, actions);
  for (std::size_t i = 0; i < participants_.size(); ++i)
    put_to_rest(static_cast<ParticipantId>(i), actions);
  Actions rest = finish_if_at_rest();
  actions.insert(actions.end(), rest.begin(), rest.end());
  return actions;
}

void TwoPhase::put_to_rest(ParticipantId id, Actions& actions) {
  Voter& owner = voter(id);
  if (owner.branch == Branch::voted) {
    owner.branch = Branch::releasing;
    actions.push_back({.kind = ActionKind::release, .voter = id});
  } else if (owner.branch == Branch::prepared) {
    owner.branch = Branch::rolling_back;
    actions.push_back({.kind = ActionKind::rollback, .voter = id});
  }
}

Actions TwoPhase::on_rest(const Event& event) {
  Voter& from = voter(event.voter);
  const Branch awaited =
      event.kind == EventKind::released ? Branch::releasing : Branch::rolling_back;
  expect(from.branch == awaited, event);
  from.branch = event.kind == EventKind::rollback_failed ? Branch::unanswered : Branch::ended;
  return finish_if_at_rest();
}

Actions TwoPhase::finish_if_at_rest() {
  const auto at_rest = [](const Voter& owner) {
    return owner.branch == Branch::untouched || owner.branch == Branch::committed ||
           owner.branch == Branch::heuristic || owner.branch == Branch::ended ||
           owner.branch == Branch::unanswered;
  };
  if (state_ != State::committing && state_ != State::refusing && state_ != State::aborting)
    return {};
  if (!at_rest(log_) || any_participant([&](const Voter& owner) { return !at_rest(owner); }))
    return {};

  const auto is = [](Branch branch) {
    return [branch](const Voter& owner) { return owner.branch == branch; };
  };
  Actions actions;
  if (state_ == State::committing) {
    if (!any_participant(is(Branch::heuristic)))
      actions = {{.kind = ActionKind::applied}, {.kind = ActionKind::complete}};
  } else if (any_participant(is(Branch::unanswered))) {
    state_ = State::burying;
    return {{.kind = ActionKind::settle, .attempt = settle_attempts_++}};
  } else {
    resubmit(actions);
  }
  actions.push_back({.kind = ActionKind::finish});
  state_ = State::done;
  return actions;
}

void TwoPhase::reply_once(Actions& actions) {
  if (std::exchange(reply_sent_, true)) return;
  actions.push_back({.kind = ActionKind::reply});
}

bool TwoPhase::will_resubmit() const {
  if (cause_ == AbortCause::poison) return !plan_.refuse_alone;
  const bool company = plan_.operations > 1;
  if (cause_ == AbortCause::statement) return company;
  if (cause_ == AbortCause::lock_timeout && company) return true;
  if (cause_ == AbortCause::deadlock || cause_ == AbortCause::lock_timeout)
    return plan_.conflict_retries_left > 0;
  return false;
}

void TwoPhase::resubmit(Actions& actions) const {
  if (!will_resubmit()) return;
  const bool alone = plan_.operations == 1;
  const bool one_of_them = cause_ == AbortCause::poison || cause_ == AbortCause::statement ||
                           cause_ == AbortCause::lock_timeout;
  if (one_of_them && !alone) {
    actions.push_back({.kind = ActionKind::resubmit_halves});
  } else if (cause_ == AbortCause::poison) {
    actions.push_back({.kind = ActionKind::resubmit_refused});
  } else {
    actions.push_back({.kind = ActionKind::resubmit_whole});
  }
}

// --- small things ------------------------------------------------------------------------------

TwoPhase::Voter& TwoPhase::voter(ParticipantId id) {
  if (id == log_voter) return log_;
  return participants_.at(id);
}

void TwoPhase::expect(bool possible, const Event& event) const {
  if (possible) return;
  throw std::logic_error("two_phase: " + std::string(to_string(event.kind)) + " in state " +
                         std::string(to_string(state_)));
}

bool TwoPhase::touched_by(ParticipantId id, const std::vector<bool>& operations) const {
  const auto& touches = plan_.touches.at(id);
  for (std::size_t i = 0; i < operations.size(); ++i)
    if (operations[i] && touches[i]) return true;
  return false;
}

std::vector<bool> TwoPhase::survivors() const {
  std::vector<bool> chosen(plan_.operations);
  for (std::size_t i = 0; i < plan_.operations; ++i)
    chosen[i] = verdicts()[i].fate == Fate::confirmed;
  return chosen;
}

bool TwoPhase::any_verdict(Fate fate) const {
  return std::ranges::any_of(verdicts(),
                             [fate](const Verdict& verdict) { return verdict.fate == fate; });
}

template <class Predicate>
bool TwoPhase::any_participant(Predicate predicate) const {
  return std::ranges::any_of(participants_, predicate);
}

std::vector<ParticipantId> TwoPhase::branches() const {
  std::vector<ParticipantId> ids;
  for (std::size_t i = 0; i < participants_.size(); ++i) {
    const Branch branch = participants_[i].branch;
    if (branch == Branch::preparing || branch == Branch::prepared || branch == Branch::committing ||
        branch == Branch::committed || branch == Branch::heuristic)
      ids.push_back(static_cast<ParticipantId>(i));
  }
  return ids;
}

std::vector<ParticipantId> TwoPhase::waiting_for() const {
  std::vector<ParticipantId> ids;
  for (std::size_t i = 0; i < participants_.size(); ++i)
    if (participants_[i].branch == Branch::committing) ids.push_back(static_cast<ParticipantId>(i));
  return ids;
}

}  // namespace txcoord::protocol
