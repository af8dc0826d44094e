// Actions of the machine become requests, what becomes of requests becomes events.
#include "tests/sim/coordinator.hpp"

#include <algorithm>
#include <stdexcept>

namespace txcoord::sim {

using protocol::AbortCause;
using protocol::Action;
using protocol::ActionKind;
using protocol::Event;
using protocol::EventKind;
using protocol::Fate;

std::string to_string(Fault fault) {
  static const char* const names[] = {"none",
                                      "refused",
                                      "refused_deadlock",
                                      "refused_poison",
                                      "unanswered_undone",
                                      "unanswered_done",
                                      "unanswered_late",
                                      "unanswered_written",
                                      "state_lost"};
  return names[static_cast<std::size_t>(fault)];
}

std::vector<Fault> faults_of(ActionKind kind) {
  switch (kind) {
    case ActionKind::claim:
    case ActionKind::vote: return {Fault::refused, Fault::refused_deadlock, Fault::refused_poison};
    case ActionKind::judge:
    case ActionKind::check_witness:
    case ActionKind::reread_decision: return {Fault::refused};
    case ActionKind::prepare:
      return {Fault::refused,           Fault::refused_deadlock, Fault::refused_poison,
              Fault::unanswered_undone, Fault::unanswered_done,  Fault::unanswered_late};
    case ActionKind::decide:
    case ActionKind::record_refusals:
      return {Fault::refused,         Fault::refused_poison,  Fault::unanswered_undone,
              Fault::unanswered_done, Fault::unanswered_late, Fault::unanswered_written};
    case ActionKind::commit:
      return {Fault::refused, Fault::unanswered_undone, Fault::unanswered_done,
              Fault::unanswered_late, Fault::state_lost};
    case ActionKind::settle:
    case ActionKind::rollback:
      return {Fault::unanswered_undone, Fault::unanswered_done, Fault::unanswered_late};
    case ActionKind::record_heuristic:
    case ActionKind::complete: return {Fault::unanswered_undone, Fault::unanswered_done};
    default: return {};
  }
}

Coordinator::Coordinator(World& world, std::string id, std::uint64_t epoch,
                         std::vector<std::vector<std::string>> stages)
    : world_(world), id_(std::move(id)), epoch_(epoch), stages_(std::move(stages)) {
  for (const auto& [participant, database] : world_.databases) participants_.push_back(participant);
}

void Coordinator::submit(Group group, std::uint32_t conflict_retries) {
  queue_.push_back({std::make_shared<const Group>(std::move(group)), conflict_retries, false});
}

void Coordinator::start_next() {
  if (machine_ || queue_.empty()) return;
  job_ = std::move(queue_.front());
  queue_.pop_front();
  gid_ = {"0123abcd", id_, epoch_, "89efcdab", ++seq_};
  active_.insert(gid_);  // before the first message
  finished_ = false;
  machine_.emplace(plan_of(job_));
  step({});
}

protocol::GroupPlan Coordinator::plan_of(const Job& job) const {
  protocol::GroupPlan plan;
  plan.operations = job.group->size();
  plan.participants = participants_;
  plan.conflict_retries_left = job.conflict_retries;
  plan.refuse_alone = job.refuse_alone;
  plan.refuse_reason = job.refuse_alone ? "VALIDATION_FAILED" : "";
  for (std::size_t i = 0; i < participants_.size(); ++i) {
    plan.touches.emplace_back();
    for (const Operation& operation : *job.group)
      plan.touches.back().push_back(operation.wants.contains(participants_[i]));
    plan.commit_order.push_back(static_cast<protocol::ParticipantId>(i));
  }
  const auto id_of = [this](const std::string& name) {
    if (name == "log") return protocol::log_voter;
    return static_cast<protocol::ParticipantId>(std::ranges::find(participants_, name) -
                                                participants_.begin());
  };
  for (const auto& stage : stages_) {
    plan.vote_stages.emplace_back();
    for (const std::string& name : stage) plan.vote_stages.back().push_back(id_of(name));
  }
  if (plan.vote_stages.empty()) {
    plan.vote_stages = {plan.commit_order};
    plan.vote_stages[0].push_back(protocol::log_voter);
  }
  return plan;
}

// --- actions -----------------------------------------------------------------------------------

void Coordinator::step(const Event& event) {
  for (const Action& action : machine_->step(event)) perform(action);
  if (finished_) machine_.reset();
  start_next();
}

void Coordinator::perform(const Action& action) {
  switch (action.kind) {
    case ActionKind::reply: return reply();
    case ActionKind::finish: return finish();
    case ActionKind::applied:
    case ActionKind::sweep: return;  // recovery runs all the time here
    case ActionKind::resubmit_whole:
    case ActionKind::resubmit_halves:
    case ActionKind::resubmit_refused: return resubmit(action.kind);
    default: pending_.push_back(request_of(action));
  }
}

Request Coordinator::request_of(const Action& action) const {
  Request request;
  request.kind = action.kind;
  request.gid = gid_;
  request.voter = action.voter;
  request.participant =
      action.voter == protocol::log_voter ? "log" : participants_.at(action.voter);
  request.group = job_.group;
  request.mask = action.operations;
  if (action.kind == ActionKind::decide || action.kind == ActionKind::record_refusals)
    request.record = record();
  return request;
}

Record Coordinator::record() const {
  Record record;
  for (const protocol::ParticipantId id : machine_->branches())
    record.participants.push_back(participants_.at(id));
  for (std::size_t i = 0; i < job_.group->size(); ++i) {
    const protocol::Verdict& verdict = machine_->verdicts()[i];
    if (verdict.fate == Fate::confirmed) record.confirmed.push_back((*job_.group)[i].key);
    if (verdict.fate == Fate::refused) record.refused[(*job_.group)[i].key] = verdict.reason;
  }
  return record;
}

void Coordinator::resubmit(ActionKind kind) {
  if (kind == ActionKind::resubmit_whole) {
    queue_.push_back({job_.group, job_.conflict_retries - 1, false});
  } else if (kind == ActionKind::resubmit_refused) {
    queue_.push_back({job_.group, 0, true});
  } else {
    const auto middle = job_.group->begin() + static_cast<std::ptrdiff_t>(job_.group->size() / 2);
    submit(Group(job_.group->begin(), middle), job_.conflict_retries);
    submit(Group(middle, job_.group->end()), job_.conflict_retries);
  }
}

void Coordinator::reply() {
  for (std::size_t i = 0; i < job_.group->size(); ++i) {
    const protocol::Verdict& verdict = machine_->verdicts()[i];
    Reply reply{gid_, (*job_.group)[i].key, verdict.reason, Told::unavailable};
    if (machine_->cause() == AbortCause::none) {
      switch (verdict.fate) {
        case Fate::confirmed: reply.told = Told::confirmed; break;
        case Fate::refused: reply.told = Told::refused; break;
        case Fate::duplicate: reply.told = Told::duplicate; break;
        case Fate::retry: reply.told = Told::retry; break;
        case Fate::open: world_.violation("I10 a reply without a verdict: " + reply.key); break;
      }
    }
    // I2, I10: what is told must be durable when it is told.
    const auto stored = world_.log.outcomes.find(reply.key);
    const bool durable = stored != world_.log.outcomes.end();
    if ((reply.told == Told::confirmed && !(durable && stored->second.confirmed)) ||
        (reply.told == Told::refused && !(durable && !stored->second.confirmed)))
      world_.violation("I10 told before it is durable: " + reply.key);
    replies_.push_back(std::move(reply));
  }
}

void Coordinator::finish() {
  active_.erase(gid_);
  finished_ = true;
  // I3: with something prepared, or that may prepare later, the outcome is durable or buried by
  // now.
  const bool known = world_.log.decisions.contains(gid_);
  for (const std::string& participant : participants_)
    if (!known && world_.databases.at(participant).prepared.contains(gid_))
      world_.violation("I3 left the active set with a branch prepared and no tombstone: " +
                       format(gid_));
  for (const Request& late : world_.late())
    if (!known && late.kind == ActionKind::prepare && late.gid == gid_)
      world_.violation("I3 left the active set with a PREPARE unanswered and no tombstone: " +
                       format(gid_));
}

// --- answers -----------------------------------------------------------------------------------

void Coordinator::post_late(Request request, bool written) {
  request.written = written;
  world_.note("no answer: ", request);
  world_.post_late(request);
}

// A decision cannot have written its row behind a fence or a tombstone.
bool Coordinator::may_write(const Request& request) const {
  return world_.log.epochs.at(id_) == epoch_ && !world_.log.decisions.contains(request.gid);
}

void Coordinator::answer(std::size_t index, Fault fault) {
  const Request request = pending_.at(index);
  pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(index));
  if (fault != Fault::none) world_.note(to_string(fault) + ": ", request);
  switch (fault) {
    case Fault::refused:
    case Fault::refused_deadlock:
    case Fault::refused_poison: return answer_refused(request, fault);
    case Fault::unanswered_undone: world_.end_session(request); return answer_unanswered(request);
    case Fault::unanswered_done: world_.execute(request); return answer_unanswered(request);
    case Fault::unanswered_late: post_late(request, false); return answer_unanswered(request);
    case Fault::unanswered_written:
      if (!may_write(request)) break;  // then it is refused, and answered
      post_late(request, true);
      return answer_unanswered(request);
    case Fault::state_lost: world_.lose_prepared(request.gid, request.participant); break;
    case Fault::none: break;
  }
  answer_done(request, world_.execute(request));
}

