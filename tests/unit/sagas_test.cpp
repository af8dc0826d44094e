// The engine's sagas with participants and a log in memory: what is sent when, what is durable
// before it, what is answered, and what a coordinator that comes after makes of what it finds.
#include "txcoord/engine/sagas.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "tests/unit/coordinator_rig.hpp"
#include "txcoord/engine/saga_steps.hpp"
#include "txcoord/log/saga_payload.hpp"
#include "txcoord/protocol/saga_plans.hpp"

using namespace txcoord;
using namespace txcoord::engine;
using namespace txcoord::testing;

namespace {

const SubmitOptions as_saga{.protocol = Protocol::saga};
const SubmitOptions accept_saga{.protocol = Protocol::saga, .accept_now = true};
const SubmitOptions accept_2pc{.accept_now = true};

// A valid uuid for each key, so that payloads and orders read like real ones.
std::string order_id_of(char last) {
  return std::string("0190a000-0000-7000-8000-00000000000") + last;
}

std::shared_ptr<Operation> order(Rig& rig, char key) {
  auto operation = rig.operation(std::string("key-") + key);
  operation->order_id = order_id_of(key);
  operation->place.customer_id = "customer-001";
  operation->place.items = {{"book-123", 1, 3500, order_id_of('f')}};
  operation->place.total_amount = 3500;
  operation->place.payment_id = order_id_of('d');
  operation->place.shipment_id = order_id_of('e');
  operation->answer = "{}";
  return operation;
}

const FakeSagaLog::Row& only_row(const Rig& rig) {
  REQUIRE(rig.saga_log.rows.size() == 1);
  return rig.saga_log.rows.begin()->second;
}

std::vector<std::string> statuses(const FakeSagaLog::Row& row) {
  std::vector<std::string> seen;
  for (const auto& entry : row.history) seen.push_back(entry.status);
  return seen;
}

StepReply refuse(const std::string& reason) { return {StepStatus::refused, reason, "as told"}; }

}  // namespace

TEST_CASE("every step of every plan has somebody who does it, and its undoing too") {
  for (const auto& plan :
       {protocol::place_order_plan(3), protocol::cancel_order_plan(),
        protocol::accepted_order_plan(), protocol::place_order_later_plan(true, true, 3)}) {
    for (const auto& step : plan.steps) {
      CHECK_NOTHROW(target_of(step.name));
      if (!step.compensation.empty())
        CHECK(target_of(step.compensation).participant == target_of(step.name).participant);
    }
  }
  CHECK_THROWS_AS(target_of("inventory.forget"), std::logic_error);
}

TEST_CASE("B1: a saga completes; each state is durable before the next step is asked for") {
  Rig rig;
  const auto result = rig.submit(order(rig, 'a'), as_saga);
  CHECK(result.status == SubmitStatus::confirmed);
  CHECK(result.applied);
  CHECK(result.transaction_id == rig.saga_log.rows.begin()->first);
  CHECK(statuses(only_row(rig)) == std::vector<std::string>{"STARTED", "ORDER_CREATED",
                                                            "STOCK_RESERVED", "PAYMENT_COMPLETED",
                                                            "PAYMENT_COMPLETED", "COMPLETED"});
  const auto& trace = rig.script.trace;
  CHECK(position(trace, "sagas.start done") < position(trace, "order.create"));
  const std::vector<std::string> steps{"order.create", "inventory.reserve", "payment.charge",
                                       "shipping.arrange", "order.confirm"};
  std::size_t last = 0;
  for (const auto& step : steps) {
    REQUIRE(count(trace, step) == 1);
    const std::size_t asked = position(trace, step);
    if (step != steps.front()) CHECK(trace.at(asked - 1) == "sagas.record done");
    CHECK(asked > last);
    last = asked;
  }
  CHECK(count(trace, "sagas.record") == 5);
}

TEST_CASE(
    "B2: a refused card is told to the client when everything before it is undone, in reverse") {
  Rig rig;
  rig.payment.answer_step = [](const auto&, const auto& request) {
    return request.step == "charge" ? refuse("CARD_DECLINED") : StepReply{};
  };
  const auto result = rig.submit(order(rig, 'a'), as_saga);
  CHECK(result.status == SubmitStatus::refused);
  CHECK(result.reason == "CARD_DECLINED");
  const auto& trace = rig.script.trace;
  CHECK(count(trace, "payment.refund") == 0);  // a refused step did nothing
  CHECK(count(trace, "shipping.arrange") == 0);
  CHECK(position(trace, "inventory.release") < position(trace, "order.fail"));
  const auto& row = only_row(rig);
  CHECK(row.instance.status == "FAILED");
  CHECK(row.instance.reason == "CARD_DECLINED");
  CHECK_FALSE(row.outcome.pending);
  CHECK_FALSE(row.outcome.confirmed);
}

