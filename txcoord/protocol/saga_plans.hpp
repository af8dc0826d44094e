// The three sagas that there are: which steps in which order, and what undoes them. What a step
// means, and to whom it is sent, is the engine's (engine/saga_steps.hpp).
#pragma once

#include <cstdint>
#include <string_view>

#include "txcoord/protocol/saga.hpp"

namespace txcoord::protocol {

// SagaPlan::type, as it stands in the log.
inline constexpr std::string_view place_order_type = "place_order";
inline constexpr std::string_view cancel_order_type = "cancel_order";
inline constexpr std::string_view accepted_order_type = "place_order_2pc";

// Place an order, in saga mode. The point of no return is order.confirm: the order's row decides
// between it and an expired reservation.
SagaPlan place_order_plan(std::uint32_t tries_max);

// Cancel a confirmed order, in saga mode: once the order is cancelled, forward only.
SagaPlan cancel_order_plan();

// Place an order that was accepted before it was tried, in 2PC mode: the order stands PENDING, one
// group two-phase commit does the rest. As long as it takes: the client has its 202.
SagaPlan accepted_order_plan();

// The plan that a saga of this type follows; tries_max for those that have a choice. Throws
// std::invalid_argument for a type that is none of these: a saga is never run by a guess.
SagaPlan plan_of_type(std::string_view type, std::uint32_t tries_max);

}  // namespace txcoord::protocol
