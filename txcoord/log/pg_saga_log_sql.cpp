// What the owner of sagas writes: starts, states, trouble, adoption.
//
// Why nobody else's saga is ever changed, and no state of a fenced owner lands (I8, I11):
//  1. Each transaction here holds the owner's epoch row shared (the fence) until it has committed,
//     or raises. Who raises the epoch waits for it.
//  2. A saga is adopted only from an epoch that is below its coordinator's, as committed. So no
//     transaction of the old owner is under way then, none will succeed later, and what is read is
//     the last that it made durable.
//  3. Of two that adopt at once, one has the row locked, and the other skips it or, coming later,
//     finds it owned by an epoch that is not fenced.
#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>

#include "txcoord/base/sha256.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/log/pg_claims_sql.hpp"
#include "txcoord/log/pg_saga_log_sql.hpp"
#include "txcoord/log/pg_transaction_log_sql.hpp"
#include "txcoord/protocol/saga.hpp"

namespace txcoord::saga_sql {
namespace {

using pg::Session;
using pg::Statement;

// The key, the instance and its first state for each saga whose key is free, in claim order.
// Returns the ids of these.
constexpr Statement claim_and_begin{
    "saga_start",
    R"(
WITH asked AS MATERIALIZED (
  SELECT k.*, )" TXC_TAKE_KEY
    R"( AS taken FROM unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::uuid[], $10::text[],
                       $11::text[], $12::boolean[], $13::text[], $14::text[], $15::text[],
                       $16::text[])
       WITH ORDINALITY AS k (scope, key, fingerprint, kind, order_id, correlation_id,
                             answer, accepted, saga_id, type, step,
                             payload, n)),
claimed AS (
  INSERT INTO operations (period, scope, idempotency_key, fingerprint, kind, outcome, order_id,
                          gid, answer, accepted)
  SELECT $1::integer, k.scope, k.key, decode(k.fingerprint, 'hex'), k.kind, 'pending', k.order_id,
         k.saga_id, k.answer, k.accepted
  FROM asked k
  WHERE )" TXC_IN_NO_OLDER_PERIOD R"(
  ORDER BY k.n
  ON CONFLICT DO NOTHING
  RETURNING gid),
begun AS (
  INSERT INTO saga_instances (saga_id, saga_type, order_id, correlation_id, period, scope,
                              idempotency_key, accepted, coordinator, epoch, status, current_step,
                              payload)
  SELECT k.saga_id::uuid, k.type, k.order_id, k.correlation_id, $1::integer, k.scope, k.key,
         k.accepted, $2, $3, $4, k.step, k.payload
  FROM asked k JOIN claimed ON claimed.gid = k.saga_id
  RETURNING saga_id, status, current_step),
noted AS (
  INSERT INTO saga_history (saga_id, n, status, step)
  SELECT saga_id, 0, status, current_step FROM begun)
SELECT gid FROM claimed)"};

// One commit for the states, their history and the outcomes of those that confirm or ended. A state
// that does not move its saga on changes nothing: it was recorded before, or a later one was. The
// payload of one that goes on is not read, it stays where it is. Unfinished is who has a step left:
// to ask for ended_at would let the planner read the index of all that are unfinished.
// Nobody holds a row of ours for long, so one that is held is given up soon: the batch waits for
// it.
constexpr Statement record_states{
    "saga_record",
    "WITH " TXC_HELD_AND(", set_config('lock_timeout', '400ms', true) AS patience") R"(,
told AS MATERIALIZED (
  SELECT * FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::integer[],
                       $9::text[], $10::boolean[])
       AS t (saga_id, status, step, reason, detail, progress, outcome, ended)),
moved AS (
  UPDATE saga_instances s
  SET status = t.status, current_step = t.step, reason = t.reason, detail = t.detail,
      progress = t.progress, updated_at = now(), answered = s.answered OR t.outcome <> '',
      attempts = 0, next_retry_at = NULL, last_error = '', stuck_since = NULL,
      ended_at = CASE WHEN t.ended THEN now() END,
      payload = CASE WHEN t.ended THEN '' ELSE s.payload END
  FROM told t, held
  WHERE held.one = 1 AND held.flushed = 'on' AND held.patience <> '' AND s.saga_id = t.saga_id
    AND s.coordinator = $1 AND s.epoch = $2 AND s.current_step <> '' AND s.progress < t.progress
  RETURNING s.saga_id, s.period, s.scope, s.idempotency_key, t.progress, t.status, t.step,
            t.reason, t.detail, t.outcome),
noted AS (
  INSERT INTO saga_history (saga_id, n, status, step)
  SELECT saga_id, progress, status, step FROM moved),
settled AS (
  UPDATE operations o
  SET outcome = m.outcome, reason = m.reason, detail = m.detail,
      answer = CASE WHEN m.outcome = 'confirmed' THEN o.answer ELSE '' END
  FROM moved m
  WHERE m.outcome <> '' AND o.period = m.period AND o.scope = m.scope
    AND o.idempotency_key = m.idempotency_key AND o.outcome = 'pending')
