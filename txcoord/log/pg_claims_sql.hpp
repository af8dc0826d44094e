// What every transaction of the log that claims keys, or is fenced, has in common: groups
// (pg_transaction_log_group.cpp) and starts of sagas (pg_saga_log_sql.cpp).
//
// Why no key is let in twice (I5), whatever coordinators and rotations do at the same time:
//  1. A claim holds the key-period lock shared, from before it reads the period until it commits.
//  2. A rotation takes that lock exclusively: when it has it, every claim of the older periods is
//     committed or gone, and claims that come later read the new period.
//  3. So a claim's look into older periods sees all that was ever let in there.
//  4. Within the period the primary key decides: the second claim waits for the first to end, and
//     the statement after that sees its row, since READ COMMITTED takes a snapshot for each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "txcoord/log/transaction_log.hpp"
#include "txcoord/pg/session.hpp"

namespace txcoord::log_sql {

// One lock of the log database: claims hold it shared until they end, a change of period holds it
// exclusively. PostgreSQL queues both in order of arrival.
#define TXC_KEY_PERIOD_LOCK "hashtext('txc_key_period')"

// Whether the key of a row `k` (scope, key) is claimed by no other open transaction; from then on
// it is ours until this one ends. ON CONFLICT would wait for the other's end, and with it
// everything that is claimed in one statement. The primary key alone decides who has the key: two
// keys with one hash, or a version that does not ask, cost a wait or a second try.
#define TXC_KEY_HASH "hashtextextended(k.key || chr(10) || k.scope, 0)"
#define TXC_KEY_IS_FREE "pg_try_advisory_xact_lock(" TXC_KEY_HASH ")"
// The start of a saga waits instead: an earlier try of the same start, whose answer was lost, may
// still be committing, and must be found and not passed by.
#define TXC_TAKE_KEY "pg_advisory_xact_lock(" TXC_KEY_HASH ")"

// A condition on a row `k` (scope, key) to claim: the key stands in no period before $1. A
// subselect and not a join, so that no plan ever reads a whole period for it.
#define TXC_IN_NO_OLDER_PERIOD                             \
  "(SELECT o.period FROM operations o"                     \
  " WHERE o.idempotency_key = k.key AND o.scope = k.scope" \
  " AND o.period < $1::integer LIMIT 1) IS NULL"

// Begins the transaction and locks the periods. Returns the current one.
int begin_claim(pg::Session& session);

// Indexes of the operations in the order in which keys are claimed, everywhere: by bytes. Two that
// share keys wait for each other in one order only.
std::vector<std::size_t> claim_order(const Operations& operations);

// What stands under these keys, one for each; none: nobody has it (its owner was rolled back).
std::vector<std::optional<StoredOutcome>> read_stored(pg::Session& session,
                                                      const std::vector<std::string>& scopes,
                                                      const std::vector<std::string>& keys);

// I11: the fence stands in the string that commits, and raises (22012 division by zero) when the
// epoch is no longer the coordinator's: a fence that merely returns no row would not stop the
// COMMIT after it. FOR SHARE waits for a raise under way and holds off the next until we are done.
std::string fence(pg::Session& session, const std::string& coordinator, std::uint64_t epoch);

// The same for a statement that is a transaction of its own: it raises when the epoch $2 is no
// longer that of $1. Every part of the statement asks it for held.one = 1, so that no plan can
// leave it out. The commit is flushed whatever the session was set to.
#define TXC_HELD_AND(more)                                        \
  "held AS MATERIALIZED (SELECT 1 / count(*) AS one,"             \
  " set_config('synchronous_commit', 'on', true) AS flushed" more \
  " FROM (SELECT 1 FROM coordinator_epoch WHERE id = $1 AND epoch = $2 FOR SHARE) f)"
#define TXC_HELD TXC_HELD_AND("")

// What a failure of a fenced transaction says about its commit: fenced, certainly not committed,
// or unknown.
Failure commit_failure(Failure failure);

void roll_back(pg::Session& session) noexcept;

}  // namespace txcoord::log_sql
