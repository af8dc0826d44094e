// An orchestrated saga as a pure state machine: step(event) → actions. No I/O, no clock.
//
// One Saga is one operation. Its steps run one after the other, each a local transaction of one
// participant; what was done is undone by compensations, in exact reverse order. The engine
// performs the actions and feeds what came of them back as events. (Batching is the engine's: the
// steps of many sagas at one participant share one transaction.)
//
// States and what leaves them:
//
//   idle       start (STARTED is durable, or was read back)
//                                  → running, undoing or done: where it stands
//   running    step done           → recording
//              step refused        → recording (COMPENSATION_STARTED), or running again if the step
//                                    must succeed, or may be done and cannot be undone; then it
//                                    is shown as stuck
//              step failed         → running again, or, tries exhausted or abandoned:
//                                    recording (COMPENSATION_STARTED)
//   recording  recorded            → running the next step, undoing, or done; abandoned:
//                                    recording (COMPENSATION_STARTED)
//              record failed       → recording again: nothing goes on without it
//   undoing    compensated         → recording (FAILED after the last one)
//              compensation failed → undoing again, for ever; shown as stuck after some
//              … refused           → undoing again, for ever; shown as stuck at once
//   done
//
// Where nothing is to be undone, FAILED takes the place of COMPENSATION_STARTED.
//
// Three sorts of steps, in this order in every plan:
//   any number  that have a compensation: they may be refused, given up and undone;
//   at most one without a compensation that may be refused: the point of no return. It is tried
//               until it answers: what may have been done and cannot be undone is never given up;
//   any number  that must succeed: tried until they are done.
//
// A plan may answer before its end (answer_after): its client is told "confirmed" once that step is
// durable, and that the rest is still due. What comes after is tried until it is answered; if it is
// refused, all is undone in public (degraded modes: saga_plans.hpp).
//
// Invariants kept here:
//   I2 I10 `reply` leaves only when COMPLETED, FAILED or the step that answers is durable, once.
//   I8 every saga ends completed or fully compensated, or is shown as stuck: there is no other
//      state that it rests in.
//   Durable before the next step: run and undo are made only by `start` and `recorded`, and again
//   after a failure of the same step.
//   What may have been done is undone: a step that failed without an answer is compensated like one
//   that was done (its barrier makes the compensation of nothing harmless, and a late arrival do
//   nothing); a step that was refused did nothing and is not compensated, unless an earlier try of
//   it was not answered and the refusal is kept nowhere (may_be_done): that try may yet land.
//   A record never takes the saga back: progress() grows with each, and the log refuses less than
//   it has. A record whose answer was lost can land when the saga has long gone on; without that
//   rule a crash would then run forward over what was undone.
//
// The engine drops a Saga when a record is answered with "not yours any more": its new owner goes
// on from what is durable.
//
// Source: Garcia-Molina and Salem, Sagas (1987), backward and forward recovery; barriers: ours to
// the letter, the idea is the field's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace txcoord::protocol {

struct SagaStep {
  std::string name;          // "inventory.reserve"; current_step of the record while it is next
  std::string status_after;  // the saga's status once it is done: STOCK_RESERVED
  std::string compensation;  // "inventory.release"; empty: it cannot be undone
  // Cannot be refused and is tried until it is done: the steps after the point of no return.
  bool must_succeed = false;
  // It can be undone and may be refused, and still no failure gives it up: tried until answered.
  bool until_answered = false;
};

struct SagaPlan {
  std::string type;  // place_order, cancel_order, place_order_2pc, …
  std::vector<SagaStep> steps;
  // The step that confirms the order to its client; empty: the last one. From it on every step is
  // until_answered.
  std::string answer_after;
  // How often a step that can be undone is tried before it is given up. 0: as long as it takes
  // (accepted orders).
  std::uint32_t tries_max = 3;
  // So many conflicts (deadlock, lock timeout) of a step count neither as tries nor for
  // stuck_after.
  std::uint32_t conflict_tries_max = 10;
  // After so many failures a step that is still tried, or a compensation, is shown as stuck.
  std::uint32_t stuck_after = 10;
};
// Throws std::invalid_argument: no steps, a name twice or empty, steps in another order than above,
// a last step that does not lead to COMPLETED or another that ends the saga, an answer after no
// step, or before one that is given up.
void check(const SagaPlan& plan);

inline constexpr std::string_view saga_started = "STARTED";
inline constexpr std::string_view saga_completed = "COMPLETED";
inline constexpr std::string_view saga_compensating = "COMPENSATION_STARTED";
inline constexpr std::string_view saga_failed = "FAILED";
// The reason of a saga that gave a step up.
inline constexpr std::string_view saga_participant_unavailable = "PARTICIPANT_UNAVAILABLE";

// What is durable of a saga, and enough to go on after a crash.
struct SagaPosition {
  std::string status{saga_started};
  // Running: the step to run next. Undoing: steps [0, next) are still to be undone, last first.
  std::size_t next = 0;
  std::string reason, detail;  // why it is being undone