TEST_CASE(
    "B5: a step that nobody answers is tried three times, then undone like one that was done") {
  Rig rig;
  for (int i = 0; i < 3; ++i) rig.script.fail("shipping.arrange", of_kind(FailureKind::error));
  const auto result = rig.submit(order(rig, 'a'), as_saga);
  CHECK(result.status == SubmitStatus::refused);
  CHECK(result.reason == "PARTICIPANT_UNAVAILABLE");
  const auto& trace = rig.script.trace;
  CHECK(count(trace, "shipping.arrange") == 3);
  for (const char* undo : {"shipping.cancel", "payment.refund", "inventory.release", "order.fail"})
    CHECK(count(trace, undo) == 1);
  CHECK(only_row(rig).instance.status == "FAILED");
}

TEST_CASE("conflicts do not count as tries: a deadlock is no reason to give an order up") {
  Rig rig;
  for (int i = 0; i < 5; ++i) rig.script.fail("inventory.reserve", of_kind(FailureKind::deadlock));
  CHECK(rig.submit(order(rig, 'a'), as_saga).status == SubmitStatus::confirmed);
  CHECK(count(rig.script.trace, "inventory.reserve") == 6);
}

TEST_CASE("a step whose answer was lost is asked again, and its effect is there once") {
  Rig rig;
  Failure lost = of_kind(FailureKind::error);
  lost.outcome_unknown = true;
  rig.script.fail("payment.charge", lost);
  CHECK(rig.submit(order(rig, 'a'), as_saga).status == SubmitStatus::confirmed);
  CHECK(count(rig.script.trace, "payment.charge") == 2);
  CHECK(rig.payment.done.size() == 1);
}

TEST_CASE("sagas that wait for the same step share one call, one saga alone waits for nobody") {
  Rig rig;
  rig.script.hold("order.create");
  std::vector<std::shared_ptr<std::optional<SubmitResult>>> results;
  for (const char key : {'1', '2', '3', '4', '5', '6', '7', '8', '9'})
    results.push_back(rig.start(order(rig, key), as_saga));
  REQUIRE(rig.run_until([&] {
    return rig.saga_log.rows.size() == 9 && count(rig.script.trace, "order.create") == 1;
  }));
  rig.script.let_go("order.create");
  for (const auto& result : results) {
    REQUIRE(rig.run_until([&] { return result->has_value(); }));
    CHECK((*result)->status == SubmitStatus::confirmed);
  }
  CHECK(rig.order.largest_step == 8);
  CHECK(rig.inventory.done.size() == 9);
}

TEST_CASE("a poisoned saga fails alone: its batch is split until the others are through") {
  Rig rig;
  rig.script.hold("sagas.start");
  std::vector<std::shared_ptr<std::optional<SubmitResult>>> results;
  for (const char key : {'1', '2', '3', '4'})
    results.push_back(rig.start(order(rig, key), as_saga));
  rig.inventory.poison_order = order_id_of('3');
  // A trigger may raise any code, and a service may say what nobody understands after the work.
  const auto poison =
      GENERATE(Failure{FailureKind::poison, false, "22003", "too large"},
               Failure{FailureKind::error, false, "ZZ999", "raised by a trigger"},
               Failure{FailureKind::timeout, false, "57014", "it ran too long"},
               Failure{FailureKind::unreadable, true, "", "a reply without a name"});
  rig.inventory.poison_failure = poison;
  rig.script.let_go("sagas.start");
  for (const std::size_t other : {0, 1, 3}) {
    REQUIRE(rig.run_until([&] { return results[other]->has_value(); }));
    CHECK((*results[other])->status == SubmitStatus::confirmed);
  }
  if (poison.kind != FailureKind::poison) return;
  REQUIRE(rig.run_until([&] { return results[2]->has_value(); }));
  CHECK((*results[2])->status == SubmitStatus::refused);
  CHECK((*results[2])->reason == "VALIDATION_FAILED");
}

