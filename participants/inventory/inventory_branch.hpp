// Inventory's part of a branch: which stock rows a group locks, and how reservations are written.
#pragma once

#include <memory>

#include "participants/branch_logic.hpp"

namespace txcoord {

class InventoryBranch final : public BranchLogic {
 public:
  std::string_view name() const override { return "inventory"; }
  bool touches(const Operation& operation) const override;
  std::unique_ptr<LockedRows> lock(pg::Session& session, const Operations& operations,
                                   const PreliminaryPtr& preliminary, LockMode mode) const override;
  void apply(pg::Session& session, const Operations& operations, const OperationMask& survivors,
             const LockedRows& rows, const std::string& gid) const override;
};

}  // namespace txcoord
