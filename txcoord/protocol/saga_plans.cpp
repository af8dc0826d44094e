// The plans as tables: step, status once it is done, what undoes it, must it succeed.
#include "txcoord/protocol/saga_plans.hpp"

namespace txcoord::protocol {

SagaPlan place_order_plan(std::uint32_t tries_max) {
  return {.type = "place_order",
          .steps = {{"order.create", "ORDER_CREATED", "order.fail"},
                    {"inventory.reserve", "STOCK_RESERVED", "inventory.release"},
                    {"payment.charge", "PAYMENT_COMPLETED", "payment.refund"},
                    {"shipping.arrange", "PAYMENT_COMPLETED", "shipping.cancel"},
                    {"order.confirm", "COMPLETED", {}}},
          .tries_max = tries_max};
}

SagaPlan cancel_order_plan() {
  return {.type = "cancel_order",
          .steps = {{"order.cancel", "ORDER_CANCELLED", {}},
                    {"shipping.cancel", "SHIPMENT_CANCELLED", {}, true},
                    {"payment.refund", "PAYMENT_REFUNDED", {}, true},
                    {"inventory.release", "COMPLETED", {}, true}}};
}

SagaPlan accepted_order_plan() {
  return {.type = "place_order_2pc",
          .steps = {{"order.create", "ORDER_CREATED", "order.fail"}, {"transact", "COMPLETED", {}}},
          .tries_max = 0};
}

}  // namespace txcoord::protocol
