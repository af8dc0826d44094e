// Plans and positions of sagas: what is valid, and how a position stands in the log. The names of
// states, events and actions, as traces, logs and metrics write them.
#include <algorithm>
#include <stdexcept>

#include "txcoord/protocol/saga.hpp"

namespace txcoord::protocol {
namespace {

[[noreturn]] void invalid(const SagaPlan& plan, const std::string& what) {
  throw std::invalid_argument("saga " + plan.type + ": " + what);
}

// The three sorts of steps, in the order in which a plan may have them.
enum class Sort : std::uint8_t { undoable, no_return, must_succeed };

Sort sort_of(const SagaStep& step) {
  if (step.must_succeed) return Sort::must_succeed;
  return step.compensation.empty() ? Sort::no_return : Sort::undoable;
}

bool one_name_each(const SagaPlan& plan) {
  std::vector<std::string> names;
  for (const SagaStep& step : plan.steps) {
    names.push_back(step.name);
    if (!step.compensation.empty()) names.push_back(step.compensation);
  }
  std::ranges::sort(names);
  return !names.front().empty() && std::ranges::adjacent_find(names) == names.end();
}

bool ends_a_saga_or_undoes_it(std::string_view status) {
  return status == saga_completed || status == saga_failed || status == saga_compensating;
}

// The status of a saga whose first `done` steps are done.
std::string_view status_after(const SagaPlan& plan, std::size_t done) {
  return done == 0 ? saga_started : std::string_view(plan.steps[done - 1].status_after);
}

// The index of the step that answers.
std::size_t answering_step(const SagaPlan& plan) {
  if (plan.answer_after.empty()) return plan.steps.size() - 1;
  const auto step = std::ranges::find(plan.steps, plan.answer_after, &SagaStep::name);
  return static_cast<std::size_t>(step - plan.steps.begin());
}

void check_answer(const SagaPlan& plan) {
  if (plan.answer_after.empty()) return;
  const std::size_t answers = answering_step(plan);
  if (answers == plan.steps.size()) invalid(plan, "answers after a step that it does not have");
  for (std::size_t i = answers; i < plan.steps.size(); ++i) {
    if (!plan.steps[i].until_answered)
      invalid(plan, plan.steps[i].name + " may be given up after the answer");
  }
}

}  // namespace

void check(const SagaPlan& plan) {
  if (plan.steps.empty()) invalid(plan, "no steps");
  if (!one_name_each(plan)) invalid(plan, "a name is empty or there twice");
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const SagaStep& step = plan.steps[i];
    if (step.must_succeed && !step.compensation.empty())
      invalid(plan, step.name + " must succeed and has a compensation");
    if (i > 0 && sort_of(step) != Sort::must_succeed &&
        sort_of(plan.steps[i - 1]) != Sort::undoable)
      invalid(plan, step.name + " may be refused after the point of no return");
    const bool last = i + 1 == plan.steps.size();
    if (last ? step.status_after != saga_completed : ends_a_saga_or_undoes_it(step.status_after))
      invalid(plan, step.name + " leads to " + step.status_after);
  }
  check_answer(plan);
}

std::string current_step(const SagaPlan& plan, const SagaPosition& position) {
  if (position.ended()) return {};
  const std::size_t step = position.undoing() ? position.next - 1 : position.next;
  return step < plan.steps.size() ? plan.steps[step].name : std::string();
}

SagaPosition read_position(const SagaPlan& plan, std::string_view status,
                           std::string_view current_step, std::string reason, std::string detail) {
  SagaPosition position{std::string(status), 0, std::move(reason), std::move(detail)};
  if (position.ended()) {
    if (!current_step.empty()) invalid(plan, "ended, and a step is next");
    position.next = status == saga_completed ? plan.steps.size() : 0;
    return position;
  }
  const auto step = std::ranges::find(plan.steps, current_step, &SagaStep::name);
  if (step == plan.steps.end()) invalid(plan, "has no step " + std::string(current_step));
  position.next = static_cast<std::size_t>(step - plan.steps.begin());
  if (position.undoing()) {
    if (step->compensation.empty()) invalid(plan, step->name + " cannot be undone");
    ++position.next;
  } else if (status != status_after(plan, position.next)) {
    invalid(plan, step->name + " is not run in " + std::string(status));
  }
  return position;
}

// 0 … n: so many steps are done. From there on down the way back: n + 1 for all of them to be
// undone, 2n + 1 for none, which is FAILED.
std::uint32_t progress(const SagaPlan& plan, const SagaPosition& position) {
  const std::size_t steps = plan.steps.size();
  const bool back = position.undoing() || position.status == saga_failed;
  return static_cast<std::uint32_t>(back ? 2 * steps + 1 - position.next : position.next);
}

bool confirms(const SagaPlan& plan, const SagaPosition& position) {
  if (position.ended()) return position.status == saga_completed;
  return !position.undoing() && position.next > answering_step(plan);
}

std::string_view to_string(SagaState state) {
  switch (state) {
    case SagaState::idle: return "idle";
    case SagaState::running: return "running";
    case SagaState::recording: return "recording";
    case SagaState::undoing: return "undoing";
    case SagaState::done: return "done";
  }
  return "";
}

std::string_view to_string(SagaEventKind kind) {
  switch (kind) {
    case SagaEventKind::start: return "start";
    case SagaEventKind::step_done: return "step_done";
    case SagaEventKind::step_refused: return "step_refused";
    case SagaEventKind::step_failed: return "step_failed";
    case SagaEventKind::compensated: return "compensated";
    case SagaEventKind::compensation_failed: return "compensation_failed";
    case SagaEventKind::compensation_refused: return "compensation_refused";
    case SagaEventKind::recorded: return "recorded";
    case SagaEventKind::record_failed: return "record_failed";
    case SagaEventKind::abandon: return "abandon";
  }
  return "";
}

std::string_view to_string(SagaActionKind kind) {
  switch (kind) {
    case SagaActionKind::run: return "run";
    case SagaActionKind::undo: return "undo";
    case SagaActionKind::record: return "record";
    case SagaActionKind::reply: return "reply";
    case SagaActionKind::stuck: return "stuck";
    case SagaActionKind::unstuck: return "unstuck";
    case SagaActionKind::finish: return "finish";
  }
  return "";
}

}  // namespace txcoord::protocol
