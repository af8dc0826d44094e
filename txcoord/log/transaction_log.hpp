// The transaction log's port: decisions, outcomes under their idempotency keys, coordinator epochs.
// The log is a PostgreSQL database of its own; pg_transaction_log.hpp is behind this.
//
// All calls on the I/O thread, awaited there. claim/decide/release of one gid share one session;
// every other call uses a session of its own, so that settle() can wait for a decide in flight.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "participants/participant.hpp"
#include "txcoord/base/failure.hpp"
#include "txcoord/log/degraded_modes.hpp"
#include "txcoord/protocol/gid.hpp"
#include "txcoord/protocol/vote.hpp"

namespace txcoord {

// Who writes. What names it commits only while the epoch is still its coordinator's (I11): else the
// failure `fenced`, and certainly nothing was written.
struct LogOwner {
  std::string coordinator;
  std::uint64_t epoch = 0;
};

enum class DecisionOutcome : std::uint8_t { commit, abort };  // abort: a tombstone

// What the log keeps of an operation under its key.
struct StoredOutcome {
  std::array<std::uint8_t, 32> fingerprint{};
  OperationKind kind = OperationKind::place;
  bool confirmed = false;
  bool pending = false;   // a saga, or an accepted order, that has not ended; then neither is true
  bool accepted = false;  // … of an accepted order: its first answer was 202
  std::string order_id;
  // The global transaction as text, or the saga's id; empty for a refusal without a decision.
  std::string gid;
  std::string reason, detail;
  std::string answer;  // Operation::answer
};

struct ClaimReply {
  protocol::Votes votes;  // yes (claimed) or duplicate, one for each operation
  std::vector<std::optional<StoredOutcome>> stored;  // set where the vote is duplicate
};

struct RefusedOperation {
  std::size_t index = 0;
  std::string reason, detail;
};

// What decide() writes in the transaction that claim() opened.
struct DecisionRecord {
  bool commit = true;                     // false: no survivors, the refusals alone are recorded
  std::vector<std::string> participants;  // whose branches are prepared
  std::vector<std::size_t> confirmed;     // indexes in the group
  std::vector<RefusedOperation> refused;
  // Operations in neither list leave no row: their claim is taken back (503, retry).
};

struct Decision {
  protocol::Gid gid;
  DecisionOutcome outcome = DecisionOutcome::commit;
  std::vector<std::string> participants;
  std::vector<std::string> order_ids;
  bool complete = false;
  bool heuristic = false;
  std::chrono::sys_time<std::chrono::microseconds> decided_at{};
};

// One participant's part of a decided transaction that a person must look at, or had to.
struct HeuristicOutcome {
  protocol::Gid gid;
  std::string participant, detail;
  std::chrono::sys_time<std::chrono::microseconds> found_at{};
  // Nothing: it is open. Else a person said so, or recovery completed the decision by itself.
  std::optional<std::chrono::sys_time<std::chrono::microseconds>> resolved_at;
  bool by_person = false;
  std::string note;  // the person's
};

// A coordinator as it stands in the log. No field says whether it lives: two readings do, some time
// apart (engine/leases.hpp).
struct CoordinatorState {
  std::uint64_t epoch = 0;         // committed: an epoch below it is fenced
  std::uint64_t renewals = 0;      // grows with whatever is done to the lease
  std::int64_t expires_at_us = 0;  // by the log's clock: told apart, never compared with a time
  bool ended = false;              // given up at a clean stop
  std::int64_t lease_ms = 0;       // how long its owner may be silent; 0: it does not say

  bool operator==(const CoordinatorState&) const = default;
};
using Coordinators = std::map<std::string, CoordinatorState>;

// The log as a physical thing: if it changed or went back, decisions may be lost.
struct LogIdentity {
  std::string system_identifier;
  std::int64_t timeline = 0;
  std::uint64_t lsn = 0;
};

// What one session read right after its own renewal was durable there.
struct LeaseRound {
  LogIdentity log;
  Coordinators coordinators;
};

// A coordinator whose work is wanted, and what was seen of it: the take-over holds only if that
// still stands, in that log.
struct LeaseClaim {
  std::string coordinator;
  CoordinatorState seen;
  LogIdentity log;
};

class TransactionLog {
 public:
  virtual ~TransactionLog() = default;

  // --- one group -------------------------------------------------------------------------------
  // Opens the transaction and claims the keys, sorted. Waits for another coordinator's open claim.
  virtual asio::awaitable<Result<ClaimReply>> claim(protocol::Gid gid, Operations operations) = 0;
  // Writes the record and commits: the commit point (I4). The string that commits raises if the
  // epoch is fenced (I11). Failure fenced or another server error: certainly not committed.
  // Failure with outcome_unknown: it may be committed, or commit later: call settle().
  virtual asio::awaitable<Result<Done>> decide(protocol::Gid gid, DecisionRecord record) = 0;
  virtual asio::awaitable<void> release(protocol::Gid gid) = 0;
  // Proves an outcome by writing its absence (a tombstone), then reading what is there (I3).
  // Waits for a decision in flight; after it returns abort, that decision can never commit.
  // `fenced` says nothing of the outcome: it may have been committed, completed and trimmed.
  virtual asio::awaitable<Result<DecisionOutcome>> settle(LogOwner owner, protocol::Gid gid) = 0;

