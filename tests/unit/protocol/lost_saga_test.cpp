// What is made of a saga that the log has lost, by its barriers and the rows of its order.
#include "txcoord/protocol/lost_saga.hpp"

#include <catch2/catch_test_macros.hpp>

#include "txcoord/protocol/saga_plans.hpp"

using namespace txcoord::protocol;

namespace {

LostBarriers done(std::initializer_list<const char*> steps) {
  LostBarriers barriers;
  for (const char* step : steps) barriers[step] = "done";
  return barriers;
}

LostRows rows(const char* status, bool stock, bool money, bool shipment) {
  LostRows said;
  said.order_status = status;
  said.order_mode = "saga";
  said.stock_held = stock;
  said.money_taken = money;
  said.shipment_arranged = shipment;
  return said;
}

// Where it is to stand again is a position of its plan, and the log takes it.
void check_position(const LostVerdict& verdict, const SagaPosition& position) {
  const SagaPlan plan = plan_of_type(verdict.type, 3);
  CHECK(read_position(plan, position.status, current_step(plan, position), position.reason,
                      position.detail) == position);
}

}  // namespace

TEST_CASE("a lost saga killed after any step can be compensated, and completed only after the last",
          "[lost]") {
  const char* const steps[] = {"order.create", "inventory.reserve", "payment.charge",
                               "shipping.arrange"};
  LostBarriers barriers;
  for (std::size_t count = 1; count <= 4; ++count) {
    barriers[steps[count - 1]] = "done";
    const auto verdict =
        judge_lost_saga(barriers, rows("PENDING", count > 1, count > 2, count > 3));
    CHECK(verdict.lost);
    CHECK(verdict.type == place_order_type);
    REQUIRE(verdict.compensate);
    CHECK(verdict.compensate->reason == saga_lost);
    CHECK(verdict.compensate->next == 4);
    check_position(verdict, *verdict.compensate);
    CHECK(verdict.complete.has_value() == (count == 4));
    if (!verdict.complete) continue;
    check_position(verdict, *verdict.complete);
    CHECK(current_step(place_order_plan(3), *verdict.complete) == "order.confirm");
  }
}

TEST_CASE("a lost accepted order that nobody tried is failed, and nothing else", "[lost]") {
  LostRows pending = rows("PENDING", false, false, false);
  pending.order_mode = "2pc";
  const auto verdict = judge_lost_saga(done({"order.create"}), pending);
  CHECK(verdict.lost);
  CHECK(verdict.type == accepted_order_type);
  REQUIRE(verdict.compensate);
  check_position(verdict, *verdict.compensate);
  CHECK_FALSE(verdict.complete);
  // Its group has committed meanwhile.
  LostRows confirmed = rows("CONFIRMED", true, true, true);
  CHECK_FALSE(judge_lost_saga(done({"order.create"}), confirmed).lost);
}

TEST_CASE(
    "a failed order that still holds something is compensated; one that holds nothing is over",
    "[lost]") {
  const auto barriers = done({"order.create", "inventory.reserve", "payment.charge"});
  const auto verdict = judge_lost_saga(barriers, rows("FAILED", false, true, false));
  CHECK(verdict.lost);
  REQUIRE(verdict.compensate);
  check_position(verdict, *verdict.compensate);
  CHECK_FALSE(verdict.complete);
  CHECK_FALSE(judge_lost_saga(barriers, rows("FAILED", false, false, false)).lost);
  CHECK(judge_lost_saga(barriers, rows("", true, false, false)).lost);
}

TEST_CASE("a lost cancel goes forward only", "[lost]") {
  const auto verdict = judge_lost_saga(done({"order.cancel"}), rows("CANCELLED", true, true, true));
  CHECK(verdict.lost);
  CHECK(verdict.type == cancel_order_type);
  CHECK_FALSE(verdict.compensate);
  REQUIRE(verdict.complete);
  check_position(verdict, *verdict.complete);
  CHECK(current_step(cancel_order_plan(), *verdict.complete) == "shipping.cancel");
  const auto whole =
      done({"order.cancel", "shipping.cancel", "payment.refund", "inventory.release"});
  CHECK(ended_by_barriers(whole));
  CHECK_FALSE(judge_lost_saga(whole, rows("CANCELLED", false, false, false)).lost);
}

TEST_CASE("an order confirmed unpaid whose saga is lost can be revoked", "[lost]") {
  const auto barriers =
      done({"order.create", "inventory.reserve", "shipping.arrange", "order.confirm"});
  const auto verdict = judge_lost_saga(barriers, rows("CONFIRMED", true, false, true));
  CHECK(verdict.lost);
  CHECK(verdict.type == pay_later_type);
  REQUIRE(verdict.compensate);
  check_position(verdict, *verdict.compensate);
  const auto unshipped = judge_lost_saga(
      done({"order.create", "inventory.reserve", "payment.charge", "order.confirm"}),
      rows("CONFIRMED", true, true, false));
  CHECK(unshipped.type == ship_by_hand_type);
  LostRows revoked = rows("CANCELLED", true, false, false);
  revoked.order_reason = true;
  auto half = barriers;
  half["order.revoke"] = "done";
  CHECK(judge_lost_saga(half, revoked).lost);
}

TEST_CASE("what completed, was undone or never did anything needs nobody", "[lost]") {
  const auto completed = done(
      {"order.create", "inventory.reserve", "payment.charge", "shipping.arrange", "order.confirm"});
  CHECK(ended_by_barriers(completed));
  CHECK_FALSE(judge_lost_saga(completed, rows("CONFIRMED", true, true, true)).lost);
  // A client cancelled it since, by a group that is not applied everywhere: not this saga's affair.
  CHECK_FALSE(judge_lost_saga(completed, rows("CANCELLED", true, true, true)).lost);
  auto undone = done({"order.create", "inventory.reserve", "inventory.release", "order.fail"});
  undone["payment.charge"] = "refused";
  CHECK(ended_by_barriers(undone));
  CHECK(ended_by_barriers({{"shipping.arrange", "skipped"}}));
  CHECK_FALSE(ended_by_barriers(done({"order.create"})));
  auto half = completed;
  half["payment.refund"] = "done";
  CHECK_FALSE(ended_by_barriers(half));
}