TEST_CASE("I5: one key, one saga; its outcome is replayed, another body is refused") {
  Rig rig;
  const auto first = rig.submit(order(rig, 'a'), as_saga);
  const auto again = rig.submit(order(rig, 'a'), as_saga);
  CHECK(again.status == SubmitStatus::replayed);
  REQUIRE(again.stored);
  CHECK(again.stored->confirmed);
  CHECK(again.stored->gid == first.transaction_id);
  auto other = order(rig, 'a');
  other->fingerprint[0] = 1;
  CHECK(rig.submit(other, as_saga).status == SubmitStatus::key_reused);
  CHECK(rig.order.done.size() == 2);  // created and confirmed, once
}

TEST_CASE("D1: an accepted order is answered when it is durable, and tried until it is done") {
  Rig rig;
  for (int i = 0; i < 7; ++i) rig.script.fail("inventory.reserve", of_kind(FailureKind::error));
  const auto result = rig.submit(order(rig, 'a'), accept_saga);
  CHECK(result.status == SubmitStatus::accepted);
  CHECK(position(rig.script.trace, "sagas.start done") < rig.script.trace.size());
  REQUIRE(rig.run_until([&] { return only_row(rig).instance.status == "COMPLETED"; }));
  CHECK(count(rig.script.trace, "inventory.reserve") == 8);
  CHECK(only_row(rig).outcome.confirmed);
}

TEST_CASE("D2: the key of an accepted order that is pending gives 202 again, for the first order") {
  Rig rig;
  rig.script.hold("payment.charge");
  CHECK(rig.submit(order(rig, 'a'), accept_saga).status == SubmitStatus::accepted);
  auto again = order(rig, 'a');
  again->order_id = order_id_of('b');
  const auto replay = rig.submit(again, accept_saga);
  CHECK(replay.status == SubmitStatus::accepted);
  REQUIRE(replay.stored);
  CHECK(replay.stored->order_id == order_id_of('a'));
  rig.script.let_go("payment.charge");
  REQUIRE(rig.run_until([&] { return only_row(rig).instance.status == "COMPLETED"; }));
}

TEST_CASE("D3: what waits for its next try says how often it was tried, when, and why") {
  auto settings = quick_settings();
  settings.saga.retry_ms_min = settings.saga.retry_ms_max = 60'000;
  Rig rig(settings);
  rig.script.fail("payment.charge", {FailureKind::error, false, "XX000", "secret words"});
  CHECK(rig.submit(order(rig, 'a'), accept_saga).status == SubmitStatus::accepted);
  REQUIRE(rig.run_until([&] { return only_row(rig).instance.attempts == 1; }));
  const auto& instance = only_row(rig).instance;
  CHECK(instance.next_retry_at);
  CHECK(instance.last_error == "payment.charge: error (XX000)");
  const auto seen = rig.coordinator.pending(order_id_of('a'));
  REQUIRE(seen);
  CHECK(seen->waiting_for == std::vector<std::string>{"payment"});
}

TEST_CASE("D6: an accepted order needs the log alone; it waits for the database that is away") {
  Rig rig;
  rig.inventory.away = true;
  REQUIRE(rig.run_until([&] { return !rig.coordinator.ready(); }));
  CHECK(rig.submit(order(rig, 'a'), as_saga).status == SubmitStatus::unavailable);
  CHECK(rig.submit(order(rig, 'b'), accept_saga).status == SubmitStatus::accepted);
  REQUIRE(rig.run_until([&] { return only_row(rig).instance.status == "ORDER_CREATED"; }));
  rig.inventory.away = false;
  REQUIRE(rig.run_until([&] { return only_row(rig).instance.status == "COMPLETED"; }));
}

TEST_CASE("an accepted order in 2PC mode stands PENDING, then goes through one group") {
  Rig rig;
  CHECK(rig.submit(order(rig, 'a'), accept_2pc).status == SubmitStatus::accepted);
  REQUIRE(rig.run_until([&] { return only_row(rig).instance.status == "COMPLETED"; }));
  const auto& trace = rig.script.trace;
  CHECK(position(trace, "order.create done") < position(trace, "order.vote"));
  CHECK(count(trace, "log.decide") == 1);
  CHECK(rig.log.stored.contains({"accepted", order_id_of('a')}));
  CHECK(only_row(rig).outcome.confirmed);
}

