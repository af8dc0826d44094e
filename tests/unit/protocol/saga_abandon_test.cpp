// A saga that is told to go no step further (its reservation expired), at every moment there is.
#include <catch2/catch_test_macros.hpp>

#include "tests/unit/protocol/saga_support.hpp"

namespace txcoord::protocol {
namespace {

using namespace saga_test;

// The saga, abandoned while `step` is under way, after the answer and its record.
Saga abandoned_while_running(const SagaPlan& plan, std::size_t step, SagaEventKind answer) {
  Saga saga = running_at(plan, step);
  CHECK(feed(saga, SagaEventKind::abandon, "RESERVATION_EXPIRED").empty());
  CHECK(feed(saga, SagaEventKind::abandon, "SECOND").empty());
  feed(saga, answer, "CARD_DECLINED");
  return saga;
}

TEST_CASE("abandoned while a step is under way: its answer is waited for, then all is undone") {
  const SagaPlan plan = place_order_plan(3);
  for (std::size_t step = 0; can_be_undone(plan.steps[step]); ++step) {
    for (const SagaEventKind answer :
         {SagaEventKind::step_done, SagaEventKind::step_refused, SagaEventKind::step_failed}) {
      INFO(plan.steps[step].name << ' ' << to_string(answer));
      Saga saga = abandoned_while_running(plan, step, answer);
      const std::size_t to_undo = answer == SagaEventKind::step_refused ? step : step + 1;
      CHECK(undo_all(saga) == last_to_first(to_undo));
      CHECK(saga.position() ==
            SagaPosition{std::string(saga_failed), 0, "RESERVATION_EXPIRED", "detail"});
    }
  }
}

TEST_CASE("I10: what was undone before, for another reason, is the answer") {
  const SagaPlan plan = place_order_plan(3);
  Saga saga = running_at(plan, 1);
  saga.step({SagaEventKind::step_refused, "OUT_OF_STOCK", "book-456"});
  feed(saga, SagaEventKind::recorded);
  REQUIRE(saga.state() == SagaState::undoing);
  CHECK(feed(saga, SagaEventKind::compensated, "RESERVATION_EXPIRED").size() == 1);
  CHECK(saga.position() ==
        SagaPosition{std::string(saga_failed), 0, "RESERVATION_EXPIRED", "detail"});
}

TEST_CASE("abandoned while a state is recorded: the next step is not run") {
  const SagaPlan plan = place_order_plan(3);
  for (std::size_t done = 1; done < plan.steps.size(); ++done) {
    INFO(plan.steps[done].name);
    Saga saga = running_at(plan, done - 1);
    feed(saga, SagaEventKind::step_done);
    CHECK(feed(saga, SagaEventKind::abandon, "RESERVATION_EXPIRED").empty());
    CHECK(undo_all(saga) == last_to_first(done));
    CHECK(saga.position().reason == "RESERVATION_EXPIRED");
  }
}

TEST_CASE("abandoned before it is resumed: the step that a predecessor may have run is undone") {
  const SagaPlan plan = place_order_plan(3);
  for (const SagaPosition& position : positions_of(plan)) {
    if (position.undoing() || position.ended()) continue;
    INFO(script::text_of(plan, position));
    Saga saga(plan, position);
    CHECK(feed(saga, SagaEventKind::abandon, "RESERVATION_EXPIRED").empty());
    const SagaActions actions = feed(saga, SagaEventKind::start);
    REQUIRE(actions.size() == 1);
    if (can_be_undone(plan.steps[position.next])) {
      CHECK(undo_all(saga) == last_to_first(position.next + 1));
    } else {
      CHECK(actions[0].kind == SagaActionKind::run);  // it may be confirmed: too late
      CHECK(actions[0].step == position.next);
    }
  }
}

TEST_CASE("abandoned too late changes nothing") {
  // The point of no return is under way, in both plans that have one; and all that comes after it.
  for (const SagaPlan& plan : plans()) {
    for (std::size_t step = 0; step < plan.steps.size(); ++step) {
      if (can_be_undone(plan.steps[step])) continue;
      INFO(plan.type << ' ' << plan.steps[step].name);
      Saga saga = abandoned_while_running(plan, step, SagaEventKind::step_failed);
      CHECK(saga.state() == SagaState::running);
      feed(saga, SagaEventKind::step_done);
      CHECK(feed(saga, SagaEventKind::abandon, "RESERVATION_EXPIRED").empty());
      feed(saga, SagaEventKind::recorded);
      CHECK(saga.position() == SagaPosition{plan.steps[step].status_after, step + 1});
      CHECK((saga.state() == SagaState::running || saga.completed()));
    }
  }
  // On the way back the first reason stays.
  Saga saga = running_at(place_order_plan(3), 2);
  feed(saga, SagaEventKind::step_refused, "CARD_DECLINED");
  CHECK(feed(saga, SagaEventKind::abandon, "RESERVATION_EXPIRED").empty());
  CHECK(undo_all(saga) == last_to_first(2));
  CHECK(saga.position().reason == "CARD_DECLINED");
}

TEST_CASE("abandoned just before steps that must succeed: decided by what was recorded first") {
  const SagaPlan plan{.type = "t", .steps = {{"a", "A", "undo a"}, {"b", "COMPLETED", "", true}}};
  Saga saga = running_at(plan, 0);
  feed(saga, SagaEventKind::abandon, "RESERVATION_EXPIRED");
  feed(saga, SagaEventKind::step_done);
  CHECK(feed(saga, SagaEventKind::recorded).at(0).kind == SagaActionKind::run);
  feed(saga, SagaEventKind::step_done);
  feed(saga, SagaEventKind::recorded);
  CHECK(saga.completed());
}

}  // namespace
}  // namespace txcoord::protocol
