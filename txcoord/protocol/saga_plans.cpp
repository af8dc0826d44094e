// The plans as tables: step, status once it is done, what undoes it, must it succeed.
#include "txcoord/protocol/saga_plans.hpp"

#include <stdexcept>

namespace txcoord::protocol {

SagaPlan place_order_plan(std::uint32_t tries_max) {
  return {.type = std::string(place_order_type),
          .steps = {{"order.create", "ORDER_CREATED", "order.fail"},
                    {"inventory.reserve", "STOCK_RESERVED", "inventory.release"},
                    {"payment.charge", "PAYMENT_COMPLETED", "payment.refund"},
                    {"shipping.arrange", "PAYMENT_COMPLETED", "shipping.cancel"},
                    {"order.confirm", "COMPLETED", {}}},
          .tries_max = tries_max};
}

SagaPlan cancel_order_plan() {
  return {.type = std::string(cancel_order_type),
          .steps = {{"order.cancel", "ORDER_CANCELLED", {}},
                    {"shipping.cancel", "SHIPMENT_CANCELLED", {}, true},
                    {"payment.refund", "PAYMENT_REFUNDED", {}, true},
                    {"inventory.release", "COMPLETED", {}, true}}};
}

SagaPlan accepted_order_plan() {
  return {.type = std::string(accepted_order_type),
          .steps = {{"order.create", "ORDER_CREATED", "order.fail"}, {"transact", "COMPLETED", {}}},
          .tries_max = 0};
}

SagaPlan plan_of_type(std::string_view type, std::uint32_t tries_max) {
  if (type == place_order_type) return place_order_plan(tries_max);
  if (type == cancel_order_type) return cancel_order_plan();
  if (type == accepted_order_type) return accepted_order_plan();
  throw std::invalid_argument("no plan for sagas of type '" + std::string(type) + "'");
}

}  // namespace txcoord::protocol