SELECT t.saga_id FROM told t, held
WHERE held.one = 1 AND NOT EXISTS (SELECT FROM saga_instances s WHERE s.saga_id = t.saga_id
                                   AND s.coordinator = $1 AND s.epoch = $2))"};

// SKIP LOCKED: a row that is locked is being moved on, which ends its trouble; and what waits for
// nothing takes part in no deadlock with record_states. Only a state that moves on ends
// stuck_since: whoever adopts the saga counts its failures anew, and that helps nobody.
constexpr Statement note_troubles{"saga_note_trouble", "WITH " TXC_HELD R"(,
told AS MATERIALIZED (
  SELECT * FROM unnest($3::uuid[], $4::integer[], $5::text[], $6::text[], $7::boolean[])
       AS t (saga_id, attempts, next_retry_at, last_error, stuck)),
free AS (
  SELECT s.saga_id FROM saga_instances s JOIN told t ON t.saga_id = s.saga_id
  WHERE s.coordinator = $1 AND s.epoch = $2 AND s.current_step <> ''
  FOR UPDATE OF s SKIP LOCKED)
UPDATE saga_instances s
SET attempts = t.attempts, next_retry_at = nullif(t.next_retry_at, '')::timestamptz,
    last_error = t.last_error,
    stuck_since = CASE WHEN t.stuck THEN coalesce(s.stuck_since, now()) ELSE s.stuck_since END
FROM told t, free, held
WHERE held.one = 1 AND held.flushed = 'on' AND s.saga_id = t.saga_id AND s.saga_id = free.saga_id)"};

// $4: these alone; null: any.
constexpr Statement adopt_orphans{"saga_adopt", "WITH " TXC_HELD R"(,
orphans AS (
  SELECT s.saga_id, s.coordinator, s.epoch
  FROM saga_instances s JOIN coordinator_epoch e ON e.id = s.coordinator
  WHERE s.ended_at IS NULL AND s.epoch < e.epoch
    AND ($4::uuid[] IS NULL OR s.saga_id = ANY ($4::uuid[]))
  ORDER BY s.created_at, s.saga_id
  LIMIT $3
  FOR UPDATE OF s SKIP LOCKED)
UPDATE saga_instances s SET coordinator = $1, epoch = $2
FROM orphans o, held
WHERE held.one = 1 AND held.flushed = 'on' AND s.saga_id = o.saga_id
RETURNING )" TXC_SAGA_COLUMNS ", o.coordinator, o.epoch"};

constexpr Statement take_up_ours{"saga_take_up", "WITH " TXC_HELD " SELECT " TXC_SAGA_COLUMNS R"(
FROM saga_instances s, held
WHERE held.one = 1 AND held.flushed = 'on' AND s.saga_id = ANY ($3::uuid[])
  AND s.coordinator = $1 AND s.epoch = $2 AND s.current_step <> '')"};

struct StartColumns {
  std::vector<std::string> scopes, keys, fingerprints, kinds, order_ids, correlation_ids, answers,
      accepted, ids, types, steps, payloads;

  void add(const SagaStart& saga) {
    const Operation& operation = *saga.operation;
    scopes.push_back(operation.scope);
    keys.push_back(operation.idempotency_key);
    fingerprints.push_back(to_hex(operation.fingerprint));
    kinds.emplace_back(log_sql::kind_text(operation.kind));
    order_ids.push_back(operation.order_id);
    correlation_ids.push_back(operation.correlation_id);
    answers.push_back(operation.answer);
    accepted.emplace_back(saga.accepted ? "true" : "false");
    ids.push_back(saga.saga_id);
    types.push_back(saga.type);
    steps.push_back(saga.current_step);
    payloads.push_back(saga.payload);
  }
};

std::set<std::string> insert_starts(Session& session, const SagaOwner& owner,
                                    const std::vector<SagaStart>& sagas,
                                    const std::vector<std::size_t>& order, int period) {
  StartColumns column;
  for (const std::size_t i : order) column.add(sagas[i]);
  std::set<std::string> begun;
  const std::string first_status(protocol::saga_started);
  for (const auto& row :
       session.exec(claim_and_begin, period, owner.coordinator, owner.epoch, first_status,
                    column.scopes, column.keys, column.fingerprints, column.kinds, column.order_ids,
                    column.correlation_ids, column.answers, column.accepted, column.ids,
                    column.types, column.steps, column.payloads))
    begun.insert(row.at(0).as<std::string>());
  return begun;
}

// For the keys that did not come back: what is stored under them. Pending under the same saga: this
// very start came before, and only its acknowledgement was lost.
void read_others(Session& session, const std::vector<SagaStart>& sagas,
                 std::vector<SagaStartReply>& replies) {
  std::vector<std::size_t> others;
  std::vector<std::string> scopes, keys;
  for (std::size_t i = 0; i < sagas.size(); ++i) {
    if (replies[i].started) continue;
    others.push_back(i);
    scopes.push_back(sagas[i].operation->scope);
    keys.push_back(sagas[i].operation->idempotency_key);
  }
  if (others.empty()) return;
  auto stored = log_sql::read_stored(session, scopes, keys);
  for (std::size_t n = 0; n < others.size(); ++n) {
    SagaStartReply& reply = replies[others[n]];
    reply.started = stored[n] && stored[n]->pending && stored[n]->gid == sagas[others[n]].saga_id;
    if (!reply.started) reply.stored = std::move(stored[n]);
  }
}

}  // namespace

