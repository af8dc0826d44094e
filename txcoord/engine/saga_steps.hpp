// What a saga's steps and compensations mean: who does it, and as which kind of operation.
#pragma once

#include <span>
#include <string_view>

#include "participants/operation.hpp"

namespace txcoord::engine {

struct StepTarget {
  std::string_view name;         // as in the plan and in saga_instances.current_step
  std::string_view participant;  // empty: the coordinator itself (a group two-phase commit)
  OperationKind kind;
  std::string_view barrier;  // the step's name within its saga, in the participant's database
};

std::span<const StepTarget> step_targets();
// Throws std::logic_error for a name that no plan has.
const StepTarget& target_of(std::string_view step);

}  // namespace txcoord::engine
