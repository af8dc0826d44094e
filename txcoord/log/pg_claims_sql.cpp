// See pg_claims_sql.hpp.
#include "txcoord/log/pg_claims_sql.hpp"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "txcoord/log/pg_transaction_log_sql.hpp"

namespace txcoord::log_sql {
namespace {

using pg::Session;
using pg::Statement;

// One round trip. Whoever holds up a claim (a change of period, a key that a stranger's session is
// writing) is waited for shortly: the caller halves its batch, and the others go on. The period is
// read by a statement of its own, after the lock is there.
constexpr const char* begin_and_lock_periods =
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
    "SET LOCAL lock_timeout = 300;"
    "SELECT pg_advisory_xact_lock_shared(" TXC_KEY_PERIOD_LOCK
    ");"
    "SELECT max(period) FROM key_periods";

constexpr Statement read_claimed{"log_read_claimed", R"(
SELECT k.n, )" TXC_OUTCOME_COLUMNS R"(
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (scope, key, n)
CROSS JOIN LATERAL (SELECT * FROM operations p
                    WHERE p.idempotency_key = k.key AND p.scope = k.scope
                    ORDER BY p.period DESC LIMIT 1) o)"};

}  // namespace

int begin_claim(Session& session) {
  return session.exec_simple(begin_and_lock_periods).at(0).at(0).as<int>();
}

std::vector<std::size_t> claim_order(const Operations& operations) {
  std::vector<std::size_t> order(operations.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) {
    return std::tie(operations[i]->scope, operations[i]->idempotency_key);
  });
  return order;
}

std::vector<std::optional<StoredOutcome>> read_stored(Session& session,
                                                      const std::vector<std::string>& scopes,
                                                      const std::vector<std::string>& keys) {
  std::vector<std::optional<StoredOutcome>> stored(keys.size());
  for (const auto& row : session.exec(read_claimed, scopes, keys))
    stored.at(row.at(0).as<std::size_t>() - 1) = read_outcome(row, 1);
  return stored;
}

std::string fence(Session& session, const std::string& coordinator, std::uint64_t epoch) {
  return "SELECT 1/count(*) FROM (SELECT 1 FROM coordinator_epoch WHERE id = " +
         session.quote(coordinator) + " AND epoch = " + std::to_string(epoch) + " FOR SHARE) f;";
}

Failure commit_failure(Failure failure) {
  // Raised by the fence alone: the epoch was taken from us.
  if (failure.sqlstate == "22012")
    return {FailureKind::fenced, false, failure.sqlstate, failure.message};
  if (failure.sqlstate.empty()) return failure;  // classified by what became of the connection
  // Statements and triggers before the commit raise these, as an ERROR; the commit itself cannot.
  // What ended the session with one of them was marked unknown before (pool.hpp), and stays so.
  // What else the server says (57014, XX000, 25P03 and 25P04 of a timeout, …) may have come between
  // the commit and its acknowledgement.
  const std::string_view sqlstate = failure.sqlstate;
  for (const std::string_view certain :
       {"22", "23", "25006", "25P01", "25P02", "40", "42", "53", "55", "P0"})
    if (sqlstate.starts_with(certain)) return failure;
  failure.outcome_unknown = true;
  return failure;
}

void roll_back(Session& session) noexcept {
  try {
    if (session.usable() && session.in_transaction()) session.exec_simple("ROLLBACK");
  } catch (...) {  // the pool closes a session that still has a transaction open
  }
}

}  // namespace txcoord::log_sql
