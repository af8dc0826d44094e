// The order service's branches: which rows a group locks and writes (see branch_logic.hpp).
#pragma once

#include <memory>

#include "participants/branch_logic.hpp"

namespace txcoord {

std::shared_ptr<const BranchLogic> make_order_logic();

}  // namespace txcoord
