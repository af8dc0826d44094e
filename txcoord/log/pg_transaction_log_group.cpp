// One group in the log: claim its keys, decide, or prove that it was not decided.
//
// Why no key is let in twice (I5), whatever coordinators and rotations do at the same time:
//  1. A claim holds the key-period lock shared, from before it reads the period until it commits.
//  2. A rotation takes that lock exclusively: when it has it, every claim of the older periods is
//     committed or gone, and claims that come later read the new period.
//  3. So a claim's look into older periods sees all that was ever let in there.
//  4. Within the period the primary key decides: the second claim waits for the first to end, and
//     the statement after that sees its row, since READ COMMITTED takes a snapshot for each.
//
// Why no gid has two outcomes (I3): both are inserted under one primary key, decisions.gid. Who
// comes second waits for the first, then finds it or, if it was rolled back, is the first.
#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <tuple>

#include "txcoord/base/sha256.hpp"
#include "txcoord/log/pg_transaction_log_sql.hpp"

namespace txcoord::log_sql {
namespace {

using pg::Session;
using pg::Statement;

// One round trip. The period is read by a statement of its own, after the lock is there.
constexpr const char* begin_claim =
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
    "SELECT pg_advisory_xact_lock_shared(" TXC_KEY_PERIOD_LOCK
    ");"
    "SELECT max(period) FROM key_periods";

// Rows carry what they mean if the group commits, so a group without refusals is not written twice.
// ORDER BY: two groups that share keys wait for each other in one order only. The look into older
// periods is a subselect and not a join, so that no plan ever reads a whole period for it.
constexpr Statement claim_keys{"log_claim_keys", R"(
INSERT INTO operations (period, scope, idempotency_key, fingerprint, kind, outcome, order_id, gid,
                        answer)
SELECT $1::integer, k.scope, k.key, decode(k.fingerprint, 'hex'), k.kind, 'confirmed', k.order_id,
       $2::text, k.answer
FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::text[])
     WITH ORDINALITY AS k (scope, key, fingerprint, kind, order_id, answer, n)
WHERE (SELECT o.period FROM operations o
       WHERE o.idempotency_key = k.key AND o.scope = k.scope AND o.period < $1::integer
       LIMIT 1) IS NULL
ORDER BY k.n
ON CONFLICT DO NOTHING
RETURNING scope, idempotency_key)"};

constexpr Statement read_claimed{"log_read_claimed", R"(
SELECT k.n, )" TXC_OUTCOME_COLUMNS R"(
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (scope, key, n)
CROSS JOIN LATERAL (SELECT * FROM operations p
                    WHERE p.idempotency_key = k.key AND p.scope = k.scope
                    ORDER BY p.period DESC LIMIT 1) o)"};

constexpr Statement refuse_operations{"log_refuse_operations", R"(
UPDATE operations o SET outcome = 'refused', reason = r.reason, detail = r.detail, gid = $2::text,
                        answer = ''
FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS r (scope, key, reason, detail)
WHERE o.period = $1::integer AND o.scope = r.scope AND o.idempotency_key = r.key)"};

constexpr Statement unclaim_operations{"log_unclaim_operations", R"(
DELETE FROM operations o USING unnest($2::text[], $3::text[]) AS r (scope, key)
WHERE o.period = $1::integer AND o.scope = r.scope AND o.idempotency_key = r.key)"};

constexpr Statement write_tombstone{"log_write_tombstone", R"(
INSERT INTO decisions (gid, coordinator, epoch, outcome, completed_at)
VALUES ($1, $2, $3, 'abort', clock_timestamp())
ON CONFLICT (gid) DO NOTHING)"};

constexpr Statement read_decision{"log_read_decision",
                                  "SELECT outcome FROM decisions WHERE gid = $1"};

// Indexes of the operations in the order in which keys are claimed, everywhere: by bytes.
std::vector<std::size_t> claim_order(const Operations& operations) {
  std::vector<std::size_t> order(operations.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) {
    return std::tie(operations[i]->scope, operations[i]->idempotency_key);
  });
  return order;
}

using Key = std::pair<std::string, std::string>;  // scope, idempotency key
Key key_of(const Operation& operation) { return {operation.scope, operation.idempotency_key}; }

