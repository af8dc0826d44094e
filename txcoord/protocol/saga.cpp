// The transition function of an orchestrated saga. Read saga.hpp first: it has the table.
#include "txcoord/protocol/saga.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace txcoord::protocol {

Saga::Saga(SagaPlan plan, SagaPosition position, bool replied)
    : plan_(std::move(plan)), position_(std::move(position)), replied_(replied) {
  check(plan_);
  if (position_ != read_position(plan_, position_.status, current_step(plan_, position_),
                                 position_.reason, position_.detail))
    throw std::invalid_argument("saga: not a position of " + plan_.type);
  // The record that confirms is the one that answers.
  replied_ = replied_ || (!position_.ended() && confirmed());
}

SagaActions Saga::step(const SagaEvent& event) {
  switch (event.kind) {
    case SagaEventKind::start:
      expect(SagaState::idle, event);
      // A predecessor may have run the step that is next: it is undone like one that failed.
      if (abandoned_) return turn_back(position_.next + 1, abandoned_->reason, abandoned_->detail);
      return go_on();
    case SagaEventKind::step_done: expect(SagaState::running, event); return advance();
    case SagaEventKind::step_refused:
      expect(SagaState::running, event);
      return on_step_refused(event);
    case SagaEventKind::step_failed:
      expect(SagaState::running, event);
      return on_step_failed(event);
    case SagaEventKind::compensated: expect(SagaState::undoing, event); return undone();
    case SagaEventKind::compensation_failed:
      expect(SagaState::undoing, event);
      count_failure(event);
      return try_again(false);
    case SagaEventKind::compensation_refused:
      expect(SagaState::undoing, event);
      count_failure(event);
      return try_again(true);
    case SagaEventKind::recorded: expect(SagaState::recording, event); return on_recorded();
    case SagaEventKind::record_failed:
      expect(SagaState::recording, event);
      return {{SagaActionKind::record, 0, ++record_attempts_}};
    case SagaEventKind::abandon: on_abandon(event); return {};
  }
  throw std::logic_error("saga: unknown event");
}

void Saga::expect(SagaState wanted, const SagaEvent& event) const {
  if (state_ != wanted)
    throw std::logic_error("saga: " + std::string(to_string(event.kind)) + " while " +
                           std::string(to_string(state_)));
}

// --- what may still be done ----------------------------------------------------------------------

// The next step may still be refused: so may the whole.
bool Saga::may_turn_back() const {
  return !position_.undoing() && !position_.ended() && !next_step().must_succeed;
}

// The next step, which may have been done, can be undone.
bool Saga::may_give_up() const {
  return may_turn_back() && !next_step().compensation.empty() && !next_step().until_answered;
}

// Conflicts are no sign that the participant is ill: the first of them are free.
std::uint32_t Saga::counted_failures() const {
  return failures_ - std::min(conflicts_, plan_.conflict_tries_max);
}

bool Saga::tries_exhausted() const {
  return plan_.tries_max > 0 && counted_failures() >= plan_.tries_max;
}

void Saga::count_failure(const SagaEvent& event) {
  ++failures_;
  if (event.conflict) ++conflicts_;
}

// --- events --------------------------------------------------------------------------------------

SagaActions Saga::on_step_refused(const SagaEvent& event) {
  const bool can_be_undone = !next_step().compensation.empty();
  if (may_turn_back() && (can_be_undone || !event.may_be_done)) {
    // It did nothing: only what came before it is undone. It may have done something: it too.
    const std::size_t steps_to_undo = position_.next + (event.may_be_done ? 1 : 0);
    if (abandoned_) return turn_back(steps_to_undo, abandoned_->reason, abandoned_->detail);
    return turn_back(steps_to_undo, event.reason, event.detail);
  }
  count_failure(event);
  return try_again(true);
}

SagaActions Saga::on_step_failed(const SagaEvent& event) {
  count_failure(event);
  if (may_give_up()) {
    // It may have been done, or may yet be: it is undone too.
    if (abandoned_) return turn_back(position_.next + 1, abandoned_->reason, abandoned_->detail);
    if (tries_exhausted())
      return turn_back(position_.next + 1, std::string(saga_participant_unavailable), event.detail);
  }
  return try_again(false);
}

SagaActions Saga::on_recorded() {
  // The step that is next was never run: nobody goes on before this record was durable.
  if (abandoned_ && may_turn_back())
    return turn_back(position_.next, abandoned_->reason, abandoned_->detail);
  return go_on();
}

void Saga::on_abandon(const SagaEvent& event) {
  const bool in_time = state_ == SagaState::recording ? may_turn_back() : may_give_up();
  if (in_time && !confirmed() && !abandoned_) abandoned_ = Abandoned{event.reason, event.detail};
}

// --- what comes next -----------------------------------------------------------------------------

// From a position that is durable.
SagaActions Saga::go_on() {
  if (position_.ended()) {
    state_ = SagaState::done;
    if (replied_) return {{SagaActionKind::finish}};
    return {{SagaActionKind::reply}, {SagaActionKind::finish}};  // I2, I10
  }
  if (position_.undoing()) {
    state_ = SagaState::undoing;
    return {{SagaActionKind::undo, position_.next - 1}};
  }
  state_ = SagaState::running;
  if (confirmed() && !std::exchange(replied_, true))
    return {{SagaActionKind::reply}, {SagaActionKind::run, position_.next}};
  return {{SagaActionKind::run, position_.next}};
}

// I8: what can neither be done nor given up is tried for ever, and people are told.
SagaActions Saga::try_again(bool show_as_stuck) {
  const bool undoing = state_ == SagaState::undoing;
  const std::size_t step = undoing ? position_.next - 1 : position_.next;
  SagaActions actions;
  if (!stuck_ && (show_as_stuck || counted_failures() >= plan_.stuck_after)) {
    stuck_ = true;
    actions.push_back({SagaActionKind::stuck, step});
  }
  actions.push_back({undoing ? SagaActionKind::undo : SagaActionKind::run, step, failures_});
  return actions;
}

SagaActions Saga::advance() {
  SagaPosition to = position_;
  to.status = next_step().status_after;
  ++to.next;
  return record(std::move(to));
}

SagaActions Saga::turn_back(std::size_t steps_to_undo, std::string reason, std::string detail) {
  const std::string_view status = steps_to_undo > 0 ? saga_compensating : saga_failed;
  return record({std::string(status), steps_to_undo, std::move(reason), std::move(detail)});
}

// Exactly reverse order: always the last one that still stands.
SagaActions Saga::undone() {
  return turn_back(position_.next - 1, position_.reason, position_.detail);
}

SagaActions Saga::record(SagaPosition position) {
  SagaActions actions;
  if (stuck_)
    actions.push_back({SagaActionKind::unstuck,
                       state_ == SagaState::undoing ? position_.next - 1 : position_.next});
  stuck_ = false;
  failures_ = conflicts_ = record_attempts_ = 0;
  position_ = std::move(position);
  state_ = SagaState::recording;
  actions.push_back({SagaActionKind::record});
  return actions;
}

}  // namespace txcoord::protocol
