// The order service's judge: which moves of an order are legal. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "participants/moves.hpp"

namespace txcoord {

enum class OrderStatus : std::uint8_t { pending, confirmed, failed, cancelled, shipped, delivered };
std::string_view to_string(OrderStatus status);         // as stored: PENDING, CONFIRMED, …
OrderStatus parse_order_status(std::string_view text);  // throws std::runtime_error
std::span<const Move<OrderStatus>> order_moves();

class LockedOrders final : public LockedRows {
 public:
  LockedOrders() = default;  // nothing locked: enough to judge a group that only places
  explicit LockedOrders(std::map<std::string, OrderStatus> statuses)
      : statuses_(std::move(statuses)) {}
  protocol::Votes judge(const Operations& operations,
                        const OperationMask& candidates) const override;
  // Precondition: the row was locked.
  OrderStatus status(const std::string& order_id) const { return statuses_.at(order_id); }

 private:
  std::map<std::string, OrderStatus> statuses_;  // by order_id
};

}  // namespace txcoord