std::vector<SagaStartReply> start(Session& session, const SagaOwner& owner,
                                  const std::vector<SagaStart>& sagas) {
  std::vector<SagaStartReply> replies(sagas.size());
  Operations operations;
  operations.reserve(sagas.size());
  for (const SagaStart& saga : sagas) operations.push_back(saga.operation);
  const std::vector<std::size_t> order = log_sql::claim_order(operations);
  try {
    const int period = log_sql::begin_claim(session);
    const std::set<std::string> begun = insert_starts(session, owner, sagas, order, period);
    for (std::size_t i = 0; i < sagas.size(); ++i)
      replies[i].started = begun.contains(sagas[i].saga_id);
    read_others(session, sagas, replies);
    // One string, so that nothing can come between the fence (I11) and the commit;
    // synchronous_commit again, should anybody have changed the session (I2).
    session.exec_simple("SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout TO DEFAULT;" +
                        log_sql::fence(session, owner.coordinator, owner.epoch) + "COMMIT");
  } catch (...) {
    log_sql::roll_back(session);
    throw;
  }
  return replies;
}

std::vector<std::string> record(Session& session, const SagaOwner& owner,
                                const std::vector<SagaUpdate>& updates) {
  std::vector<std::string> ids, statuses, steps, reasons, details, outcomes, ended;
  std::vector<std::int64_t> progresses;
  for (const SagaUpdate& update : updates) {
    ids.push_back(update.saga_id);
    statuses.push_back(update.status);
    steps.push_back(update.current_step);
    reasons.push_back(update.reason);
    details.push_back(update.detail);
    progresses.push_back(update.progress);
    outcomes.emplace_back(update.confirmed ? "confirmed" : update.ended ? "refused" : "");
    ended.emplace_back(update.ended ? "true" : "false");
  }
  std::vector<std::string> not_ours;
  for (const auto& row : session.exec(record_states, owner.coordinator, owner.epoch, ids, statuses,
                                      steps, reasons, details, progresses, outcomes, ended))
    not_ours.push_back(row.at(0).as<std::string>());
  return not_ours;
}

Done note_trouble(Session& session, const SagaOwner& owner,
                  const std::vector<SagaTrouble>& troubles) {
  // The last word on each saga.
  std::map<std::string, const SagaTrouble*> last;
  for (const SagaTrouble& trouble : troubles) last[trouble.saga_id] = &trouble;
  std::vector<std::string> ids, retries, errors, stuck;
  std::vector<std::int64_t> attempts;
  for (const auto& [id, trouble] : last) {
    ids.push_back(id);
    attempts.push_back(trouble->attempts);
    retries.push_back(trouble->next_retry_at ? rfc3339(*trouble->next_retry_at) : "");
    errors.push_back(trouble->last_error);
    stuck.emplace_back(trouble->stuck ? "true" : "false");
  }
  session.exec(note_troubles, owner.coordinator, owner.epoch, ids, attempts, retries, errors,
               stuck);
  return {};
}

namespace {

std::vector<SagaInstance> oldest_first(std::vector<SagaInstance> sagas) {
  std::ranges::sort(
      sagas, {}, [](const SagaInstance& saga) { return std::tie(saga.created_at, saga.saga_id); });
  return sagas;
}

// The last two columns: whose they were.
std::vector<SagaInstance> read_adopted(const pqxx::result& rows) {
  auto adopted = read_instances(rows);
  for (std::size_t i = 0; i < adopted.size(); ++i) {
    const auto row = rows.at(static_cast<pqxx::result::size_type>(i));
    const auto last = row.size() - 1;
    adopted[i].adopted_from = {row.at(last - 1).as<std::string>(),
                               row.at(last).as<std::uint64_t>()};
  }
  return oldest_first(std::move(adopted));
}

}  // namespace

std::vector<SagaInstance> adopt(Session& session, const SagaOwner& owner, std::size_t limit) {
  const std::optional<std::string> any;
  return read_adopted(session.exec(adopt_orphans, owner.coordinator, owner.epoch, limit, any));
}

std::vector<SagaInstance> adopt_these(Session& session, const SagaOwner& owner,
                                      const std::vector<std::string>& saga_ids) {
  return read_adopted(
      session.exec(adopt_orphans, owner.coordinator, owner.epoch, saga_ids.size(), saga_ids));
}

std::vector<SagaInstance> take_up(Session& session, const SagaOwner& owner,
                                  const std::vector<std::string>& saga_ids) {
  return oldest_first(
      read_instances(session.exec(take_up_ours, owner.coordinator, owner.epoch, saga_ids)));
}

}  // namespace txcoord::saga_sql