TEST_CASE("an accepted order that 2PC refuses leaves a FAILED order with its reason") {
  Rig rig;
  rig.inventory.judge_one = [](const Operation&) {
    return protocol::Vote{protocol::Answer::no, true, "OUT_OF_STOCK", "none left"};
  };
  CHECK(rig.submit(order(rig, 'a'), accept_2pc).status == SubmitStatus::accepted);
  REQUIRE(rig.run_until([&] { return only_row(rig).instance.status == "FAILED"; }));
  CHECK(only_row(rig).instance.reason == "OUT_OF_STOCK");
  CHECK(count(rig.script.trace, "order.fail") == 1);
}

TEST_CASE("A5: an order whose reservation expired goes no further and is undone") {
  auto settings = quick_settings();
  settings.saga.retry_ms_min = settings.saga.retry_ms_max = 60'000;
  Rig rig(settings);
  rig.script.fail("payment.charge", of_kind(FailureKind::error));
  const auto result = rig.start(order(rig, 'a'), as_saga);
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "payment.charge failed") == 1; }));
  rig.coordinator.reservation_expired(order_id_of('a'));
  REQUIRE(rig.run_until([&] { return result->has_value(); }));
  CHECK((*result)->status == SubmitStatus::refused);
  CHECK((*result)->reason == "RESERVATION_EXPIRED");
  CHECK(count(rig.script.trace, "payment.charge") == 1);
  CHECK(count(rig.script.trace, "payment.refund") == 1);
}

TEST_CASE(
    "I10: an order that expired while its saga was undone for another reason has one reason") {
  Rig rig;
  rig.payment.answer_step = [](const auto&, const auto& request) {
    return request.step == "charge" ? refuse("CARD_DECLINED") : StepReply{};
  };
  // The expirer came first: the order's row says so.
  rig.order.answer_step = [](const auto&, const auto& request) {
    return request.step == "fail" ? StepReply{StepStatus::done, "RESERVATION_EXPIRED", ""}
                                  : StepReply{};
  };
  const auto result = rig.start(order(rig, 'a'), as_saga);
  REQUIRE(rig.run_until([&] { return result->has_value(); }));
  CHECK((*result)->status == SubmitStatus::refused);
  CHECK((*result)->reason == "RESERVATION_EXPIRED");
  CHECK(only_row(rig).instance.reason == "RESERVATION_EXPIRED");
  CHECK(only_row(rig).outcome.reason == "RESERVATION_EXPIRED");
}

TEST_CASE("E7: a compensation that cannot be done is shown as stuck, and tried on") {
  Rig rig;
  rig.payment.answer_step = [](const auto&, const auto& request) {
    return request.step == "charge" ? refuse("CARD_DECLINED") : StepReply{};
  };
  bool broken = true;
  rig.inventory.answer_step = [&](const auto&, const auto& request) {
    return request.step == "release" && broken ? refuse("ILLEGAL_STATE") : StepReply{};
  };
  rig.inventory.forgets_refusals = true;
  const auto result = rig.start(order(rig, 'a'), as_saga);
  REQUIRE(rig.run_until([&] {
    return !rig.saga_log.rows.empty() && only_row(rig).instance.stuck_since.has_value();
  }));
  CHECK(only_row(rig).instance.status == "COMPENSATION_STARTED");
  broken = false;
  REQUIRE(rig.run_until([&] { return result->has_value(); }));
  CHECK(only_row(rig).instance.status == "FAILED");
  CHECK_FALSE(only_row(rig).instance.stuck_since);
}

TEST_CASE("I2: the answer waits for its durable record") {
  Rig rig;
  Failure lost = of_kind(FailureKind::error);
  lost.outcome_unknown = true;
  for (int i = 0; i < 4; ++i)
    rig.script.fail("sagas.record", i % 2 == 0 ? of_kind(FailureKind::error) : lost);
  CHECK(rig.submit(order(rig, 'a'), as_saga).status == SubmitStatus::confirmed);
  CHECK(only_row(rig).instance.status == "COMPLETED");
  CHECK(only_row(rig).history.size() == 6);
  CHECK(rig.order.done.size() == 2);
}

