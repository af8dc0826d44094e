// What recovery does with the prepared branches of one participant, as a pure function.
//
// The caller reads, strictly in this order, each read after the one before has returned:
//
//   P  our installation's prepared branches in this participant's database
//   F  every coordinator's epoch, as committed in the log
//   A  the gids active in this process
//   T  the decisions and tombstones of P's gids
//   Q  the prepared branches again
//
// Why this is race-free:
//
//   1. A branch in P was prepared before F was read. If its epoch is below F's, its coordinator was
//      fenced before F was read: raising the epoch waits for every decision in flight (they hold
//      the row FOR SHARE) and fails every later one (I11). So T, read after F, holds every decision
//      that this epoch will ever have. Not in T: it will never be decided commit.
//   2. A gid of our own epoch enters A before its first message and leaves only when its outcome is
//      durable, or buried under a tombstone, or when nothing of it was left prepared. A is read
//      before T: not in A and not in T means that nobody will decide it. It is a late PREPARE of an
//      aborted group, or an abort whose ROLLBACK PREPARED was not answered.
//   3. A branch in P and not in Q was ended by somebody else in between: nothing to do. A branch in
//      Q and not in P came after F, A and T were read, so nothing is known of it: next time.
//   4. What is not decided is buried first (a tombstone under the decision's own primary key), then
//      rolled back. If 1 or 2 were ever wrong, the tombstone would find the decision, or the
//      decision the tombstone: a gid never gets two outcomes (I3).
//   5. A live coordinator's gid is left alone, even when decided: it finishes its own work. It is
//      touched only after a take-over has raised its epoch, and then rule 1 holds.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "txcoord/protocol/gid.hpp"

namespace txcoord::protocol {

enum class Outcome : std::uint8_t { commit, abort };

struct RecoveryView {
  std::string own_coordinator;
  std::uint64_t own_epoch = 0;
  std::vector<Gid> prepared_before;             // P
  std::map<std::string, std::uint64_t> epochs;  // F
  std::set<Gid> active;                         // A
  std::map<Gid, Outcome> outcomes;              // T
  std::vector<Gid> prepared_after;              // Q
};

enum class RecoveryKind : std::uint8_t {
  commit,    // COMMIT PREPARED
  rollback,  // a tombstone is there: ROLLBACK PREPARED
  bury,      // settle (tombstone, then read); then commit or roll back, by what is found
};

struct RecoveryAction {
  RecoveryKind kind = RecoveryKind::bury;
  Gid gid;

  bool operator==(const RecoveryAction&) const = default;
};

std::vector<RecoveryAction> plan_recovery(const RecoveryView& view);

// Whether this process may finish the gid's work: its own, or that of a fenced epoch (rule 5).
bool may_finish(const Gid& gid, const RecoveryView& view);

// Other coordinators, not fenced, whose branches stand prepared: to be taken over once their
// lease has run out.
std::set<std::string> suspects(const RecoveryView& view);

}  // namespace txcoord::protocol
