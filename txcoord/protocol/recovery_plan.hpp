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
//
// All of this leans on T: a log that is not the one that was seen, or not all of it (log_change),
// may lack decisions. From then on a branch that is not in T is not buried before its siblings'
// witnesses were read:
//
//   6. A witness is written by the branch's own transaction, and is deleted only after every branch
//      of its gid was committed and that was durable. This branch is still prepared, so no
//      sibling's witness was deleted: one that stands proves the decision (I4), and one that is
//      absent says that this sibling is not committed.
//   7. A witness at one sibling: the decision was commit, whatever the others say. It is written
//      again under its own primary key, then carried out like any other (I1).
//   8. No witness at any, and all were asked: nobody has committed. The branch is buried, then
//      rolled back, like any that was not decided. As long as one could not be asked, nothing is
//      done: it may be the one that committed.
//
// What rules 6 to 8 cannot mend: a client that was told "confirmed" when no branch had committed
// yet finds nothing (I2 went with the log's last moments); and a process that is fenced, but alive
// and cut off from the log, may still commit what it alone remembers to be decided.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
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

// --- the log that may lack decisions (rules 6 to 8)
// -----------------------------------------------

// The log as a physical thing, at one moment.
struct LogPoint {
  std::string system_identifier;  // empty: never seen
  std::int64_t timeline = 0;
  std::uint64_t lsn = 0;
};

enum class LogChange : std::uint8_t {
  none,         // it went on, or nothing was ever seen
  failed_over,  // a later timeline, and no less of it
  went_back,    // another cluster, an earlier timeline, or less of it: what was seen is gone
};

// A log that failed over to a synchronous standby has lost nothing; one that failed over to a
// standby which was behind, and was written since, looks the same from here: what was decided after
// `seen` may be gone, whatever the positions say. So only the words differ, for people: whoever
// acts on it takes both for a log that may lack decisions.
LogChange log_change(const LogPoint& seen, const LogPoint& now);
inline bool may_lack_decisions(LogChange change) { return change != LogChange::none; }

enum class LostDecision : std::uint8_t {
  commit,     // it was decided: to be written again, then COMMIT PREPARED
  roll_back,  // it was not: tombstone, then ROLLBACK PREPARED
  wait,       // not all siblings could be asked: ask again
};

// What to do with a prepared branch that this log has no outcome of. `siblings`: all other
// participants that there are, whether or not they took part. `witnesses`: those that were asked,
// after Q was read, each with whether the gid's witness stands there; one that is missing could not
// be asked.
LostDecision judge_lost_decision(const std::set<std::string>& siblings,
                                 const std::map<std::string, bool>& witnesses);

// --- a decided branch of which nothing is left ---------------------------------------------------
//
// It is not prepared, and then no witness stands there. What the log says of its gid after that
// tells whether the branch was committed and forgotten, or lost:
//
//   9. Commit, and complete: completion is written only when every branch is committed, and the
//      witness is deleted only after that. So this one was committed.
//  10. Commit, and not complete: nobody has deleted the witness, so there was none. Lost.
//  11. Abort (a tombstone): the log lost the decision, and somebody proved its absence. The branch
//      was rolled back under it, while siblings may have been committed. Lost. A tombstone is
//      complete from its birth: that says nothing here.
//  12. No row. A complete decision is deleted when it is old, and then rule 9 holds; but only who
//      took its owner over can have completed it, and a log that changed may have lost the row. So
//      it was committed only if the owner is fenced and the log is the same since the decision.
//      Otherwise: lost, and shown.

struct DecisionNow {
  Outcome outcome = Outcome::commit;
  bool complete = false;
};

enum class MissingBranch : std::uint8_t {
  committed,
  lost,  // a heuristic outcome: recorded, shown, counted
};

// `now`: the gid's row, read after the witness was found absent. `owner_fenced`: its epoch is below
// its coordinator's, `may_lack`: the log may lack what it held when the decision was made, both
// read after the row.
MissingBranch judge_missing_branch(const std::optional<DecisionNow>& now, bool owner_fenced,
                                   bool may_lack);

}  // namespace txcoord::protocol
