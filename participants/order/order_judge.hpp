// The order service's judge: which moves of an order are legal. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "participants/moves.hpp"

namespace txcoord {

enum class OrderStatus : std::uint8_t { pending, confirmed, failed, cancelled, shipped, delivered };
std::string_view to_string(OrderStatus status);         // as stored: PENDING, CONFIRMED, …
OrderStatus parse_order_status(std::string_view text);  // throws std::runtime_error
std::span<const Move<OrderStatus>> order_moves();
// The status in which the operation makes its order; nothing: it moves one.
std::optional<OrderStatus> order_made_in(const Operation& operation);

class LockedOrders final : public LockedRows {
 public:
  LockedOrders() = default;  // nothing locked: enough to judge a group that only places
  // `reasons`: why they failed or were revoked, of those that were. `held`: those that are there
  // and that somebody else holds.
  explicit LockedOrders(std::map<std::string, OrderStatus> statuses,
                        std::map<std::string, std::string> reasons = {}, HeldRows held = {})
      : statuses_(std::move(statuses)), reasons_(std::move(reasons)), held_(std::move(held)) {}
  protocol::Votes judge(const Operations& operations,
                        const OperationMask& candidates) const override;
  bool undone_already(const Operation& operation) const override;
  std::string undone_for(const Operation& operation) const override;
  bool has(const std::string& order_id) const { return statuses_.contains(order_id); }
  // Precondition: has(order_id).
  OrderStatus status(const std::string& order_id) const { return statuses_.at(order_id); }

 private:
  std::map<std::string, OrderStatus> statuses_;  // by order_id
  std::map<std::string, std::string> reasons_;
  HeldRows held_;
};

}  // namespace txcoord
