// Orders of which an operator has postponed the payment or the shipment (degraded modes): confirmed
// without it, and gone on with; what their clients are told, and what waits for them.
#include <catch2/catch_test_macros.hpp>

#include "tests/unit/coordinator_rig.hpp"

using namespace txcoord;
using namespace txcoord::engine;
using namespace txcoord::testing;

namespace {

const std::string order_id = "0190a000-0000-7000-8000-00000000000a";

std::shared_ptr<Operation> order(Rig& rig, bool pay_later, bool ship_by_hand) {
  auto operation = rig.operation("key-a");
  operation->order_id = order_id;
  operation->place.customer_id = "customer-001";
  operation->place.items = {{"book-123", 1, 3500, order_id}};
  operation->place.total_amount = 3500;
  operation->place.payment_id = operation->place.shipment_id = order_id;
  operation->place.pay_later = pay_later;
  operation->place.ship_by_hand = ship_by_hand;
  operation->answer = "{}";
  return operation;
}

const FakeSagaLog::Row& only_row(const Rig& rig) {
  REQUIRE(rig.saga_log.rows.size() == 1);
  return rig.saga_log.rows.begin()->second;
}

asio::awaitable<void> switch_on(Coordinator& coordinator, bool& on) {
  auto switching = coordinator.set_degraded("payment", true);
  const auto done = co_await std::move(switching);
  on = done.ok();
}

void switch_payment_to_pay_later(Rig& rig) {
  bool on = false;
  asio::co_spawn(rig.context, switch_on(rig.coordinator, on), asio::detached);
  REQUIRE(rig.run_until([&] { return on; }));
}

void refuse_charges(Rig& rig, const std::string& reason) {
  rig.payment.answer_step = [reason](const auto&, const auto& request) {
    return request.step == "charge" ? StepReply{StepStatus::refused, reason, "as told"}
                                    : StepReply{};
  };
}

}  // namespace

TEST_CASE("C8: with payment away, pay later: confirmed without it, charged when it is back") {
  Rig rig;
  switch_payment_to_pay_later(rig);
  rig.payment.away = true;
  REQUIRE(rig.run_until([&] { return !rig.coordinator.health().at("payment").reachable; }));
  CHECK(rig.coordinator.ready());
  CHECK(rig.submit(order(rig, false, true)).status ==
        SubmitStatus::unavailable);  // shipping is not

  const auto result = rig.submit(order(rig, true, false));
  CHECK(result.status == SubmitStatus::confirmed);
  CHECK_FALSE(result.applied);
  CHECK(only_row(rig).outcome.confirmed);
  CHECK(only_row(rig).instance.status == "ORDER_CONFIRMED");
  const auto seen = rig.coordinator.pending(order_id);
  REQUIRE(seen);
  CHECK(seen->decided);
  CHECK(seen->waiting_for == std::vector<std::string>{"payment"});

  rig.payment.away = false;
  REQUIRE(rig.run_until([&] { return only_row(rig).instance.status == "COMPLETED"; }));
  CHECK(count(rig.script.trace, "payment.charge done") == 1);
  CHECK(only_row(rig).outcome.confirmed);
}

TEST_CASE("C8: what is due is tried until it is answered, however often another step would be") {
  Rig rig;
  for (int i = 0; i < 7; ++i) rig.script.fail("shipping.arrange", of_kind(FailureKind::error));
  CHECK(rig.submit(order(rig, false, true)).status == SubmitStatus::confirmed);
  REQUIRE(rig.run_until([&] { return only_row(rig).instance.status == "COMPLETED"; }));
  CHECK(count(rig.script.trace, "shipping.arrange") == 8);
}

TEST_CASE("C8: a charge that is refused later cancels the order, and denies no answer") {
  Rig rig;
  refuse_charges(rig, "INSUFFICIENT_FUNDS");
  CHECK(rig.submit(order(rig, true, false)).status == SubmitStatus::confirmed);
  REQUIRE(rig.run_until([&] { return only_row(rig).instance.status == "FAILED"; }));
  const auto& trace = rig.script.trace;
  CHECK(position(trace, "order.revoke") < position(trace, "shipping.cancel"));
  CHECK(position(trace, "shipping.cancel") < position(trace, "inventory.release"));
  CHECK(only_row(rig).instance.reason == "INSUFFICIENT_FUNDS");
  CHECK(only_row(rig).outcome.confirmed);  // I10
  CHECK(only_row(rig).outcome.reason.empty());
}

TEST_CASE("C8: refused before the answer, an order fails as any other") {
  Rig rig;
  refuse_charges(rig, "CARD_DECLINED");
  const auto result = rig.submit(order(rig, false, true));
  CHECK(result.status == SubmitStatus::refused);
  CHECK(result.reason == "CARD_DECLINED");
  CHECK(count(rig.script.trace, "order.revoke") == 0);
}

TEST_CASE("C8: Prefer: applied waits for what is due") {
  Rig rig;
  rig.script.fail("payment.charge", of_kind(FailureKind::error));
  const auto result = rig.submit(order(rig, true, false), {.wait_applied = true});
  CHECK(result.status == SubmitStatus::confirmed);
  CHECK(only_row(rig).instance.status == "COMPLETED");
}

TEST_CASE("I9: while something of an order is due, nobody cancels or ships it") {
  auto settings = quick_settings();
  settings.saga.retry_ms_min = settings.saga.retry_ms_max = 60'000;
  Rig rig(settings);
  rig.script.fail("payment.charge", of_kind(FailureKind::error));
  CHECK(rig.submit(order(rig, true, false)).status == SubmitStatus::confirmed);
  for (const auto kind : {OperationKind::cancel, OperationKind::ship}) {
    for (const auto protocol : {Protocol::two_phase, Protocol::saga}) {
      const auto move = rig.operation("move", kind);
      move->order_id = order_id;
      const auto refused = rig.submit(move, {.protocol = protocol});
      CHECK(refused.status == SubmitStatus::unavailable);
      CHECK(refused.detail == "its payment or its shipment is still due");
    }
  }
}
