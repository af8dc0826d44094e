// The sagas that there are: which steps in which order, and what undoes them. What a step means,
// and to whom it is sent, is the engine's (engine/saga_steps.hpp).
#pragma once

#include <cstdint>
#include <string_view>

#include "txcoord/protocol/saga.hpp"

namespace txcoord::protocol {

// SagaPlan::type, as it stands in the log.
inline constexpr std::string_view place_order_type = "place_order";
inline constexpr std::string_view cancel_order_type = "cancel_order";
inline constexpr std::string_view accepted_order_type = "place_order_2pc";
// Degraded modes: what an operator has postponed comes after the answer.
inline constexpr std::string_view pay_later_type = "place_order_pay_later";
inline constexpr std::string_view ship_by_hand_type = "place_order_ship_by_hand";
inline constexpr std::string_view pay_later_ship_by_hand_type =
    "place_order_pay_later_ship_by_hand";

// Place an order, in saga mode. The point of no return is order.confirm: the order's row decides
// between it and an expired reservation.
SagaPlan place_order_plan(std::uint32_t tries_max);

// Cancel a confirmed order, in saga mode: once the order is cancelled, forward only.
SagaPlan cancel_order_plan();

// Place an order that was accepted before it was tried, in 2PC mode: the order stands PENDING, one
// group two-phase commit does the rest. As long as it takes: the client has its 202.
SagaPlan accepted_order_plan();

// Place an order while an operator has postponed its payment, its shipment or both: confirmed
// without them, and they are due; tried until they are answered. A refusal then cancels the
// order (order.revoke) and undoes the rest. One of the two at least.
SagaPlan place_order_later_plan(bool pay_later, bool ship_by_hand, std::uint32_t tries_max);
inline std::string_view later_type(bool pay_later, bool ship_by_hand) {
  if (!pay_later) return ship_by_hand_type;
  return ship_by_hand ? pay_later_ship_by_hand_type : pay_later_type;
}
inline bool is_later_type(std::string_view type) {
  return type == pay_later_type || type == ship_by_hand_type || type == pay_later_ship_by_hand_type;
}

// The plan that a saga of this type follows; tries_max for those that have a choice. Throws
// std::invalid_argument for a type that is none of these: a saga is never run by a guess.
SagaPlan plan_of_type(std::string_view type, std::uint32_t tries_max);

}  // namespace txcoord::protocol
