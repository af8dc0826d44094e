// The text form of sagas, their events and actions: what the saga_*.txt scenarios and the
// transition table are written in.
//
//   saga    plan place_order                     or cancel_order, accepted_order, pay_later,
//                                                ship_by_hand, pay_later_ship_by_hand
//           tries_max 3, conflict_tries_max 1, stuck_after 2: other limits than the plan's own
//           position COMPENSATION_STARTED payment.charge CARD_DECLINED    as read from the log
//   event   step_refused OUT_OF_STOCK
//           step_failed conflict
//           abandon RESERVATION_EXPIRED
//           crash                                the process dies: a new Saga from what is durable
//           crash landed                         … and the record under way became durable
//   action  run payment.charge #2                the second try after the first
//           undo payment.charge by payment.refund
//           record COMPENSATION_STARTED payment.charge CARD_DECLINED
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/scenarios/script.hpp"
#include "txcoord/protocol/saga_plans.hpp"

namespace txcoord::script {

using protocol::Saga;
using protocol::SagaAction;
using protocol::SagaActionKind;
using protocol::SagaActions;
using protocol::SagaEvent;
using protocol::SagaEventKind;
using protocol::SagaPlan;
using protocol::SagaPosition;

// --- plans and positions -------------------------------------------------------------------------

inline SagaPlan saga_plan(const std::string& name) {
  if (name == "place_order") return protocol::place_order_plan(3);
  if (name == "cancel_order") return protocol::cancel_order_plan();
  if (name == "accepted_order") return protocol::accepted_order_plan();
  if (name == "pay_later") return protocol::place_order_later_plan(true, false, 3);
  if (name == "ship_by_hand") return protocol::place_order_later_plan(false, true, 3);
  if (name == "pay_later_ship_by_hand") return protocol::place_order_later_plan(true, true, 3);
  malformed("no such plan: " + name);
}

struct SagaDescription {
  SagaPlan plan;
  SagaPosition position;
};

inline void describe(SagaDescription& saga, const std::string& line) {
  const std::vector<std::string> all = words(line);
  const std::string& value = all.at(1);
  if (all[0] == "plan") {
    saga.plan = saga_plan(value);
  } else if (all[0] == "tries_max") {
    saga.plan.tries_max = static_cast<std::uint32_t>(std::stoul(value));
  } else if (all[0] == "conflict_tries_max") {
    saga.plan.conflict_tries_max = static_cast<std::uint32_t>(std::stoul(value));
  } else if (all[0] == "stuck_after") {
    saga.plan.stuck_after = static_cast<std::uint32_t>(std::stoul(value));
  } else if (all[0] == "position") {
    saga.position = protocol::read_position(saga.plan, value, all.size() > 2 ? all[2] : "",
                                            all.size() > 3 ? all[3] : "", {});
  } else {
    malformed(line);
  }
}

inline SagaDescription saga_description(const std::vector<std::string>& lines) {
  SagaDescription saga;
  for (const std::string& line : lines) describe(saga, line);
  return saga;
}

// --- events and actions --------------------------------------------------------------------------

inline SagaEvent saga_event_of(const std::string& line) {
  const std::vector<std::string> all = words(line);
  SagaEvent event;
  event.kind = named<SagaEventKind>(all.at(0), SagaEventKind::abandon);
  if (all.size() > 2) malformed(line);
  if (all.size() == 2 && all[1] == "conflict")
    event.conflict = true;
  else if (all.size() == 2)
    event.reason = all[1];
  return event;
}

inline std::string text_of(const SagaPlan& plan, const SagaPosition& position) {
  std::string text = position.status;
  const std::string step = current_step(plan, position);
  if (!step.empty()) text += ' ' + step;
  if (!position.reason.empty()) text += ' ' + position.reason;
  return text;
}

// `saga` stands after the step that made the action.
inline std::string text_of(const Saga& saga, const SagaAction& action) {
  std::string text(to_string(action.kind));
  switch (action.kind) {
    case SagaActionKind::run:
    case SagaActionKind::stuck:
    case SagaActionKind::unstuck: text += ' ' + saga.plan().steps.at(action.step).name; break;
    case SagaActionKind::undo: {
      const protocol::SagaStep& step = saga.plan().steps.at(action.step);
      text += ' ' + step.name + " by " + step.compensation;
      break;
    }
    case SagaActionKind::record:
    case SagaActionKind::reply: text += ' ' + text_of(saga.plan(), saga.position()); break;
    case SagaActionKind::finish: break;
  }
  if (action.attempt > 0) text += " #" + std::to_string(action.attempt);
  return text;
}

inline std::vector<std::string> texts_of(const Saga& saga, const SagaActions& actions) {
  std::vector<std::string> texts;
  for (const SagaAction& action : actions) texts.push_back(text_of(saga, action));
  return texts;
}

// --- traces --------------------------------------------------------------------------------------

// A saga and the log that it is recorded in, through any number of processes.
class SagaTrace {
 public:
  void describe(const std::string& line) {
    if (saga_) malformed("the saga is described before the first event: " + line);
    script::describe(description_, line);
    durable_ = description_.position;
  }

  // The actions that come of it, as texts.
  std::vector<std::string> play(const std::string& event) {
    if (!saga_) restart();
    if (event == "crash" || event == "crash landed") {
      if (event == "crash landed") land();
      restart();
      return {};
    }
    const SagaEvent parsed = saga_event_of(event);
    if (parsed.kind == SagaEventKind::recorded) land();
    const SagaActions actions = saga_->step(parsed);
    return texts_of(*saga_, actions);
  }

  std::string state() const { return std::string(to_string(saga_->state())); }
  bool done() const { return saga_ && saga_->state() == protocol::SagaState::done; }

 private:
  void land() {
    if (saga_->state() != protocol::SagaState::recording) malformed("no record is under way");
    durable_ = saga_->position();
    answered_ = answered_ || (saga_->confirmed() && !durable_.ended());
  }
  // What is durable passes through the log as text.
  void restart() {
    const SagaPlan& plan = description_.plan;
    saga_.emplace(plan,
                  protocol::read_position(plan, durable_.status, current_step(plan, durable_),
                                          durable_.reason, durable_.detail),
                  answered_);
  }

  SagaDescription description_;
  SagaPosition durable_;
  bool answered_ = false;  // before its end
  std::optional<Saga> saga_;
};

}  // namespace txcoord::script