  bool undoing() const { return status == saga_compensating; }
  bool ended() const { return status == saga_completed || status == saga_failed; }
  bool operator==(const SagaPosition&) const = default;
};

// The name that stands in saga_instances.current_step: the step to run or to undo next (the status
// tells which), or empty when it has ended.
std::string current_step(const SagaPlan& plan, const SagaPosition& position);
// The position that `status`, `current_step` say in the log. Throws std::invalid_argument for what
// this plan cannot have written.
SagaPosition read_position(const SagaPlan& plan, std::string_view status,
                           std::string_view current_step, std::string reason, std::string detail);
// How far it has come: grows with every position that a saga records, and is another for each.
std::uint32_t progress(const SagaPlan& plan, const SagaPosition& position);
// Going forward, or completed, with the step that answers done: the client's answer is "confirmed".
bool confirms(const SagaPlan& plan, const SagaPosition& position);

enum class SagaState : std::uint8_t { idle, running, recording, undoing, done };
std::string_view to_string(SagaState state);

enum class SagaEventKind : std::uint8_t {
  start,
  step_done,
  step_refused,          // reason, detail: a business refusal; it did nothing
  step_failed,           // detail, conflict; whether it was done is unknown
  compensated,           // undone, or there was nothing to undo
  compensation_failed,   // conflict
  compensation_refused,  // it cannot be done; needs a person
  recorded,
  record_failed,
  abandon,  // reason, detail: no further step forward (its reservation expired)
};
std::string_view to_string(SagaEventKind kind);

struct SagaEvent {
  SagaEventKind kind = SagaEventKind::start;
  std::string reason{}, detail{};
  bool conflict = false;
  // Of step_refused: nothing keeps the refusal, and an earlier try may have done the step, or may
  // yet.
  bool may_be_done = false;
};

enum class SagaActionKind : std::uint8_t {
  run,      // step, attempt
  undo,     // step, attempt: its compensation
  record,   // position(), attempt
  reply,    // the outcome is durable: confirmed(), or position().reason
  stuck,    // step: record and show that a person is needed; the saga goes on trying
  unstuck,  // step: the one that was stuck is done
  finish,   // nothing more is to do
};
std::string_view to_string(SagaActionKind kind);

struct SagaAction {
  SagaActionKind kind = SagaActionKind::finish;
  std::size_t step = 0;       // index in the plan
  std::uint32_t attempt = 0;  // failures before this try; the engine pauses if there were any
};
using SagaActions = std::vector<SagaAction>;

class Saga {
 public:
  // The plan is checked; `position` is where it stands (the default: just started), as durable;
  // `replied`: its client has its answer already.
  explicit Saga(SagaPlan plan, SagaPosition position = {}, bool replied = false);

  // The one transition function. An event that the current state cannot receive throws
  // std::logic_error, and changes nothing. `abandon` may come at any time and is ignored where it
  // is too late: the point of no return (or the answer) is being tried or is passed, undoing,
  // ended. Its reason becomes the saga's, even if the step under way is refused for another.
  SagaActions step(const SagaEvent& event);

  SagaState state() const { return state_; }
  const SagaPlan& plan() const { return plan_; }
  // While recording: what is to be made durable; otherwise what is.
  const SagaPosition& position() const { return position_; }
  bool completed() const { return position_.status == saga_completed; }
  bool confirmed() const { return confirms(plan_, position_); }
  bool stuck() const { return stuck_; }
  // Failures of the step (or compensation) that is being tried, conflicts too.
  std::uint32_t attempts() const { return failures_; }

 private:
  void expect(SagaState wanted, const SagaEvent& event) const;
  const SagaStep& next_step() const { return plan_.steps.at(position_.next); }
  bool may_turn_back() const;
  bool may_give_up() const;
  std::uint32_t counted_failures() const;
  bool tries_exhausted() const;
  void count_failure(const SagaEvent& event);

  SagaActions on_step_refused(const SagaEvent& event);
  SagaActions on_step_failed(const SagaEvent& event);
  SagaActions on_recorded();
  void on_abandon(const SagaEvent& event);

  SagaActions go_on();
  SagaActions try_again(bool show_as_stuck);
  SagaActions advance();
  SagaActions turn_back(std::size_t steps_to_undo, std::string reason, std::string detail);
  SagaActions undone();
  SagaActions record(SagaPosition position);

  struct Abandoned {
    std::string reason, detail;
  };

  SagaPlan plan_;
  SagaPosition position_;
  SagaState state_ = SagaState::idle;
  bool stuck_ = false;
  bool replied_ = false;
  std::optional<Abandoned> abandoned_;
  // Of the step or the compensation that is being tried.
  std::uint32_t failures_ = 0, conflicts_ = 0;
  std::uint32_t record_attempts_ = 0;
};

}  // namespace txcoord::protocol