TEST_CASE(
    "A8: a coordinator that finds another's saga goes on where it stands, and does nothing twice") {
  Rig rig;
  rig.script.hold("shipping.arrange");
  const auto result = rig.start(order(rig, 'a'), as_saga);
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "shipping.arrange") == 1; }));
  // The saga is made somebody else's, who was fenced since: this coordinator adopts it, as the next
  // process would, while its own answer is still under way.
  auto& row = rig.saga_log.rows.begin()->second;
  row.instance.coordinator = "other";
  row.epoch = 1;
  rig.script.let_go("shipping.arrange");
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "sagas.record") >= 4; }));
  CHECK(row.instance.status == "PAYMENT_COMPLETED");
  rig.saga_log.epochs["other"] = 2;
  REQUIRE(rig.run_until([&] { return row.instance.status == "COMPLETED"; }));
  CHECK(row.instance.coordinator == "c1");
  CHECK(rig.payment.done.size() == 1);
  CHECK(rig.shipping.done.size() == 1);
}

TEST_CASE(
    "cancel as a saga: refused once it is too late, forward only once the order is cancelled") {
  Rig rig;
  auto operation = order(rig, 'a');
  operation->kind = OperationKind::cancel;
  SECTION("done") {
    for (int i = 0; i < 12; ++i) rig.script.fail("payment.refund", of_kind(FailureKind::error));
    const auto result = rig.submit(operation, as_saga);
    CHECK(result.status == SubmitStatus::confirmed);
    CHECK(count(rig.script.trace, "payment.refund") == 13);
    CHECK(count(rig.script.trace, "inventory.release") == 1);
  }
  SECTION("too late") {
    rig.order.answer_step = [](const auto&, const auto&) { return refuse("ILLEGAL_STATE"); };
    const auto result = rig.submit(operation, as_saga);
    CHECK(result.status == SubmitStatus::refused);
    CHECK(count(rig.script.trace, "shipping.cancel") == 0);
  }
}

TEST_CASE("a full house is told so, and a draining coordinator takes nothing new") {
  auto settings = quick_settings();
  settings.saga.running_max = 1;
  Rig rig(settings);
  rig.script.hold("order.create");
  const auto first = rig.start(order(rig, 'a'), as_saga);
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "order.create") == 1; }));
  CHECK(rig.submit(order(rig, 'b'), as_saga).status == SubmitStatus::overloaded);
  rig.script.let_go("order.create");
  REQUIRE(rig.run_until([&] { return first->has_value(); }));
  CHECK((*first)->status == SubmitStatus::confirmed);
}

TEST_CASE("a stopping coordinator tries on for a client who waits, and leaves the rest to others") {
  auto settings = quick_settings();
  settings.saga.retry_ms_min = settings.saga.retry_ms_max = 500;
  Rig rig(settings);
  const auto fails_once = [&] { rig.script.fail("payment.charge", of_kind(FailureKind::error)); };
  const auto failed = [&](std::size_t times) {
    return rig.run_until([&] { return count(rig.script.trace, "payment.charge failed") == times; });
  };
  fails_once();
  REQUIRE(rig.submit(order(rig, 'b'), accept_saga).status == SubmitStatus::accepted);
  REQUIRE(failed(1));
  fails_once();
  const auto waiting = rig.start(order(rig, 'a'), as_saga);
  REQUIRE(failed(2));
  bool drained = false;
  asio::co_spawn(rig.context, rig.coordinator.drain(milliseconds(5000)),
                 [&](const std::exception_ptr&) { drained = true; });
  REQUIRE(rig.run_until([&] { return drained; }));
  REQUIRE(waiting->has_value());
  CHECK((*waiting)->status == SubmitStatus::confirmed);
  for (const auto& [id, row] : rig.saga_log.rows) {
    const bool left = row.instance.order_id == order_id_of('b');
    CHECK(row.instance.status == (left ? "STOCK_RESERVED" : "COMPLETED"));
  }
}

TEST_CASE(
    "a saga of a type that this version does not know is shown as stuck, and nothing is tried") {
  Rig rig;
  auto operation = order(rig, 'a');
  auto row = FakeSagaLog::row_of({"other", 1}, {order_id_of('b'), "ship_order", "order.ship",
                                                to_payload(*operation), operation, true});
  rig.saga_log.rows[order_id_of('b')] = row;
  rig.saga_log.epochs["other"] = 2;
  REQUIRE(rig.run_until([&] { return only_row(rig).instance.stuck_since.has_value(); }));
  CHECK(only_row(rig).instance.status == "STARTED");
  CHECK(rig.order.done.empty());
}
