// Who writes at a participant, and the fence there that says whether it still may.
//
// A participant keeps one row for each coordinator: the fence. A write that a stopped process could
// still send names its owner, and commits only while the fence is exactly that owner's. Whoever
// takes over from a coordinator raises its fence first (docs/adr/0016-a-fence-at-the-resource.md).
#pragma once

#include <cstdint>
#include <string>

#include "txcoord/protocol/gid.hpp"

namespace txcoord {

struct FenceOwner {
  std::string installation, coordinator;
  std::uint64_t epoch = 0;
  // One run of the coordinator's process, or a generation of it. Empty: a fence that an adopter
  // raised; it lets nobody of this epoch pass until the coordinator itself raises it.
  std::string incarnation;

  bool operator==(const FenceOwner&) const = default;
};

// A gid names the owner of what is done under it.
inline FenceOwner fence_owner(const protocol::Gid& gid) {
  return {gid.installation, gid.coordinator, gid.epoch, gid.incarnation};
}

}  // namespace txcoord