void Coordinator::answer_refused(const Request& request, Fault fault) {
  Event event{.voter = request.voter, .cause = AbortCause::unavailable};
  if (fault == Fault::refused_deadlock) event.cause = AbortCause::deadlock;
  if (fault == Fault::refused_poison) event.cause = AbortCause::poison;
  switch (request.kind) {
    case ActionKind::claim:
    case ActionKind::vote: event.kind = EventKind::vote_failed; break;
    case ActionKind::judge: event.kind = EventKind::judge_failed; break;
    case ActionKind::prepare: event.kind = EventKind::prepare_failed; break;
    case ActionKind::decide:
    case ActionKind::record_refusals: event.kind = EventKind::decide_failed; break;
    case ActionKind::commit: event.kind = EventKind::commit_failed; return step(event);
    case ActionKind::check_witness: event.kind = EventKind::witness_failed; return step(event);
    case ActionKind::reread_decision: event.kind = EventKind::decision_unread; return step(event);
    default: throw std::logic_error("sim: cannot be refused: " + text_of(request));
  }
  world_.end_session(request);
  step(event);
}

void Coordinator::answer_unanswered(const Request& request) {
  Event event{.voter = request.voter, .cause = AbortCause::timeout, .unanswered = true};
  switch (request.kind) {
    case ActionKind::prepare: event.kind = EventKind::prepare_failed; break;
    case ActionKind::decide:
    case ActionKind::record_refusals: event.kind = EventKind::decide_unknown; break;
    case ActionKind::settle: event.kind = EventKind::settle_failed; break;
    case ActionKind::commit: event.kind = EventKind::commit_failed; break;
    case ActionKind::rollback: event.kind = EventKind::rollback_failed; break;
    case ActionKind::record_heuristic: event.kind = EventKind::heuristic_unrecorded; break;
    case ActionKind::complete: return;
    default: throw std::logic_error("sim: cannot go unanswered: " + text_of(request));
  }
  step(event);
}