// Inserts the keys; sets in `mine` those that are ours now.
void insert_claims(Session& session, const std::string& gid, const Operations& operations,
                   const std::vector<std::size_t>& order, Claimed& claimed) {
  std::vector<std::string> scopes, keys, fingerprints, kinds, order_ids, answers;
  std::map<Key, std::size_t> index_of;
  for (const std::size_t i : order) {
    const Operation& operation = *operations[i];
    scopes.push_back(operation.scope);
    keys.push_back(operation.idempotency_key);
    fingerprints.push_back(to_hex(operation.fingerprint));
    kinds.emplace_back(kind_text(operation.kind));
    order_ids.push_back(operation.order_id);
    answers.push_back(operation.answer);
    index_of.emplace(key_of(operation), i);
  }
  const pqxx::result inserted = session.exec(claim_keys, claimed.period, gid, scopes, keys,
                                             fingerprints, kinds, order_ids, answers);
  for (const auto& row : inserted)
    claimed.mine[index_of.at({row.at(0).as<std::string>(), row.at(1).as<std::string>()})] = true;
}

// For the keys that did not come back: what is stored under them.
void read_duplicates(Session& session, const Operations& operations,
                     const std::vector<std::size_t>& order, ClaimResult& result) {
  std::vector<std::size_t> others;
  std::vector<std::string> scopes, keys;
  for (const std::size_t i : order) {
    if (result.claimed.mine[i]) continue;
    others.push_back(i);
    scopes.push_back(operations[i]->scope);
    keys.push_back(operations[i]->idempotency_key);
  }
  if (others.empty()) return;
  for (const auto& row : session.exec(read_claimed, scopes, keys)) {
    const std::size_t i = others.at(row.at(0).as<std::size_t>() - 1);
    result.reply.votes[i] = {protocol::Answer::duplicate, true, "", ""};
    result.reply.stored[i] = read_outcome(row, 1);
  }
}

std::string quoted_array(Session& session, const std::vector<std::string>& values,
                         const char* type) {
  std::string text = "ARRAY[";
  for (const std::string& value : values)
    text += (text.back() == '[' ? "" : ",") + session.quote(value);
  return text + "]::" + type + "[]";
}

// I11: the fence stands in the string that commits, and raises (22012 division by zero) when our
// epoch is no longer the coordinator's: a fence that merely returns no row would not stop the
// COMMIT after it. FOR SHARE waits for a raise under way and holds off the next until we are done.
std::string fence(Session& session, const protocol::Gid& gid) {
  return "SELECT 1/count(*) FROM (SELECT 1 FROM coordinator_epoch WHERE id = " +
         session.quote(gid.coordinator) + " AND epoch = " + std::to_string(gid.epoch) +
         " FOR SHARE) f;";
}

std::string insert_decision(Session& session, const protocol::Gid& gid,
                            const Operations& operations, const DecisionRecord& record) {
  std::vector<std::string> order_ids;
  order_ids.reserve(record.confirmed.size());
  for (const std::size_t i : record.confirmed) order_ids.push_back(operations[i]->order_id);
  return "INSERT INTO decisions (gid, coordinator, epoch, outcome, participants, order_ids) "
         "VALUES (" +
         session.quote(protocol::format(gid)) + ", " + session.quote(gid.coordinator) + ", " +
         std::to_string(gid.epoch) + ", 'commit', " +
         quoted_array(session, record.participants, "text") + ", " +
         quoted_array(session, order_ids, "uuid") + ");";
}

// The rows that do not stay as they were claimed: refusals, and claims to take back.
void correct_rows(Session& session, const std::string& gid, const Operations& operations,
                  const Claimed& claimed, const DecisionRecord& record) {
  std::vector<bool> back = claimed.mine;
  const auto take = [&](std::size_t i) {
    if (i >= operations.size() || !back[i])
      throw std::logic_error("decide: an operation that this group did not claim");
    back[i] = false;
  };
  for (const std::size_t i : record.confirmed) take(i);

  std::vector<std::string> scopes, keys, reasons, details;
  for (const RefusedOperation& refused : record.refused) {
    take(refused.index);
    scopes.push_back(operations[refused.index]->scope);
    keys.push_back(operations[refused.index]->idempotency_key);
    reasons.push_back(refused.reason);
    details.push_back(refused.detail);
  }
  if (!scopes.empty())
    session.exec(refuse_operations, claimed.period, record.commit ? gid : std::string(), scopes,
                 keys, reasons, details);

  scopes.clear();
  keys.clear();
  for (std::size_t i = 0; i < back.size(); ++i) {
    if (!back[i]) continue;
    scopes.push_back(operations[i]->scope);
    keys.push_back(operations[i]->idempotency_key);
  }
  if (!scopes.empty()) session.exec(unclaim_operations, claimed.period, scopes, keys);
}

}  // namespace

