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

SagaPlan place_order_later_plan(bool pay_later, bool ship_by_hand, std::uint32_t tries_max) {
  const SagaStep charge{"payment.charge", "PAYMENT_COMPLETED", "payment.refund"};
  const SagaStep arrange{"shipping.arrange", "SHIPMENT_ARRANGED", "shipping.cancel"};
  SagaPlan plan{.type = std::string(later_type(pay_later, ship_by_hand)),
                .steps = {{"order.create", "ORDER_CREATED", "order.fail"},
                          {"inventory.reserve", "STOCK_RESERVED", "inventory.release"}},
                .answer_after = "order.confirm",
                .tries_max = tries_max};
  if (!pay_later) plan.steps.push_back(charge);
  if (!ship_by_hand) plan.steps.push_back(arrange);
  const std::size_t due_from = plan.steps.size();
  plan.steps.push_back({"order.confirm", "ORDER_CONFIRMED", "order.revoke"});
  if (pay_later) plan.steps.push_back(charge);
  if (ship_by_hand) plan.steps.push_back(arrange);
  for (std::size_t i = due_from; i < plan.steps.size(); ++i) plan.steps[i].until_answered = true;
  plan.steps.back().status_after = saga_completed;
  return plan;
}

SagaPlan plan_of_type(std::string_view type, std::uint32_t tries_max) {
  if (type == place_order_type) return place_order_plan(tries_max);
  if (type == cancel_order_type) return cancel_order_plan();
  if (type == accepted_order_type) return accepted_order_plan();
  if (type == pay_later_type) return place_order_later_plan(true, false, tries_max);
  if (type == ship_by_hand_type) return place_order_later_plan(false, true, tries_max);
  if (type == pay_later_ship_by_hand_type) return place_order_later_plan(true, true, tries_max);
  throw std::invalid_argument("no plan for sagas of type '" + std::string(type) + "'");
}

}  // namespace txcoord::protocol
