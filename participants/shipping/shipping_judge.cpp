// The moves of a shipment, as a table, and the votes that follow from it.
#include "participants/shipping/shipping_judge.hpp"

#include <array>
#include <stdexcept>
#include <utility>

#include "participants/shipping/carrier.hpp"

namespace txcoord {
namespace {

constexpr std::array<std::pair<ShipmentStatus, std::string_view>, 4> status_names{{
    {ShipmentStatus::arranged, "ARRANGED"},
    {ShipmentStatus::shipped, "SHIPPED"},
    {ShipmentStatus::delivered, "DELIVERED"},
    {ShipmentStatus::cancelled, "CANCELLED"},
}};

constexpr std::array<Move<ShipmentStatus>, 3> moves{{
    {OperationKind::cancel, ShipmentStatus::arranged, ShipmentStatus::cancelled},
    {OperationKind::ship, ShipmentStatus::arranged, ShipmentStatus::shipped},
    {OperationKind::deliver, ShipmentStatus::shipped, ShipmentStatus::delivered},
}};

// The detail names the field and never its value: an address is personal data.
protocol::Vote vote_on_address(const Operation& operation) {
  const ShippingAddress& address = operation.place.address;
  if (!valid_postal_code(address.postal_code)) {
    return vote_no("ADDRESS_REFUSED", "postal_code is not NNN-NNNN or NNNNNNN", /*final=*/true);
  }
  if (!find_prefecture(address.prefecture)) {
    return vote_no("ADDRESS_REFUSED", "prefecture is not one that a carrier serves",
                   /*final=*/true);
  }
  return vote_yes();
}

}  // namespace

std::string_view to_string(ShipmentStatus status) {
  for (const auto& [value, name] : status_names) {
    if (value == status) return name;
  }
  return "?";
}

ShipmentStatus parse_shipment_status(std::string_view text) {
  for (const auto& [value, name] : status_names) {
    if (name == text) return value;
  }
  throw std::runtime_error("shipments.status holds '" + std::string(text) +
                           "', which this version does not know");
}

bool shipment_touched(OperationKind kind) {
  switch (kind) {
    case OperationKind::place:
    case OperationKind::cancel:
    case OperationKind::ship:
    case OperationKind::deliver: return true;
    case OperationKind::create:
    case OperationKind::confirm:
    case OperationKind::fail: break;
  }
  return false;
}

std::span<const Move<ShipmentStatus>> shipment_moves() { return moves; }

std::optional<ShipmentStatus> shipment_made_in(const Operation& operation) {
  if (operation.kind != OperationKind::place) return std::nullopt;
  return ShipmentStatus::arranged;
}

protocol::Votes LockedShipments::judge(const Operations& operations,
                                       const OperationMask& candidates) const {
  // Whether there is such an order is for the order service to say. Where it says yes and the
  // shipment is not here, its branch is decided and not applied yet (I9): judged later.
  const auto vote_missing = [this](const Operation& operation) {
    if (auto held = vote_if_held(held_, "shipping", operation.order_id)) return *std::move(held);
    return vote_retry("shipping has no shipment of this order");
  };
  auto votes = vote_on_moves(shipment_moves(), statuses_, operations, candidates, shipment_made_in,
                             vote_on_address, vote_missing);
  for (std::size_t i = 0; i < operations.size(); ++i)
    if (!shipment_touched(operations[i]->kind)) votes[i] = vote_yes();
  return votes;
}

bool LockedShipments::undone_already(const Operation& operation) const {
  const auto row = statuses_.find(operation.order_id);
  return operation.kind == OperationKind::cancel && row != statuses_.end() &&
         row->second == ShipmentStatus::cancelled;
}

}  // namespace txcoord
