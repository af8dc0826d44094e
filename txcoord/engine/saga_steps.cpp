// The table of steps. A compensation is the business's own opposite of what it undoes.
#include "txcoord/engine/saga_steps.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace txcoord::engine {
namespace {

constexpr StepTarget targets[] = {
    {"order.create", "order", OperationKind::create, "create"},
    {"inventory.reserve", "inventory", OperationKind::place, "reserve"},
    {"payment.charge", "payment", OperationKind::place, "charge"},
    {"shipping.arrange", "shipping", OperationKind::place, "arrange"},
    {"order.confirm", "order", OperationKind::confirm, "confirm"},
    {"order.cancel", "order", OperationKind::cancel, "cancel"},
    {"transact", "", OperationKind::place, "transact"},
    {"order.fail", "order", OperationKind::fail, "fail"},
    {"order.revoke", "order", OperationKind::cancel, "revoke"},
    {"inventory.release", "inventory", OperationKind::cancel, "release"},
    {"payment.refund", "payment", OperationKind::cancel, "refund"},
    {"shipping.cancel", "shipping", OperationKind::cancel, "cancel"},
};

}  // namespace

std::span<const StepTarget> step_targets() { return targets; }

const StepTarget& target_of(std::string_view step) {
  const auto found = std::ranges::find(targets, step, &StepTarget::name);
  if (found == std::end(targets))
    throw std::logic_error("no step of a saga is called '" + std::string(step) + "'");
  return *found;
}

}  // namespace txcoord::engine
