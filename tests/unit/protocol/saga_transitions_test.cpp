// A saga, every state with every event: what the table of saga.hpp allows leads where it says, and
// everything else throws and changes nothing.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <set>
#include <stdexcept>

#include "tests/scenarios/saga_script.hpp"

namespace txcoord::protocol {
namespace {

using Lines = std::vector<std::string>;

// One event that is possible, and what comes of it.
struct Step {
  std::string event;
  std::string state;
  Lines actions;
};

// A point that a saga can stand at, and everything that can happen there.
struct Situation {
  std::string name;
  Lines saga;
  Lines history;
  std::vector<Step> possible;
};

// `abandon` leads nowhere at once; what it does to the next event is in saga_test.cpp.
Step abandon_in(const std::string& state) { return {"abandon RESERVATION_EXPIRED", state, {}}; }

const Lines place = {"plan place_order", "tries_max 2", "conflict_tries_max 1", "stuck_after 3"};
const Lines cancel = {"plan cancel_order", "conflict_tries_max 1", "stuck_after 2"};

Lines at_position(Lines saga, const std::string& position) {
  saga.push_back("position " + position);
  return saga;
}

std::vector<Situation> starting() {
  return {
      {"idle, just started",
       place,
       {},
       {{"start", "running", {"run order.create"}}, abandon_in("idle")}},
      {"idle, read back on the way",
       at_position(place, "STOCK_RESERVED payment.charge"),
       {},
       {{"start", "running", {"run payment.charge"}}, abandon_in("idle")}},
      {"idle, abandoned",
       at_position(place, "STOCK_RESERVED payment.charge"),
       {"abandon RESERVATION_EXPIRED"},
       {{"start", "recording", {"record COMPENSATION_STARTED payment.charge RESERVATION_EXPIRED"}},
        abandon_in("idle")}},
      {"idle, read back on the way back",
       at_position(place, "COMPENSATION_STARTED payment.charge CARD_DECLINED"),
       {},
       {{"start", "undoing", {"undo payment.charge by payment.refund"}}, abandon_in("idle")}},
      {"idle, read back completed",
       at_position(place, "COMPLETED"),
       {},
       {{"start", "done", {"reply COMPLETED", "finish"}}, abandon_in("idle")}},
      {"idle, read back failed",
       {"plan place_order", "position FAILED"},
       {},
       {{"start", "done", {"reply FAILED", "finish"}}, abandon_in("idle")}},
  };
}

std::vector<Situation> running() {
  const Lines charging = at_position(place, "STOCK_RESERVED payment.charge");
  const Lines confirming = at_position(place, "PAYMENT_COMPLETED order.confirm");
  const Lines cancelling = at_position(cancel, "ORDER_CANCELLED shipping.cancel");
  return {
      {"running a step that can be undone",
       charging,
       {"start"},
       {{"step_done", "recording", {"record PAYMENT_COMPLETED shipping.arrange"}},
        {"step_refused CARD_DECLINED",
         "recording",
         {"record COMPENSATION_STARTED inventory.reserve CARD_DECLINED"}},
        {"step_failed", "running", {"run payment.charge #1"}},
        {"step_failed conflict", "running", {"run payment.charge #1"}},
        abandon_in("running")}},
      {"running its last try",
       charging,
       {"start", "step_failed"},
       {{"step_done", "recording", {"record PAYMENT_COMPLETED shipping.arrange"}},
        {"step_refused CARD_DECLINED",
         "recording",
         {"record COMPENSATION_STARTED inventory.reserve CARD_DECLINED"}},
        {"step_failed",
         "recording",
         {"record COMPENSATION_STARTED payment.charge PARTICIPANT_UNAVAILABLE"}},
        {"step_failed conflict", "running", {"run payment.charge #2"}},
        abandon_in("running")}},
      {"running, abandoned",
       charging,
       {"start", "abandon RESERVATION_EXPIRED"},
       {{"step_done", "recording", {"record PAYMENT_COMPLETED shipping.arrange"}},
        {"step_refused CARD_DECLINED",
         "recording",
         {"record COMPENSATION_STARTED inventory.reserve RESERVATION_EXPIRED"}},
        {"step_failed",
         "recording",
         {"record COMPENSATION_STARTED payment.charge RESERVATION_EXPIRED"}},
        {"step_failed conflict",
         "recording",
         {"record COMPENSATION_STARTED payment.charge RESERVATION_EXPIRED"}},
        abandon_in("running")}},
      {"running the point of no return after all tries",
       confirming,
       {"start", "step_failed", "step_failed"},
       {{"step_done", "recording", {"record COMPLETED"}},
        {"step_refused ILLEGAL_STATE",
         "recording",
         {"record COMPENSATION_STARTED shipping.arrange ILLEGAL_STATE"}},
        {"step_failed", "running", {"stuck order.confirm", "run order.confirm #3"}},
        {"step_failed conflict", "running", {"run order.confirm #3"}},
        abandon_in("running")}},
      {"running a step that must succeed",
       cancelling,
       {"start", "step_failed"},
       {{"step_done", "recording", {"record SHIPMENT_CANCELLED payment.refund"}},
        {"step_refused ILLEGAL_STATE",
         "running",
         {"stuck shipping.cancel", "run shipping.cancel #2"}},
        {"step_failed", "running", {"stuck shipping.cancel", "run shipping.cancel #2"}},
        {"step_failed conflict", "running", {"run shipping.cancel #2"}},
        abandon_in("running")}},
      {"running a step that is stuck",
       cancelling,
       {"start", "step_refused ILLEGAL_STATE"},
       {{"step_done",
         "recording",
         {"unstuck shipping.cancel", "record SHIPMENT_CANCELLED payment.refund"}},
        {"step_refused ILLEGAL_STATE", "running", {"run shipping.cancel #2"}},
        {"step_failed", "running", {"run shipping.cancel #2"}},
        {"step_failed conflict", "running", {"run shipping.cancel #2"}},
        abandon_in("running")}},
  };
}

std::vector<Situation> recording() {
  const Lines charging = at_position(place, "STOCK_RESERVED payment.charge");
  const Lines charged = {"start", "step_done"};
  Lines charged_and_abandoned = charged;
  charged_and_abandoned.push_back("abandon RESERVATION_EXPIRED");
  Lines unanswered = charged;
  unanswered.insert(unanswered.end(), 2, "record_failed");
  return {
      {"recording a step done",
       charging,
       charged,
       {{"recorded", "running", {"run shipping.arrange"}},
        {"record_failed", "recording", {"record PAYMENT_COMPLETED shipping.arrange #1"}},
        abandon_in("recording")}},
      {"recording a step done, again",
       charging,
       unanswered,
       {{"recorded", "running", {"run shipping.arrange"}},
        {"record_failed", "recording", {"record PAYMENT_COMPLETED shipping.arrange #3"}},
        abandon_in("recording")}},
      {"recording a step done, abandoned",
       charging,
       charged_and_abandoned,
       {{"recorded",
         "recording",
         {"record COMPENSATION_STARTED payment.charge RESERVATION_EXPIRED"}},
        {"record_failed", "recording", {"record PAYMENT_COMPLETED shipping.arrange #1"}},
        abandon_in("recording")}},
      {"recording the turn",
       charging,
       {"start", "step_refused CARD_DECLINED"},
       {{"recorded", "undoing", {"undo inventory.reserve by inventory.release"}},
        {"record_failed",
         "recording",
         {"record COMPENSATION_STARTED inventory.reserve CARD_DECLINED #1"}},
        abandon_in("recording")}},
      {"recording that the first step was refused",
       place,
       {"start", "step_refused UNKNOWN_CUSTOMER"},
       {{"recorded", "done", {"reply FAILED UNKNOWN_CUSTOMER", "finish"}},
        {"record_failed", "recording", {"record FAILED UNKNOWN_CUSTOMER #1"}},
        abandon_in("recording")}},
      {"recording a step undone",
       at_position(place, "COMPENSATION_STARTED payment.charge CARD_DECLINED"),
       {"start", "compensated"},
       {{"recorded", "undoing", {"undo inventory.reserve by inventory.release"}},
        {"record_failed",
         "recording",
         {"record COMPENSATION_STARTED inventory.reserve CARD_DECLINED #1"}},
        abandon_in("recording")}},
      {"recording COMPLETED",
       at_position(place, "PAYMENT_COMPLETED order.confirm"),
       {"start", "step_done"},
       {{"recorded", "done", {"reply COMPLETED", "finish"}},
        {"record_failed", "recording", {"record COMPLETED #1"}},
        abandon_in("recording")}},
  };
}

std::vector<Situation> undoing_and_done() {
  const Lines refunding = at_position(place, "COMPENSATION_STARTED payment.charge CARD_DECLINED");
  const Lines failing = at_position(place, "COMPENSATION_STARTED order.create CARD_DECLINED");
  return {
      {"undoing",
       refunding,
       {"start"},
       {{"compensated",
         "recording",
         {"record COMPENSATION_STARTED inventory.reserve CARD_DECLINED"}},
        {"compensation_failed", "undoing", {"undo payment.charge by payment.refund #1"}},
        {"compensation_failed conflict", "undoing", {"undo payment.charge by payment.refund #1"}},
        {"compensation_refused ILLEGAL_STATE",
         "undoing",
         {"stuck payment.charge", "undo payment.charge by payment.refund #1"}},
        abandon_in("undoing")}},
      {"undoing, before it is shown as stuck",
       refunding,
       {"start", "compensation_failed", "compensation_failed"},
       {{"compensated",
         "recording",
         {"record COMPENSATION_STARTED inventory.reserve CARD_DECLINED"}},
        {"compensation_failed",
         "undoing",
         {"stuck payment.charge", "undo payment.charge by payment.refund #3"}},
        {"compensation_failed conflict", "undoing", {"undo payment.charge by payment.refund #3"}},
        {"compensation_refused ILLEGAL_STATE",
         "undoing",
         {"stuck payment.charge", "undo payment.charge by payment.refund #3"}},
        abandon_in("undoing")}},
      {"undoing, stuck",
       refunding,
       {"start", "compensation_refused ILLEGAL_STATE"},
       {{"compensated",
         "recording",
         {"unstuck payment.charge", "record COMPENSATION_STARTED inventory.reserve CARD_DECLINED"}},
        {"compensation_failed", "undoing", {"undo payment.charge by payment.refund #2"}},
        {"compensation_failed conflict", "undoing", {"undo payment.charge by payment.refund #2"}},
        {"compensation_refused ILLEGAL_STATE",
         "undoing",
         {"undo payment.charge by payment.refund #2"}},
        abandon_in("undoing")}},
      {"undoing the first step",
       failing,
       {"start"},
       {{"compensated", "recording", {"record FAILED CARD_DECLINED"}},
        {"compensation_failed", "undoing", {"undo order.create by order.fail #1"}},
        {"compensation_failed conflict", "undoing", {"undo order.create by order.fail #1"}},
        {"compensation_refused ILLEGAL_STATE",
         "undoing",
         {"stuck order.create", "undo order.create by order.fail #1"}},
        abandon_in("undoing")}},
      {"done, completed",
       at_position(place, "PAYMENT_COMPLETED order.confirm"),
       {"start", "step_done", "recorded"},
       {abandon_in("done")}},
      {"done, failed", failing, {"start", "compensated", "recorded"}, {abandon_in("done")}},
  };
}

std::vector<Situation> situations() {
  std::vector<Situation> all;
  for (const auto& part : {starting(), running(), recording(), undoing_and_done()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

Saga at(const Situation& situation) {
  const script::SagaDescription description = script::saga_description(situation.saga);
  Saga saga(description.plan, description.position);
  for (const std::string& event : situation.history) saga.step(script::saga_event_of(event));
  return saga;
}

Lines texts_of_step(Saga& saga, const std::string& event) {
  const SagaActions actions = saga.step(script::saga_event_of(event));
  return script::texts_of(saga, actions);
}

TEST_CASE("every possible event of a saga leads where the table says") {
  for (const Situation& situation : situations()) {
    for (const Step& step : situation.possible) {
      INFO(situation.name << ": " << step.event);
      Saga saga = at(situation);
      CHECK(texts_of_step(saga, step.event) == step.actions);
      CHECK(to_string(saga.state()) == step.state);
    }
  }
}

TEST_CASE("every impossible event of a saga throws and changes nothing") {
  for (const Situation& situation : situations()) {
    for (int kind = 0; kind <= static_cast<int>(SagaEventKind::abandon); ++kind) {
      const SagaEvent event{static_cast<SagaEventKind>(kind), "ILLEGAL_STATE"};
      const auto takes = [&](const Step& step) {
        return script::saga_event_of(step.event).kind == event.kind;
      };
      if (std::ranges::any_of(situation.possible, takes)) continue;
      INFO(situation.name << ": " << to_string(event.kind));
      Saga saga = at(situation);
      CHECK_THROWS_AS(saga.step(event), std::logic_error);
      CHECK(saga.state() == at(situation).state());
      CHECK(saga.position() == at(situation).position());
      for (const Step& step : situation.possible) {
        Saga copy = saga;
        CHECK(texts_of_step(copy, step.event) == step.actions);
      }
    }
  }
}

TEST_CASE("every state, event kind and action kind of a saga is met by the situations") {
  std::set<std::string> states, events, actions;
  for (const Situation& situation : situations()) {
    states.emplace(to_string(at(situation).state()));
    for (const Step& step : situation.possible) {
      events.insert(script::words(step.event)[0]);
      for (const std::string& action : step.actions) actions.insert(script::words(action)[0]);
    }
  }
  CHECK(states.size() == static_cast<std::size_t>(SagaState::done) + 1);
  CHECK(events.size() == static_cast<std::size_t>(SagaEventKind::abandon) + 1);
  CHECK(actions.size() == static_cast<std::size_t>(SagaActionKind::finish) + 1);
}

}  // namespace
}  // namespace txcoord::protocol
