// The log's SQL as blocking functions on one session; pg_transaction_log.cpp runs them on its
// pools. They throw what libpqxx throws (txcoord/pg/classify.hpp).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "txcoord/log/pg_claims_sql.hpp"
#include "txcoord/log/transaction_log.hpp"
#include "txcoord/pg/session.hpp"

namespace txcoord::log_sql {

using std::chrono::milliseconds;

// --- one group (pg_transaction_log_group.cpp) ----------------------------------------------------

// What claim() leaves for decide(): the rows that the open transaction holds.
struct Claimed {
  int period = 0;
  std::vector<bool> mine;  // by operation: its row was inserted by this transaction
};
struct ClaimResult {
  Claimed claimed;
  ClaimReply reply;
};
ClaimResult claim(pg::Session& session, const protocol::Gid& gid, const Operations& operations);

void decide(pg::Session& session, const protocol::Gid& gid, const Operations& operations,
            const Claimed& claimed, const DecisionRecord& record);
// What a failure of decide() says about the commit: fenced, certainly not committed, or unknown.
Failure decision_failure(Failure failure);

DecisionOutcome settle(pg::Session& session, const LogOwner& owner, const protocol::Gid& gid);
DecisionOutcome write_decision_again(pg::Session& session, const LogOwner& owner,
                                     const protocol::Gid& gid,
                                     const std::vector<std::string>& participants,
                                     const std::vector<std::string>& order_ids);

// --- recovery (pg_transaction_log_recovery.cpp) --------------------------------------------------

std::vector<Decision> decisions(pg::Session& session, const std::vector<protocol::Gid>& gids);
std::vector<Decision> incomplete_decisions(pg::Session& session, std::size_t limit);
std::vector<Decision> list_decisions(pg::Session& session, const std::string& state,
                                     std::size_t limit);
std::vector<protocol::Gid> unapplied(pg::Session& session, const std::string& order_id);
std::vector<protocol::Gid> complete(pg::Session& session, const LogOwner& owner,
                                    const std::vector<protocol::Gid>& gids);

std::string installation(pg::Session& session);
LogIdentity identity(pg::Session& session);

DegradedModes degraded_modes(pg::Session& session);
Done set_degraded_mode(pg::Session& session, const std::string& participant,
                       const std::string& mode);

// --- heuristic outcomes (pg_heuristics.cpp) ------------------------------------------------------

// Of an outcome `h` under the decision `d` (or none): nobody has repaired it. A commit decision is
// complete when every branch is committed.
#define TXC_HEURISTIC_OPEN                                                                  \
  "h.resolved_at IS NULL AND (d.outcome = 'commit' AND d.completed_at IS NOT NULL) IS NOT " \
  "TRUE"
Done record_heuristic(pg::Session& session, const LogOwner& owner, const protocol::Gid& gid,
                      const std::string& participant, const std::string& detail);
std::vector<HeuristicOutcome> heuristic_outcomes(pg::Session& session,
                                                 const std::vector<protocol::Gid>& gids);
std::map<std::string, std::size_t> open_heuristics(pg::Session& session);
Done resolve_heuristic(pg::Session& session, const protocol::Gid& gid,
                       const std::vector<std::string>& participants, const std::string& note);

// --- coordinators and their leases (pg_leases.cpp) -----------------------------------------------

std::uint64_t raise_epoch(pg::Session& session, const std::string& coordinator, std::uint64_t above,
                          milliseconds lease);
LeaseRound renew_lease(pg::Session& session, const std::string& coordinator, milliseconds lease);
Done end_lease(pg::Session& session, const std::string& coordinator);
Coordinators coordinators(pg::Session& session);
std::vector<std::string> take_over(pg::Session& session, const std::vector<LeaseClaim>& claims);

// --- keys: outcomes, periods, housekeeping (pg_transaction_log_keys.cpp) -------------------------

// The columns of a stored outcome, in the order read_outcome() takes them, of a row called `o`.
#define TXC_OUTCOME_COLUMNS                                                                \
  "encode(o.fingerprint, 'hex'), o.kind, o.outcome = 'confirmed', o.outcome = 'pending', " \
  "o.accepted, o.order_id, o.gid, o.reason, o.detail, o.answer"
StoredOutcome read_outcome(const pqxx::row& row, int first_column);
const char* kind_text(OperationKind kind);

std::optional<StoredOutcome> find_outcome(pg::Session& session, const std::string& scope,
                                          const std::string& key);
std::vector<StoredOutcome> unapplied_outcomes(pg::Session& session, const std::string& order_id);

std::vector<Decision> complete_before(pg::Session& session, std::chrono::seconds keep,
                                      const std::vector<std::string>& away, std::size_t limit);
Done forget(pg::Session& session, const std::vector<protocol::Gid>& gids);
// Tombstones that one call of trim() deletes at most.
inline constexpr std::size_t trim_rows_max = 5000;
std::uint64_t trim(pg::Session& session, std::chrono::seconds keep, std::chrono::seconds period,
                   std::chrono::seconds keys_keep);

}  // namespace txcoord::log_sql