void Coordinator::answer_done(const Request& request, const Done& done) {
  Event event{.voter = request.voter, .votes = done.votes};
  switch (request.kind) {
    case ActionKind::claim:
    case ActionKind::vote: event.kind = EventKind::voted; break;
    case ActionKind::judge: event.kind = EventKind::judged; break;
    case ActionKind::prepare: event.kind = EventKind::prepared; break;
    case ActionKind::decide:
    case ActionKind::record_refusals:
      event.kind = done.ok ? EventKind::decided : EventKind::decide_failed;
      event.cause = done.fenced ? AbortCause::fenced : AbortCause::error;
      break;
    case ActionKind::settle:
      event.kind = done.outcome == protocol::Outcome::commit ? EventKind::settled_commit
                                                             : EventKind::settled_abort;
      break;
    case ActionKind::commit:
      event.kind = done.ok ? EventKind::committed : EventKind::commit_not_found;
      break;
    case ActionKind::check_witness:
      event.kind = done.ok ? EventKind::witness_found : EventKind::witness_absent;
      break;
    case ActionKind::reread_decision:
      event.kind = done.ok ? EventKind::decision_complete : EventKind::decision_incomplete;
      break;
    case ActionKind::record_heuristic: event.kind = EventKind::heuristic_recorded; break;
    case ActionKind::rollback: event.kind = EventKind::rolled_back; break;
    case ActionKind::release: event.kind = EventKind::released; break;
    case ActionKind::complete: return;
    default: throw std::logic_error("sim: no answer to " + text_of(request));
  }
  step(event);
}

void Coordinator::die(bool decision_is_written) {
  world_.note(id_ + " is killed");
  for (const Request& request : pending_) {
    const bool decides =
        request.kind == ActionKind::decide || request.kind == ActionKind::record_refusals;
    const bool ends_something =
        decides || request.kind == ActionKind::prepare || request.kind == ActionKind::settle ||
        request.kind == ActionKind::commit || request.kind == ActionKind::rollback ||
        request.kind == ActionKind::complete;
    if (ends_something) post_late(request, decides && decision_is_written && may_write(request));
  }
  // What is still in a backend keeps its session; every other one ends with its client.
  for (const std::string& participant : participants_)
    world_.end_session({.kind = ActionKind::release, .gid = gid_, .participant = participant});
  world_.end_session({.kind = ActionKind::release, .gid = gid_, .participant = "log"});
  machine_.reset();
  queue_.clear();
  pending_.clear();
  active_.clear();
}

}  // namespace txcoord::sim
