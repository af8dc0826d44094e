// The shipping service's judge: which addresses the carriers serve, and which moves of a shipment
// are legal. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "participants/moves.hpp"

namespace txcoord {

enum class ShipmentStatus : std::uint8_t { arranged, shipped, delivered, cancelled };
std::string_view to_string(ShipmentStatus status);            // as stored: ARRANGED, SHIPPED, …
ShipmentStatus parse_shipment_status(std::string_view text);  // throws std::runtime_error
// Whether an operation of this kind has work here; the others get yes, and nothing is done.
bool shipment_touched(OperationKind kind);
std::span<const Move<ShipmentStatus>> shipment_moves();
// The status in which the operation makes its shipment; nothing: it moves one.
std::optional<ShipmentStatus> shipment_made_in(const Operation& operation);

class LockedShipments final : public LockedRows {
 public:
  LockedShipments() = default;  // nothing locked: enough to judge a group that only places
  // `held`: those that are there and that somebody else holds.
  explicit LockedShipments(std::map<std::string, ShipmentStatus> statuses, HeldRows held = {})
      : statuses_(std::move(statuses)), held_(std::move(held)) {}
  protocol::Votes judge(const Operations& operations,
                        const OperationMask& candidates) const override;
  bool undone_already(const Operation& operation) const override;
  // Precondition: the row was locked.
  ShipmentStatus status(const std::string& order_id) const { return statuses_.at(order_id); }

 private:
  std::map<std::string, ShipmentStatus> statuses_;  // by order_id: one shipment an order
  HeldRows held_;
};

}  // namespace txcoord