  // --- recovery --------------------------------------------------------------------------------
  // Decisions and tombstones among these gids.
  virtual asio::awaitable<Result<std::vector<Decision>>> decisions(
      std::vector<protocol::Gid> gids) = 0;
  // Commit decisions not yet complete, oldest first, at most `limit`.
  virtual asio::awaitable<Result<std::vector<Decision>>> incomplete_decisions(
      std::size_t limit) = 0;
  // Every branch of these gids is committed: durable, and only then answered. Returns those of them
  // under which the log says abort: nothing is completed there, it is a heuristic outcome.
  virtual asio::awaitable<Result<std::vector<protocol::Gid>>> complete(
      LogOwner owner, std::vector<protocol::Gid> gids) = 0;
  // The prepared state of a decided branch was lost: recorded, never silent.
  virtual asio::awaitable<Result<Done>> record_heuristic(LogOwner owner, protocol::Gid gid,
                                                         std::string participant,
                                                         std::string detail) = 0;
  // Those of these gids, by gid and participant, the repaired ones too.
  virtual asio::awaitable<Result<std::vector<HeuristicOutcome>>> heuristic_outcomes(
      std::vector<protocol::Gid> gids) = 0;
  // How many are open, by participant.
  virtual asio::awaitable<Result<std::map<std::string, std::size_t>>> open_heuristics() = 0;
  // A person has repaired these participants' parts. Durable when it is answered; one that was
  // resolved before keeps its first note.
  virtual asio::awaitable<Result<Done>> resolve_heuristic(protocol::Gid gid,
                                                          std::vector<std::string> participants,
                                                          std::string note) = 0;
  // For a commit decision that was lost with the log's last moments (identity()), and that a
  // sibling's witness proves: writes it again, unless an outcome stands there. Returns what stands.
  virtual asio::awaitable<Result<DecisionOutcome>> write_decision_again(
      LogOwner owner, protocol::Gid gid, std::vector<std::string> participants,
      std::vector<std::string> order_ids) = 0;

  // --- coordinators ----------------------------------------------------------------------------
  virtual asio::awaitable<Result<std::string>> installation() = 0;
  // Raises this coordinator's epoch (fencing its earlier incarnations) and starts its lease. The
  // new epoch is above `above` too: what the participants' fences know, should the log have gone
  // back.
  virtual asio::awaitable<Result<std::uint64_t>> raise_epoch(std::string coordinator,
                                                             std::uint64_t above = 0) = 0;
  // Renews, then reads, in one session: a log that can be read and not written gives a failure.
  virtual asio::awaitable<Result<LeaseRound>> renew_lease(std::string coordinator) = 0;
  // Gives the lease up at clean shutdown: it may be taken over at once.
  virtual asio::awaitable<Result<Done>> end_lease(std::string coordinator) = 0;
  virtual asio::awaitable<Result<Coordinators>> coordinators() = 0;
  // Raises the epoch of each claimed coordinator of which nothing has changed since it was seen;
  // returns those taken over. Of two adopters that saw the same, one gets it.
  virtual asio::awaitable<Result<std::vector<std::string>>> take_over(
      std::vector<LeaseClaim> claims) = 0;

  // --- degraded modes --------------------------------------------------------------------------
  virtual asio::awaitable<Result<DegradedModes>> degraded_modes() = 0;
  // `mode` is the participant's (degraded_mode_of); empty: back to normal. May be sent again.
  virtual asio::awaitable<Result<Done>> set_degraded_mode(std::string participant,
                                                          std::string mode) = 0;

  // --- reading ---------------------------------------------------------------------------------
  virtual asio::awaitable<Result<std::optional<StoredOutcome>>> find_outcome(std::string scope,
                                                                             std::string key) = 0;
  // Gids of incomplete commit decisions that contain this order (I9).
  virtual asio::awaitable<Result<std::vector<protocol::Gid>>> unapplied(std::string order_id) = 0;
  // The stored answers of the operations of incomplete decisions on this order, oldest first.
  virtual asio::awaitable<Result<std::vector<StoredOutcome>>> unapplied_outcomes(
      std::string order_id) = 0;
  // Newest first. state: "committing", "completed", "aborted", "heuristic", "heuristic_open" or
  // empty for all.
  virtual asio::awaitable<Result<std::vector<Decision>>> list_decisions(std::string state,
                                                                        std::size_t limit) = 0;
  virtual asio::awaitable<Result<LogIdentity>> identity() = 0;

  // --- housekeeping ----------------------------------------------------------------------------
  // Commit decisions that were complete `keep` ago, oldest first, at most `limit`, without
  // heuristic ones and those in which one of the participants `away` has part.
  virtual asio::awaitable<Result<std::vector<Decision>>> complete_before(
      std::chrono::seconds keep, std::vector<std::string> away, std::size_t limit) = 0;
  // Deletes complete decisions: their witnesses are gone, so nothing is left that they explain.
  virtual asio::awaitable<Result<Done>> forget(std::vector<protocol::Gid> gids) = 0;
  // Deletes tombstones of fenced epochs older than `keep`; starts a new key period when the current
  // one is older than `period`, drops periods older than `keys_keep`. Bounded work for each call.
  // Returns the decisions still retained.
  virtual asio::awaitable<Result<std::uint64_t>> trim(std::chrono::seconds keep,
                                                      std::chrono::seconds period,
                                                      std::chrono::seconds keys_keep) = 0;
};

}  // namespace txcoord
