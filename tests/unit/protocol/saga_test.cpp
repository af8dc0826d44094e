// What a saga promises, whatever its plan: the way back in exact reverse order, tries and conflicts
// counted apart, and going on from every position after a crash.
#include <catch2/catch_test_macros.hpp>
#include <set>
#include <stdexcept>

#include "tests/unit/protocol/saga_support.hpp"

namespace txcoord::protocol {
namespace {

using namespace saga_test;
using Lines = std::vector<std::string>;

TEST_CASE("a saga follows the plan of its type; one of an unknown type is run by no guess") {
  for (const SagaPlan& plan : plans()) CHECK(plan_of_type(plan.type, 3).type == plan.type);
  CHECK(plan_of_type(place_order_type, 7).tries_max == 7);
  CHECK(plan_of_type(accepted_order_type, 7).tries_max == 0);
  CHECK_THROWS_AS(plan_of_type("ship_order", 3), std::invalid_argument);
}

TEST_CASE("the plans are what the design says") {
  Lines lines;
  for (const SagaPlan& plan : plans())
    for (const SagaStep& step : plan.steps)
      lines.push_back(plan.type + ": " + step.name + " → " + step.status_after +
                      (can_be_undone(step) ? ", undone by " + step.compensation : "") +
                      (step.must_succeed ? ", must succeed" : "") +
                      (step.until_answered ? ", until answered" : "") +
                      (step.name == plan.answer_after ? ", answers" : ""));
  CHECK(
      lines ==
      Lines{
          "place_order: order.create → ORDER_CREATED, undone by order.fail",
          "place_order: inventory.reserve → STOCK_RESERVED, undone by inventory.release",
          "place_order: payment.charge → PAYMENT_COMPLETED, undone by payment.refund",
          "place_order: shipping.arrange → PAYMENT_COMPLETED, undone by shipping.cancel",
          "place_order: order.confirm → COMPLETED",
          "cancel_order: order.cancel → ORDER_CANCELLED",
          "cancel_order: shipping.cancel → SHIPMENT_CANCELLED, must succeed",
          "cancel_order: payment.refund → PAYMENT_REFUNDED, must succeed",
          "cancel_order: inventory.release → COMPLETED, must succeed",
          "place_order_2pc: order.create → ORDER_CREATED, undone by order.fail",
          "place_order_2pc: transact → COMPLETED",
          "place_order_pay_later: order.create → ORDER_CREATED, undone by order.fail",
          "place_order_pay_later: inventory.reserve → STOCK_RESERVED, undone by inventory.release",
          "place_order_pay_later: shipping.arrange → SHIPMENT_ARRANGED, undone by shipping.cancel",
          "place_order_pay_later: order.confirm → ORDER_CONFIRMED, undone by order.revoke, until "
          "answered, answers",
          "place_order_pay_later: payment.charge → COMPLETED, undone by payment.refund, until "
          "answered",
          "place_order_ship_by_hand: order.create → ORDER_CREATED, undone by order.fail",
          "place_order_ship_by_hand: inventory.reserve → STOCK_RESERVED, undone by "
          "inventory.release",
          "place_order_ship_by_hand: payment.charge → PAYMENT_COMPLETED, undone by payment.refund",
          "place_order_ship_by_hand: order.confirm → ORDER_CONFIRMED, undone by order.revoke, "
          "until answered, answers",
          "place_order_ship_by_hand: shipping.arrange → COMPLETED, undone by shipping.cancel, "
          "until answered",
          "place_order_pay_later_ship_by_hand: order.create → ORDER_CREATED, undone by order.fail",
          "place_order_pay_later_ship_by_hand: inventory.reserve → STOCK_RESERVED, undone by "
          "inventory.release",
          "place_order_pay_later_ship_by_hand: order.confirm → ORDER_CONFIRMED, undone by "
          "order.revoke, until answered, answers",
          "place_order_pay_later_ship_by_hand: payment.charge → PAYMENT_COMPLETED, undone by "
          "payment.refund, until answered",
          "place_order_pay_later_ship_by_hand: shipping.arrange → COMPLETED, undone by "
          "shipping.cancel, until answered",
      });
  CHECK(place_order_plan(5).tries_max == 5);
  CHECK(accepted_order_plan().tries_max == 0);
}

TEST_CASE("a plan whose answer could be given up, or never comes, is refused") {
  SagaPlan plan = place_order_later_plan(true, false, 3);
  plan.answer_after = "order.ship";
  CHECK_THROWS_AS(check(plan), std::invalid_argument);
  plan.answer_after = "shipping.arrange";  // which may be given up
  CHECK_THROWS_AS(check(plan), std::invalid_argument);
  plan.answer_after.clear();
  CHECK_NOTHROW(check(plan));
}

TEST_CASE("a plan that could end half done is refused") {
  const SagaStep undoable{"a", "A", "undo a"}, no_return{"b", "B", ""}, must{"c", "C", "", true};
  const auto ending = [](SagaStep step) {
    step.status_after = "COMPLETED";
    return step;
  };
  const auto refused = [](std::vector<SagaStep> steps) {
    CHECK_THROWS_AS(check({.type = "t", .steps = std::move(steps)}), std::invalid_argument);
  };
  const auto taken = [](std::vector<SagaStep> steps) {
    CHECK_NOTHROW(check({.type = "t", .steps = std::move(steps)}));
  };
  taken({ending(undoable)});
  taken({ending(no_return)});
  taken({ending(must)});
  taken({undoable, no_return, ending(must)});
  taken({undoable, ending(must)});

  refused({});
  // After the point of no return nothing may be refused, and what is done there cannot be undone.
  refused({no_return, ending(undoable)});
  refused({must, ending(undoable)});
  refused({must, ending(no_return)});
  refused({no_return, ending({"b2", "B", ""})});
  refused({undoable, ending({"c", "C", "undo c", true})});
  // A name stands for one step in the log, and for one barrier in a participant.
  refused({undoable, ending(undoable)});
  refused({undoable, ending({"d", "D", "undo a"})});
  refused({undoable, ending({"d", "D", "a"})});
  refused({ending({"", "A", "undo a"})});
  // The end, and only the end, is COMPLETED.
  refused({undoable});
  refused({ending(undoable), ending(must)});
  refused({{"a", "FAILED", "undo a"}, ending(must)});
  refused({{"a", "COMPENSATION_STARTED", "undo a"}, ending(must)});
}

TEST_CASE("every position of every plan is read back from the log as it was written") {
  for (const SagaPlan& plan : plans()) {
    std::set<std::pair<std::string, std::string>> written;
    const std::vector<SagaPosition> positions = positions_of(plan);
    for (const SagaPosition& position : positions) {
      INFO(plan.type << ' ' << script::text_of(plan, position));
      const std::string step = current_step(plan, position);
      CHECK(read_position(plan, position.status, step, position.reason, position.detail) ==
            position);
      CHECK(written.emplace(position.status, step).second);
    }
  }
}

TEST_CASE("what a plan cannot have written is not read") {
  const SagaPlan plan = place_order_plan(3);
  const auto refused = [&plan](const char* status, const char* step) {
    INFO(status << ' ' << step);
    CHECK_THROWS_AS(read_position(plan, status, step, {}, {}), std::invalid_argument);
  };
  refused("STARTED", "");
  refused("STARTED", "transact");
  refused("STARTED", "inventory.reserve");
  refused("ORDER_CREATED", "order.create");
  refused("ORDER_CREATED", "inventory.release");  // a compensation is no step
  refused("PAYMENT_COMPLETED", "payment.charge");
  refused("LOST", "order.create");
  refused("COMPENSATION_STARTED", "");
  refused("COMPENSATION_STARTED", "order.confirm");
  refused("COMPLETED", "order.confirm");
  refused("FAILED", "order.create");
  CHECK_THROWS_AS(Saga(plan, {"ORDER_CREATED", 2}), std::invalid_argument);
  CHECK_THROWS_AS(Saga(plan, {"COMPENSATION_STARTED", 0}), std::invalid_argument);
  CHECK_THROWS_AS(Saga(plan, {"COMPENSATION_STARTED", 6}), std::invalid_argument);
  CHECK_THROWS_AS(Saga(plan, {"COMPLETED", 4}), std::invalid_argument);
}

TEST_CASE("I8 every record is further than the one before, so that a late one can be told") {
  const SagaPlan all_undoable{.type = "t",
                              .steps = {{"a", "A", "undo a"}, {"b", "COMPLETED", "undo b"}}};
  std::vector<SagaPlan> all = plans();
  all.push_back(all_undoable);
  for (const SagaPlan& plan : all) {
    const std::vector<SagaPosition> positions = positions_of(plan);
    for (std::size_t i = 1; i < positions.size(); ++i) {
      INFO(plan.type << ' ' << script::text_of(plan, positions[i]));
      CHECK(progress(plan, positions[i]) > progress(plan, positions[i - 1]));
    }
  }
}

TEST_CASE("from every position a new process goes on with what is next") {
  for (const SagaPlan& plan : plans()) {
    for (const SagaPosition& position : positions_of(plan)) {
      INFO(plan.type << ' ' << script::text_of(plan, position));
      Saga saga(plan, position);
      CHECK(saga.state() == SagaState::idle);
      CHECK(saga.position() == position);
      const SagaActions actions = feed(saga, SagaEventKind::start);
      REQUIRE_FALSE(actions.empty());
      CHECK(actions[0].attempt == 0);
      if (position.ended()) {
        CHECK(actions.size() == 2);
        CHECK(actions[0].kind == SagaActionKind::reply);
        CHECK(saga.completed() == (position.status == saga_completed));
      } else {
        CHECK(actions.size() == 1);
        CHECK(actions[0].kind == (position.undoing() ? SagaActionKind::undo : SagaActionKind::run));
        CHECK(plan.steps.at(actions[0].step).name == current_step(plan, position));
      }
    }
  }
}

TEST_CASE("a refused step is not compensated, all before it are, last first") {
  for (const SagaPlan& plan : plans()) {
    for (std::size_t step = 0; step < plan.steps.size(); ++step) {
      if (plan.steps[step].must_succeed) continue;
      INFO(plan.type << ' ' << plan.steps[step].name);
      Saga saga = running_at(plan, step);
      feed(saga, SagaEventKind::step_refused, "OUT_OF_STOCK");
      CHECK(undo_all(saga) == last_to_first(step));
      CHECK(saga.position() == SagaPosition{std::string(saga_failed), 0, "OUT_OF_STOCK", "detail"});
    }
  }
}

TEST_CASE("a step given up without an answer is compensated first, then all before it") {
  const SagaPlan plan = place_order_plan(3);
  for (std::size_t step = 0; step < plan.steps.size() && can_be_undone(plan.steps[step]); ++step) {
    INFO(plan.steps[step].name);
    Saga saga = running_at(plan, step);
    for (std::uint32_t failure = 1; failure < plan.tries_max; ++failure) {
      const SagaActions again = feed(saga, SagaEventKind::step_failed);
      REQUIRE(again.size() == 1);
      CHECK(again[0].kind == SagaActionKind::run);
      CHECK(again[0].attempt == failure);
      CHECK(saga.attempts() == failure);
    }
    feed(saga, SagaEventKind::step_failed);
    CHECK(undo_all(saga) == last_to_first(step + 1));
    CHECK(saga.position() ==
          SagaPosition{std::string(saga_failed), 0, "PARTICIPANT_UNAVAILABLE", "detail"});
  }
}

TEST_CASE("I8 what may have been done and cannot be undone is never given up") {
  for (const SagaPlan& plan : plans()) {
    for (std::size_t step = 0; step < plan.steps.size(); ++step) {
      if (can_be_undone(plan.steps[step])) continue;
      INFO(plan.type << ' ' << plan.steps[step].name);
      Saga saga = running_at(plan, step);
      std::size_t shown = 0;
      for (std::uint32_t failure = 1; failure <= 40; ++failure) {
        const SagaActions actions = feed(saga, SagaEventKind::step_failed);
        if (actions.front().kind == SagaActionKind::stuck) shown = failure;
        REQUIRE(actions.back().kind == SagaActionKind::run);
        REQUIRE(actions.back().step == step);
        CHECK(saga.stuck() == (failure >= plan.stuck_after));
      }
      CHECK(shown == plan.stuck_after);
      CHECK(feed(saga, SagaEventKind::step_done).front().kind == SagaActionKind::unstuck);
      CHECK_FALSE(saga.stuck());
    }
  }
}

TEST_CASE("a compensation is tried for ever, and nothing else is undone meanwhile") {
  const SagaPlan plan = place_order_plan(3);
  for (const SagaEventKind answer :
       {SagaEventKind::compensation_failed, SagaEventKind::compensation_refused}) {
    Saga saga(plan, {std::string(saga_compensating), 3, "CARD_DECLINED", {}});
    feed(saga, SagaEventKind::start);
    std::size_t shown = 0;
    for (std::uint32_t failure = 1; failure <= 40; ++failure) {
      const SagaActions actions = feed(saga, answer);
      shown += actions.front().kind == SagaActionKind::stuck ? 1 : 0;
      REQUIRE(actions.back().kind == SagaActionKind::undo);
      REQUIRE(actions.back().step == 2);
      CHECK(actions.back().attempt == failure);
      const bool at_once = answer == SagaEventKind::compensation_refused;
      CHECK(saga.stuck() == (at_once || failure >= plan.stuck_after));
    }
    CHECK(shown == 1);
    feed(saga, SagaEventKind::compensated);
    CHECK_FALSE(saga.stuck());
    CHECK(undo_all(saga) == last_to_first(2));
  }
}

TEST_CASE("conflicts are free up to their own limit and use no tries, in any order") {
  SagaPlan plan = place_order_plan(2);
  plan.conflict_tries_max = 3;
  // C: a conflict, F: a failure. The last one of each is the one that gives the step up.
  for (const std::string failures : {"FF", "CCCFF", "FCCCF", "CCCCC", "CCFCC", "FCCF"}) {
    INFO(failures);
    Saga saga = running_at(plan, 1);
    for (std::size_t i = 0; i < failures.size(); ++i) {
      CHECK(saga.state() == SagaState::running);
      saga.step({.kind = SagaEventKind::step_failed, .conflict = failures[i] == 'C'});
    }
    CHECK(saga.state() == SagaState::recording);
    CHECK(saga.position().reason == saga_participant_unavailable);
  }
}

TEST_CASE("tries, conflicts and record attempts start again with the next step") {
  SagaPlan plan = place_order_plan(2);
  plan.conflict_tries_max = 1;
  Saga saga = running_at(plan, 0);
  for (std::size_t step = 0; step + 1 < plan.steps.size(); ++step) {
    INFO(plan.steps[step].name);
    saga.step({.kind = SagaEventKind::step_failed, .conflict = true});
    const SagaActions again = feed(saga, SagaEventKind::step_failed);
    REQUIRE(again.size() == 1);
    CHECK(again[0].attempt == 2);
    CHECK(feed(saga, SagaEventKind::step_done).at(0).attempt == 0);
    CHECK(feed(saga, SagaEventKind::record_failed).at(0).attempt == 1);
    CHECK(saga.attempts() == 0);
    CHECK(feed(saga, SagaEventKind::recorded).at(0).attempt == 0);
  }
}

TEST_CASE("an accepted order is tried as long as it takes") {
  Saga saga = running_at(accepted_order_plan(), 0);
  for (int failure = 0; failure < 100; ++failure) feed(saga, SagaEventKind::step_failed);
  CHECK(saga.state() == SagaState::running);
  CHECK(saga.position() == SagaPosition{});
}

}  // namespace
}  // namespace txcoord::protocol
