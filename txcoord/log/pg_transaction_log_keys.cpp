// Outcomes under their keys, and the housekeeping: tombstones deleted in bounded batches, key
// periods started and dropped whole.
#include <array>
#include <stdexcept>

#include "txcoord/base/logging.hpp"
#include "txcoord/log/pg_transaction_log_sql.hpp"

namespace txcoord::log_sql {
namespace {

using pg::Session;
using pg::Statement;

constexpr Statement find_key{"log_find_outcome", "SELECT " TXC_OUTCOME_COLUMNS R"( FROM operations o
WHERE o.idempotency_key = $1 AND o.scope = $2 ORDER BY o.period DESC LIMIT 1)"};

constexpr Statement find_unapplied{"log_unapplied_outcomes",
                                   "SELECT " TXC_OUTCOME_COLUMNS R"( FROM decisions d
JOIN operations o ON o.gid = d.gid AND o.order_id = $1::uuid
WHERE d.completed_at IS NULL AND d.outcome = 'commit' AND d.order_ids @> ARRAY[$1::uuid]
  AND o.outcome = 'confirmed'
ORDER BY d.decided_at)"};

// Only tombstones of fenced epochs: while an epoch may still decide, the row is what makes a late
// decision of it fail (I3). After that the fence does (I11). SKIP LOCKED: two coordinators that
// trim at once take different rows.
constexpr Statement trim_tombstones{"log_trim_tombstones", R"(
DELETE FROM decisions WHERE gid IN (
  SELECT d.gid FROM decisions d JOIN coordinator_epoch c ON c.id = d.coordinator
  WHERE d.outcome = 'abort' AND NOT d.heuristic AND d.epoch < c.epoch
    AND d.decided_at < clock_timestamp() - $1::bigint * interval '1 second'
  ORDER BY d.decided_at LIMIT $2 FOR UPDATE OF d SKIP LOCKED))"};

constexpr Statement count_decisions{"log_count_decisions", "SELECT count(*) FROM decisions"};

constexpr Statement due_period{"log_due_period", R"(
SELECT period + 1 FROM key_periods
WHERE period = (SELECT max(period) FROM key_periods)
  AND started_at <= clock_timestamp() - $1::bigint * interval '1 second')"};

constexpr Statement add_period{"log_add_period", "SELECT txc_add_key_period($1)"};

// A period's keys are kept for `keys_keep` after the last of them could be claimed, and longer
// while one of them is pending (I5): forgotten, it would let the same request in beside its saga. A
// period that ended gets no new keys, so what is not pending there now never will be.
constexpr Statement expired_periods{"log_expired_periods", R"(
SELECT p.period FROM key_periods p JOIN key_periods next ON next.period = p.period + 1
WHERE next.started_at <= clock_timestamp() - $1::bigint * interval '1 second'
  AND NOT EXISTS (SELECT FROM saga_instances s WHERE s.period = p.period AND s.ended_at IS NULL)
ORDER BY p.period LIMIT 4)"};

// Runs `sql` while no claim is open. Claims that come meanwhile queue behind us, so the wait is
// short and given up soon: false, and the next trim tries again.
bool between_claims(Session& session, const std::string& sql) {
  try {
    session.exec_simple(
        "BEGIN; SET LOCAL lock_timeout = '250ms';"
        "SELECT pg_advisory_xact_lock(" TXC_KEY_PERIOD_LOCK ");" +
        sql + "; COMMIT");
    return true;
  } catch (const pqxx::sql_error& error) {
    roll_back(session);
    if (error.sqlstate() != std::string_view("55P03")) throw;
    logging::info("key period: claims are open, trying again later");
    return false;
  } catch (...) {
    roll_back(session);
    throw;
  }
}

// The partition is there before the period is: a claim of the new period always finds it.
void start_period_if_due(Session& session, std::chrono::seconds age) {
  const pqxx::result due = session.exec(due_period, age.count());
  if (due.empty()) return;
  const auto next = due.at(0).at(0).as<int>();
  session.exec(add_period, next);
  const std::string number = std::to_string(next);
  // Another coordinator may have been here first: then its row stays as it is.
  between_claims(session,
                 "INSERT INTO key_periods (period) VALUES (" + number + ") ON CONFLICT DO NOTHING");
}

void drop_expired_periods(Session& session, std::chrono::seconds keys_keep) {
  for (const auto& row : session.exec(expired_periods, keys_keep.count())) {
    const std::string number = std::to_string(row.at(0).as<int>());
    if (!between_claims(session, "DROP TABLE IF EXISTS operations_" + number +
                                     "; DELETE FROM key_periods WHERE period = " + number))
      return;
  }
}

struct KindName {
  OperationKind kind;
  const char* text;
};
constexpr std::array kind_names{
    KindName{OperationKind::place, "place"}, KindName{OperationKind::cancel, "cancel"},
    KindName{OperationKind::ship, "ship"}, KindName{OperationKind::deliver, "deliver"}};

OperationKind kind_from(std::string_view text) {
  for (const KindName& name : kind_names)
    if (text == name.text) return name.kind;
  throw std::runtime_error("the log holds an operation of an unknown kind");
}

std::uint8_t hex_digit(char c) {
  return static_cast<std::uint8_t>(c <= '9' ? c - '0' : c - 'a' + 10);
}

}  // namespace

// The log's stored format: not to_string(OperationKind), which people may change.
const char* kind_text(OperationKind kind) {
  for (const KindName& name : kind_names)
    if (kind == name.kind) return name.text;
  throw std::logic_error("an operation of an unknown kind");
}

StoredOutcome read_outcome(const pqxx::row& row, int first_column) {
  const auto text = [&](int column) { return row.at(first_column + column).as<std::string>(); };
  StoredOutcome outcome;
  const std::string fingerprint = text(0);
  for (std::size_t i = 0; i < outcome.fingerprint.size(); ++i)
    outcome.fingerprint[i] = static_cast<std::uint8_t>(hex_digit(fingerprint.at(2 * i)) * 16 +
                                                       hex_digit(fingerprint.at(2 * i + 1)));
  outcome.kind = kind_from(text(1));
  outcome.confirmed = row.at(first_column + 2).as<bool>();
  outcome.pending = row.at(first_column + 3).as<bool>();
  outcome.accepted = row.at(first_column + 4).as<bool>();
  outcome.order_id = text(5);
  outcome.gid = text(6);
  outcome.reason = text(7);
  outcome.detail = text(8);
  outcome.answer = text(9);
  return outcome;
}

std::optional<StoredOutcome> find_outcome(Session& session, const std::string& scope,
                                          const std::string& key) {
  const pqxx::result found = session.exec(find_key, key, scope);
  if (found.empty()) return std::nullopt;
  return read_outcome(found.at(0), 0);
}

std::vector<StoredOutcome> unapplied_outcomes(Session& session, const std::string& order_id) {
  std::vector<StoredOutcome> outcomes;
  for (const auto& row : session.exec(find_unapplied, order_id))
    outcomes.push_back(read_outcome(row, 0));
  return outcomes;
}

std::uint64_t trim(Session& session, std::chrono::seconds keep, std::chrono::seconds period,
                   std::chrono::seconds keys_keep) {
  session.exec(trim_tombstones, keep.count(), trim_rows_max);
  start_period_if_due(session, period);
  drop_expired_periods(session, keys_keep);
  return session.exec(count_decisions).at(0).at(0).as<std::uint64_t>();
}

}  // namespace txcoord::log_sql
