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

constexpr std::array<Move<OrderStatus>, 6> moves{{
    {OperationKind::place, OrderStatus::pending, OrderStatus::confirmed},  // one that was accepted
    {OperationKind::confirm, OrderStatus::pending, OrderStatus::confirmed},
    {OperationKind::fail, OrderStatus::pending, OrderStatus::failed},
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

std::optional<OrderStatus> order_made_in(const Operation& operation) {
  if (operation.kind == OperationKind::create) return OrderStatus::pending;
  if (operation.kind == OperationKind::place && !operation.accepted) return OrderStatus::confirmed;
  return std::nullopt;
}

protocol::Votes LockedOrders::judge(const Operations& operations,
                                    const OperationMask& candidates) const {
  // Nothing of ours can refuse a new order: its ids are new, and it waits for nobody.
  const auto vote_made = [](const Operation&) { return vote_yes(); };
  const auto vote_missing = [this](const Operation& operation) {
    if (auto held = vote_if_held(held_, "order", operation.order_id)) return *std::move(held);
    // Accepted first: its row is there, or comes.
    if (operation.kind == OperationKind::place)
      return vote_retry("order has no row of this accepted order");
    // Never created, and it never will be (the barrier): a row that says why is left behind.
    if (operation.kind == OperationKind::fail) return vote_yes();
    // I9: the engine lets no operation join a group while a decision on its order is not applied
    // everywhere. So a row that is missing here is in no decision either: there is no such order.
    return vote_no("NOT_FOUND", "there is no such order", /*final=*/true);
  };
  protocol::Votes votes = vote_on_moves(order_moves(), statuses_, operations, candidates,
                                        order_made_in, vote_made, vote_missing);
  for (std::size_t i = 0; i < operations.size(); ++i) {
    if (operations[i]->kind != OperationKind::confirm) continue;
    // It was failed meanwhile: that reason is the answer, and the other steps are undone for it.
    const auto reason = reasons_.find(operations[i]->order_id);
    if (votes[i].answer == protocol::Answer::no && reason != reasons_.end())
      votes[i].reason = reason->second;
  }
  return votes;
}

bool LockedOrders::undone_already(const Operation& operation) const {
  const auto row = statuses_.find(operation.order_id);
  if (operation.kind != OperationKind::fail || row == statuses_.end()) return false;
  // Cancelled for a reason: by the same way back, which revoked it before it came to its creation.
  const bool revoked =
      row->second == OrderStatus::cancelled && reasons_.contains(operation.order_id);
  return revoked || row->second == OrderStatus::failed;
}

std::string LockedOrders::undone_for(const Operation& operation) const {
  const auto reason = reasons_.find(operation.order_id);
  return reason == reasons_.end() ? std::string() : reason->second;
}

}  // namespace txcoord
