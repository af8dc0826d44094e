// Actions of a saga become messages, what becomes of messages becomes events.
#include "tests/sim/saga_process.hpp"

namespace txcoord::saga_sim {

using protocol::Saga;
using protocol::SagaAction;
using protocol::SagaActionKind;
using protocol::SagaEvent;
using protocol::SagaEventKind;
using protocol::SagaPlan;

std::string_view to_string(Fault fault) {
  static constexpr std::string_view names[] = {"none",
                                               "refused",
                                               "conflict",
                                               "unanswered_undone",
                                               "unanswered_done",
                                               "unanswered_late",
                                               "delivered_twice",
                                               "killed_undone",
                                               "killed_done",
                                               "killed_late",
                                               "taken_over",
                                               "abandoned",
                                               "expired",
                                               "expired_half"};
  return names[static_cast<std::size_t>(fault)];
}

const std::vector<Fault>& faults_of(SagaActionKind kind) {
  static const std::vector<Fault> of_steps = {
      Fault::refused,         Fault::conflict,        Fault::unanswered_undone,
      Fault::unanswered_done, Fault::unanswered_late, Fault::delivered_twice,
      Fault::killed_undone,   Fault::killed_done,     Fault::killed_late,
      Fault::taken_over,      Fault::abandoned,       Fault::expired,
      Fault::expired_half};
  static const std::vector<Fault> of_records = {
      Fault::refused,       Fault::unanswered_done, Fault::unanswered_late, Fault::delivered_twice,
      Fault::killed_undone, Fault::killed_done,     Fault::killed_late,     Fault::taken_over,
      Fault::abandoned,     Fault::expired,         Fault::expired_half};
  return kind == SagaActionKind::record ? of_records : of_steps;
}

void Process::adopt() {
  for (auto& [id, entry] : world_.log) {
    if (entry.ended()) continue;
    entry.owner = epoch_;
    const SagaPlan& plan = plan_of(entry.what);
    sagas_.emplace(
        id, Saga(plan, read_position(plan, entry.status, entry.current_step, entry.reason, {}),
                 entry.confirmed));
  }
  for (const auto& [id, entry] : world_.log)
    if (sagas_.contains(id)) step(id, {});
}

void Process::abandon(const std::string& saga, std::string reason) {
  if (!sagas_.contains(saga)) return;
  world_.note("abandoned: " + saga);
  step(saga, {SagaEventKind::abandon, std::move(reason)});
}

void Process::die(std::size_t index, Fault fault) {
  world_.note(std::string(to_string(fault)) + ": " + std::to_string(epoch_));
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    if (i != index || fault == Fault::killed_late)
      world_.post_late(pending_[i]);
    else if (fault == Fault::killed_done)
      world_.execute(pending_[i]);
  }
  pending_.clear();
  sagas_.clear();
}

// --- actions -------------------------------------------------------------------------------------

void Process::step(const std::string& saga, const SagaEvent& event) {
  for (const SagaAction& action : sagas_.at(saga).step(event)) perform(saga, action);
}

void Process::perform(const std::string& saga, const SagaAction& action) {
  switch (action.kind) {
    case SagaActionKind::run:
    case SagaActionKind::undo:
    case SagaActionKind::record: return send(saga, action);
    case SagaActionKind::reply: return reply(saga);
    case SagaActionKind::stuck:
    case SagaActionKind::unstuck:
    case SagaActionKind::finish: return;
  }
}

void Process::send(const std::string& saga, const SagaAction& action) {
  const Saga& core = sagas_.at(saga);
  const protocol::SagaStep& step = core.plan().steps.at(action.step);
  Message message;
  message.kind = action.kind;
  message.epoch = epoch_;
  message.saga = saga;
  message.order = world_.log.at(saga).order;
  message.reason = core.position().reason;
  if (action.kind == SagaActionKind::record) {
    message.status = core.position().status;
    message.current_step = current_step(core.plan(), core.position());
    message.progress = progress(core.plan(), core.position());
    message.confirmed = core.confirmed();
  } else if (action.kind == SagaActionKind::undo) {
    message.step = step.compensation;
    message.undoes = step.name;
  } else {
    message.step = step.name;
  }
  pending_.push_back(std::move(message));
}

void Process::reply(const std::string& saga) {
  const Saga& core = sagas_.at(saga);
  const LogEntry& entry = world_.log.at(saga);
  // I2, I10: what is told must be durable when it is told.
  if (entry.status != core.position().status || entry.reason != core.position().reason)
    world_.violation("I10 told before it is durable: " + saga);
  if (entry.confirmed != core.confirmed())
    world_.violation("I10 told otherwise than its key says: " + saga);
  replies_.push_back({saga, core.confirmed(), core.position().reason});
}

// --- answers -------------------------------------------------------------------------------------

void Process::answer(std::size_t index, Fault fault) {
  const Message message = pending_.at(index);
  pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(index));
  if (fault != Fault::none) {
    world_.note(to_string(fault));
    world_.note("  of ", message);
  }
  switch (fault) {
    case Fault::refused:
    case Fault::conflict:
    case Fault::unanswered_undone: return step(message.saga, failure_of(message, fault));
    case Fault::unanswered_done:
      world_.execute(message);
      return step(message.saga, failure_of(message, fault));
    case Fault::unanswered_late:
      world_.post_late(message);
      return step(message.saga, failure_of(message, fault));
    case Fault::delivered_twice: world_.post_late(message); break;
    default: break;
  }
  const Answer answer = world_.execute(message);
  if (answer.kind == Answer::not_ours)
    sagas_.erase(message.saga);
  else
    step(message.saga, event_of(message, answer));
}

SagaEvent Process::failure_of(const Message& message, Fault fault) const {
  SagaEvent event{SagaEventKind::step_failed, {}, "no answer", fault == Fault::conflict};
  if (message.kind == SagaActionKind::undo) event.kind = SagaEventKind::compensation_failed;
  if (message.kind == SagaActionKind::record) event.kind = SagaEventKind::record_failed;
  return event;
}

SagaEvent Process::event_of(const Message& message, const Answer& answer) const {
  const bool refused = answer.kind == Answer::refused;
  SagaEvent event{SagaEventKind::recorded, answer.reason};
  if (message.kind == SagaActionKind::run)
    event.kind = refused ? SagaEventKind::step_refused : SagaEventKind::step_done;
  if (message.kind == SagaActionKind::undo)
    event.kind = refused ? SagaEventKind::compensation_refused : SagaEventKind::compensated;
  // Somebody has undone this saga meanwhile; if it is ours no more, the log says so.
  if (answer.kind == Answer::barred) event.kind = SagaEventKind::step_failed;
  return event;
}

}  // namespace txcoord::saga_sim
