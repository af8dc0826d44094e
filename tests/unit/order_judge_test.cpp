// The order service's judge: legal moves, and groups that hold several operations on one order.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <memory>

#include "participants/order/order_judge.hpp"

namespace txcoord {
namespace {

using protocol::Answer;
using protocol::Vote;
using protocol::Votes;

const std::string an_order = "01900000-0000-7000-8000-000000000001";
const std::string another = "01900000-0000-7000-8000-000000000002";

std::shared_ptr<const Operation> on(const std::string& order_id, OperationKind kind) {
  auto operation = std::make_shared<Operation>();
  operation->kind = kind;
  operation->order_id = order_id;
  return operation;
}

Vote judge_one(OrderStatus status, OperationKind kind) {
  const LockedOrders orders({{an_order, status}});
  return orders.judge({on(an_order, kind)}, {true}).at(0);
}

std::optional<OrderStatus> expected_move(OrderStatus from, OperationKind kind) {
  if (kind == OperationKind::cancel && from == OrderStatus::confirmed)
    return OrderStatus::cancelled;
  if (kind == OperationKind::ship && from == OrderStatus::confirmed) return OrderStatus::shipped;
  if (kind == OperationKind::deliver && from == OrderStatus::shipped) return OrderStatus::delivered;
  return std::nullopt;
}

TEST_CASE("order judge: every status and move is as the contract says", "[order]") {
  const auto status =
      GENERATE(OrderStatus::pending, OrderStatus::confirmed, OrderStatus::failed,
               OrderStatus::cancelled, OrderStatus::shipped, OrderStatus::delivered);
  const auto kind = GENERATE(OperationKind::cancel, OperationKind::ship, OperationKind::deliver);
  const auto expected = expected_move(status, kind);
  CHECK(next_state(order_moves(), kind, status) == expected);
  const Vote vote = judge_one(status, kind);
  if (expected) {
    CHECK(vote.answer == Answer::yes);
  } else {
    CHECK(vote.answer == Answer::no);
    CHECK(vote.reason == "ILLEGAL_STATE");
    CHECK(vote.final);
    CHECK(vote.detail.find(to_string(status)) != std::string::npos);
  }
}

TEST_CASE("order judge: only a pending order is confirmed, failed, or placed as accepted",
          "[order]") {
  const auto status =
      GENERATE(OrderStatus::pending, OrderStatus::confirmed, OrderStatus::failed,
               OrderStatus::cancelled, OrderStatus::shipped, OrderStatus::delivered);
  const auto kind = GENERATE(OperationKind::confirm, OperationKind::fail, OperationKind::place);
  auto operation = std::make_shared<Operation>(*on(an_order, kind));
  operation->accepted = kind == OperationKind::place;
  const LockedOrders orders({{an_order, status}});
  const Vote vote = orders.judge({operation}, {true}).at(0);
  CHECK((vote.answer == Answer::yes) == (status == OrderStatus::pending));
  if (vote.answer != Answer::yes) {
    CHECK(vote.answer == Answer::no);
    CHECK(vote.reason == "ILLEGAL_STATE");
    CHECK(vote.final);
  }
}

TEST_CASE("order judge: a late confirmation is refused for the reason that the order failed for",
          "[order][I10]") {
  const LockedOrders orders({{an_order, OrderStatus::failed}, {another, OrderStatus::failed}},
                            {{an_order, "RESERVATION_EXPIRED"}, {another, "OUT_OF_STOCK"}});
  const Votes votes =
      orders.judge({on(an_order, OperationKind::confirm), on(another, OperationKind::confirm),
                    on(an_order, OperationKind::cancel), on(another, OperationKind::confirm)},
                   {true, true, true, false});
  CHECK(votes[0].reason == "RESERVATION_EXPIRED");
  CHECK(votes[1].reason == "OUT_OF_STOCK");
  CHECK(votes[2].reason == "ILLEGAL_STATE");
  CHECK(votes[3].answer == Answer::yes);  // no candidate
}

TEST_CASE("order judge: rows that are missing: created here, waited for, left behind or refused",
          "[order][I9]") {
  const LockedOrders nothing;
  auto accepted = std::make_shared<Operation>(*on(an_order, OperationKind::place));
  accepted->accepted = true;
  CHECK(nothing.judge({on(an_order, OperationKind::create)}, {true}).at(0).answer == Answer::yes);
  CHECK(nothing.judge({accepted}, {true}).at(0).answer == Answer::retry);
  CHECK(nothing.judge({on(an_order, OperationKind::fail)}, {true}).at(0).answer == Answer::yes);
  CHECK(nothing.judge({on(an_order, OperationKind::confirm)}, {true}).at(0).reason == "NOT_FOUND");
}

TEST_CASE("order judge: a failed order needs no failing, and a cancelled one is no failed one",
          "[order]") {
  const LockedOrders orders({{an_order, OrderStatus::failed}, {another, OrderStatus::cancelled}});
  CHECK(orders.undone_already(*on(an_order, OperationKind::fail)));
  CHECK_FALSE(orders.undone_already(*on(another, OperationKind::fail)));
  CHECK_FALSE(orders.undone_already(*on(another, OperationKind::cancel)));
  CHECK_FALSE(LockedOrders().undone_already(*on(an_order, OperationKind::fail)));
  const LockedOrders revoked({{an_order, OrderStatus::cancelled}}, {{an_order, "CARD_DECLINED"}});
  CHECK(revoked.undone_already(*on(an_order, OperationKind::fail)));
}

TEST_CASE("order judge: a status is written and read the same", "[order]") {
  const auto status =
      GENERATE(OrderStatus::pending, OrderStatus::confirmed, OrderStatus::failed,
               OrderStatus::cancelled, OrderStatus::shipped, OrderStatus::delivered);
  CHECK(parse_order_status(to_string(status)) == status);
  CHECK_THROWS(parse_order_status("LOST"));
}

TEST_CASE("order judge: placing needs no row and is never refused", "[order]") {
  const LockedOrders nothing;
  CHECK(nothing.judge({on(an_order, OperationKind::place)}, {true}).at(0).answer == Answer::yes);
}

TEST_CASE("order judge: an order that is nowhere is refused for good", "[order]") {
  const LockedOrders nothing;
  const Vote vote = nothing.judge({on(an_order, OperationKind::cancel)}, {true}).at(0);
  CHECK(vote.answer == Answer::no);
  CHECK(vote.reason == "NOT_FOUND");
  CHECK(vote.final);
}

TEST_CASE("order judge: two cancels in a group: the second is refused while the first stands",
          "[order]") {
  const LockedOrders orders({{an_order, OrderStatus::confirmed}});
  const Operations group{on(an_order, OperationKind::cancel), on(an_order, OperationKind::cancel)};
  const Votes both = orders.judge(group, {true, true});
  CHECK(both[0].answer == Answer::yes);
  CHECK(both[1].answer == Answer::no);
  CHECK(both[1].reason == "ILLEGAL_STATE");
  CHECK_FALSE(both[1].final);  // the first may fall elsewhere
  const Votes second = orders.judge(group, {false, true});
  CHECK(second[0].answer == Answer::yes);  // no candidate
  CHECK(second[1].answer == Answer::yes);
}

TEST_CASE("order judge: cancel and ship in a group: the first wins", "[order]") {
  const LockedOrders orders({{an_order, OrderStatus::confirmed}});
  const Votes votes = orders.judge(
      {on(an_order, OperationKind::ship), on(an_order, OperationKind::cancel)}, {true, true});
  CHECK(votes[0].answer == Answer::yes);
  CHECK(votes[1].answer == Answer::no);
  CHECK_FALSE(votes[1].final);
}

TEST_CASE("order judge: what only an earlier operation of the group allows is judged later",
          "[order][I9]") {
  SECTION("deliver behind ship") {
    const LockedOrders orders({{an_order, OrderStatus::confirmed}});
    const Votes votes = orders.judge(
        {on(an_order, OperationKind::ship), on(an_order, OperationKind::deliver)}, {true, true});
    CHECK(votes[0].answer == Answer::yes);
    CHECK(votes[1].answer == Answer::retry);
  }
  SECTION("cancel behind place") {
    const LockedOrders nothing;
    const Votes votes = nothing.judge(
        {on(an_order, OperationKind::place), on(an_order, OperationKind::cancel)}, {true, true});
    CHECK(votes[0].answer == Answer::yes);
    CHECK(votes[1].answer == Answer::retry);
  }
}

TEST_CASE("order judge: at most one operation of a group moves an order, whatever the group",
          "[order]") {
  // Every group of three over all kinds and statuses: a yes must not depend on another yes.
  const auto status = GENERATE(OrderStatus::pending, OrderStatus::confirmed, OrderStatus::shipped,
                               OrderStatus::delivered, OrderStatus::cancelled, OrderStatus::failed);
  const LockedOrders orders({{an_order, status}});
  const std::array kinds{OperationKind::cancel, OperationKind::ship, OperationKind::deliver,
                         OperationKind::confirm, OperationKind::fail};
  for (const auto first : kinds) {
    for (const auto second : kinds) {
      for (const auto third : kinds) {
        const Operations group{on(an_order, first), on(an_order, second), on(an_order, third)};
        const Votes votes = orders.judge(group, {true, true, true});
        int yes = 0;
        for (std::size_t i = 0; i < votes.size(); ++i) {
          if (votes[i].answer != Answer::yes) continue;
          ++yes;
          CHECK(next_state(order_moves(), group[i]->kind, status).has_value());
        }
        CHECK(yes <= 1);
      }
    }
  }
}

TEST_CASE("order judge: orders do not disturb each other", "[order]") {
  const LockedOrders orders(
      {{an_order, OrderStatus::confirmed}, {another, OrderStatus::confirmed}});
  const Votes votes = orders.judge(
      {on(an_order, OperationKind::cancel), on(another, OperationKind::ship)}, {true, true});
  CHECK(votes[0].answer == Answer::yes);
  CHECK(votes[1].answer == Answer::yes);
}

}  // namespace
}  // namespace txcoord
