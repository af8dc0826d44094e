// One group in the log: claim its keys, decide, or prove that it was not decided.
// Why no key is let in twice: pg_claims_sql.hpp.
//
// Why no gid has two outcomes (I3): both are inserted under one primary key, decisions.gid. Who
// comes second waits for the first, then finds it or, if it was rolled back, is the first.
#include <algorithm>
#include <stdexcept>

#include "participants/locked_rows.hpp"
#include "participants/row_keys.hpp"
#include "txcoord/base/sha256.hpp"
#include "txcoord/log/pg_claims_sql.hpp"
#include "txcoord/log/pg_transaction_log_sql.hpp"

namespace txcoord::log_sql {
namespace {

using pg::Session;
using pg::Statement;

// Rows carry what they mean if the group commits, so a group without refusals is not written twice.
// ORDER BY: in claim order, whatever the plan. A key that another transaction is claiming is left
// out (TXC_KEY_IS_FREE).
constexpr Statement claim_keys{
    "log_claim_keys", "WITH asked AS MATERIALIZED (SELECT k.*, " TXC_KEY_IS_FREE R"( AS free
  FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::text[])
       WITH ORDINALITY AS k (scope, key, fingerprint, kind, order_id, answer, n))
INSERT INTO operations (period, scope, idempotency_key, fingerprint, kind, outcome, order_id, gid,
                        answer)
SELECT $1::integer, k.scope, k.key, decode(k.fingerprint, 'hex'), k.kind, 'confirmed', k.order_id,
       $2::text, k.answer
FROM asked k
WHERE k.free AND )" TXC_IN_NO_OLDER_PERIOD R"(
ORDER BY k.n
ON CONFLICT DO NOTHING
RETURNING scope, idempotency_key)"};

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

constexpr Statement restore_decision{"log_restore_decision", R"(
INSERT INTO decisions (gid, coordinator, epoch, outcome, participants, order_ids)
VALUES ($1, $2, $3, 'commit', $4::text[], $5::uuid[])
ON CONFLICT (gid) DO NOTHING)"};

constexpr Statement read_decision{"log_read_decision",
                                  "SELECT outcome FROM decisions WHERE gid = $1"};

DecisionOutcome outcome_from(const pqxx::result& found) {
  return found.at(0).at(0).as<std::string>() == "commit" ? DecisionOutcome::commit
                                                         : DecisionOutcome::abort;
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
  const auto stored = read_stored(session, scopes, keys);
  for (std::size_t n = 0; n < others.size(); ++n) {
    if (!stored[n]) continue;
    result.reply.votes[others[n]] = {protocol::Answer::duplicate, true, "", "", ""};
    result.reply.stored[others[n]] = stored[n];
  }
}

std::string quoted_array(Session& session, const std::vector<std::string>& values,
                         const char* type) {
  std::string text = "ARRAY[";
  for (const std::string& value : values)
    text += (text.back() == '[' ? "" : ",") + session.quote(value);
  return text + "]::" + type + "[]";
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
  // What neither we got nor anybody has (another transaction is claiming it, its owner was rolled
  // back in between, or it stands twice in one group): judge later.
  for (std::size_t i = 0; i < operations.size(); ++i)
    result.reply.votes[i] = vote_busy(row_key("log", operations[i]->idempotency_key), {});
  try {
    result.claimed.period = begin_claim(session);
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
    // What it waits for now is a raise of its epoch, which is over soon: not the claims' short
    // wait.
    std::string sql = "SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout TO DEFAULT;";
    if (record.commit) sql += insert_decision(session, gid, operations, record);
    sql += fence(session, gid.coordinator, gid.epoch);  // I11
    sql += "COMMIT";
    session.exec_simple(sql);
  } catch (...) {
    roll_back(session);
    throw;
  }
}

Failure decision_failure(Failure failure) {
  // Raised by decisions.gid alone: the absence of this decision was already proven. As with the
  // fence, somebody else speaks for the gid.
  if (failure.sqlstate == "23505")
    return {FailureKind::fenced, false, failure.sqlstate, failure.message};
  return commit_failure(std::move(failure));
}

// What stands under the gid once `write` has tried to put an outcome there. I3: the primary key
// waits for a decision in flight, and one that comes later fails on this row. Two statements: the
// second sees what the first waited for.
//
// I11: decisions are trimmed. A process that was stopped for longer than they are kept would find
// nothing, and write an outcome for what was decided, done and forgotten. By then its epoch was
// raised, since only who took its work over has completed it. So the fence stands in the string
// that commits: while it holds nobody has taken over, and what was read is there.
template <class Write>
DecisionOutcome prove(Session& session, const LogOwner& owner, const std::string& gid,
                      Write write) {
  session.exec_simple("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
  try {
    write();
    const pqxx::result found = session.exec(read_decision, gid);
    if (found.empty()) throw std::runtime_error("the decision was trimmed meanwhile");
    const DecisionOutcome outcome = outcome_from(found);
    session.exec_simple("SET LOCAL synchronous_commit = on;" +
                        fence(session, owner.coordinator, owner.epoch) + "COMMIT");
    return outcome;
  } catch (...) {
    roll_back(session);
    throw;
  }
}

DecisionOutcome settle(Session& session, const LogOwner& owner, const protocol::Gid& gid) {
  const std::string text = protocol::format(gid);
  return prove(session, owner, text,
               [&] { session.exec(write_tombstone, text, gid.coordinator, gid.epoch); });
}

DecisionOutcome write_decision_again(Session& session, const LogOwner& owner,
                                     const protocol::Gid& gid,
                                     const std::vector<std::string>& participants,
                                     const std::vector<std::string>& order_ids) {
  const std::string text = protocol::format(gid);
  return prove(session, owner, text, [&] {
    session.exec(restore_decision, text, gid.coordinator, gid.epoch, participants, order_ids);
  });
}

}  // namespace txcoord::log_sql
