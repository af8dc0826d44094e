// The moves of an order, as a table, and the votes that follow from it.
#include "participants/order/order_judge.hpp"

#include <array>
#include <stdexcept>
#include <utility>

namespace txcoord {
namespace {

constexpr std::array<std::pair<OrderStatus, std::string_view>, 6> status_names{{
    {OrderStatus::pending, "PENDING"},
    {OrderStatus::confirmed, "CONFIRMED"},
    {OrderStatus::failed, "FAILED"},
    {OrderStatus::cancelled, "CANCELLED"},
    {OrderStatus::shipped, "SHIPPED"},
    {OrderStatus::delivered, "DELIVERED"},
}};

constexpr std::array<Move<OrderStatus>, 3> moves{{
    {OperationKind::cancel, OrderStatus::confirmed, OrderStatus::cancelled},
    {OperationKind::ship, OrderStatus::confirmed, OrderStatus::shipped},
    {OperationKind::deliver, OrderStatus::shipped, OrderStatus::delivered},
}};

}  // namespace

std::string_view to_string(OrderStatus status) {
  for (const auto& [value, name] : status_names) {
    if (value == status) return name;
  }
  return "?";
}

OrderStatus parse_order_status(std::string_view text) {
  for (const auto& [value, name] : status_names) {
    if (name == text) return value;
  }
  throw std::runtime_error("orders.status holds '" + std::string(text) +
                           "', which this version does not know");
}

std::span<const Move<OrderStatus>> order_moves() { return moves; }

protocol::Votes LockedOrders::judge(const Operations& operations,
                                    const OperationMask& candidates) const {
  // Nothing of ours can refuse a new order: its ids are new, and it waits for nobody.
  const auto vote_place = [](const Operation&) { return vote_yes(); };
  // I9: the engine lets no operation join a group while a decision on its order is not applied
  // everywhere. So a row that is missing here is in no decision either: there is no such order.
  const auto vote_missing = [](const Operation&) {
    return vote_no("NOT_FOUND", "there is no such order", /*final=*/true);
  };
  return vote_on_moves(order_moves(), statuses_, OrderStatus::confirmed, operations, candidates,
                       vote_place, vote_missing);
}

}  // namespace txcoord