ClaimResult claim(Session& session, const protocol::Gid& gid, const Operations& operations) {
  ClaimResult result;
  result.reply.votes.resize(operations.size());
  result.reply.stored.resize(operations.size());
  result.claimed.mine.resize(operations.size());
  // What neither we got nor anybody has (its owner was rolled back in between, or it stands twice
  // in one group): judge later.
  std::ranges::fill(result.reply.votes, protocol::Vote{protocol::Answer::retry, true, "", ""});
  try {
    result.claimed.period = session.exec_simple(begin_claim).at(0).at(0).as<int>();
    std::vector<std::size_t> order = claim_order(operations);
    const auto twice =
        std::ranges::unique(order, {}, [&](std::size_t i) { return key_of(*operations[i]); });
    order.erase(twice.begin(), twice.end());
    insert_claims(session, protocol::format(gid), operations, order, result.claimed);
    read_duplicates(session, operations, order, result);
  } catch (...) {
    roll_back(session);
    throw;
  }
  for (std::size_t i = 0; i < operations.size(); ++i)
    if (result.claimed.mine[i]) result.reply.votes[i] = {};
  return result;
}

void decide(Session& session, const protocol::Gid& gid, const Operations& operations,
            const Claimed& claimed, const DecisionRecord& record) {
  if (record.commit == record.confirmed.empty())
    throw std::logic_error("decide: commit means that something was confirmed");
  // Without it the string below would commit a decision whose operations are not recorded.
  if (!session.in_transaction()) throw std::logic_error("decide: the claim's transaction is gone");
  try {
    correct_rows(session, protocol::format(gid), operations, claimed, record);
    // I4: its COMMIT is the commit point. One string, so that nothing can come between the
    // fence and the commit; synchronous_commit again, should anybody have changed the session.
    std::string sql = "SET LOCAL synchronous_commit = on;";
    if (record.commit) sql += insert_decision(session, gid, operations, record);
    sql += fence(session, gid);
    sql += "COMMIT";
    session.exec_simple(sql);
  } catch (...) {
    roll_back(session);
    throw;
  }
}

Failure decision_failure(Failure failure) {
  // Raised by the fence alone, and by decisions.gid alone: the epoch was taken from us, or the
  // absence of this decision was already proven. Either way somebody else speaks for the gid.
  if (failure.sqlstate == "22012" || failure.sqlstate == "23505")
    return {FailureKind::fenced, false, failure.sqlstate, failure.message};
  if (failure.sqlstate.empty()) return failure;  // classified by what became of the connection
  // Statements before the COMMIT raise these; the COMMIT itself cannot. What else the server says
  // (57014, XX000, …) may have come between the commit and its acknowledgement.
  const std::string group = failure.sqlstate.substr(0, 2);
  for (const char* certain : {"22", "23", "25", "40", "42", "53", "55"})
    if (group == certain) return failure;
  failure.outcome_unknown = true;
  return failure;
}

DecisionOutcome settle(Session& session, const protocol::Gid& gid) {
  const std::string text = protocol::format(gid);
  // I3: waits for a decision in flight; a decision that comes later fails on this row. Two
  // statements: the second sees what the first waited for.
  session.exec(write_tombstone, text, gid.coordinator, gid.epoch);
  const pqxx::result found = session.exec(read_decision, text);
  if (found.empty()) throw std::runtime_error("settle: the decision was trimmed meanwhile");
  return found.at(0).at(0).as<std::string>() == "commit" ? DecisionOutcome::commit
                                                         : DecisionOutcome::abort;
}

void roll_back(Session& session) noexcept {
  try {
    if (session.usable() && session.in_transaction()) session.exec_simple("ROLLBACK");
  } catch (...) {  // the pool closes a session that still has a transaction open
  }
}

}  // namespace txcoord::log_sql
