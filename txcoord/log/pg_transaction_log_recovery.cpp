// What recovery asks of the log: decisions, their completion and their end.
#include <stdexcept>

#include "txcoord/log/pg_transaction_log_sql.hpp"

namespace txcoord::log_sql {
namespace {

using pg::Session;
using pg::Statement;

#define TXC_DECISION_COLUMNS                                                            \
  "gid, outcome, array_to_string(participants, ','), array_to_string(order_ids, ','), " \
  "completed_at IS NOT NULL, heuristic, (extract(epoch FROM decided_at) * 1000000)::bigint"

constexpr Statement decisions_among{"log_decisions_among",
                                    "SELECT " TXC_DECISION_COLUMNS
                                    " FROM decisions WHERE gid = ANY ($1::text[])"};

constexpr Statement incomplete{"log_incomplete_decisions",
                               "SELECT " TXC_DECISION_COLUMNS R"( FROM decisions
WHERE completed_at IS NULL AND outcome = 'commit' ORDER BY decided_at LIMIT $1)"};

// Heuristic ones stay until a person has looked at them.
constexpr Statement complete_for_long{"log_complete_before",
                                      "SELECT " TXC_DECISION_COLUMNS R"( FROM decisions
WHERE outcome = 'commit' AND NOT heuristic
  AND completed_at < clock_timestamp() - $1::bigint * interval '1 second'
  AND NOT participants && $2::text[]
ORDER BY decided_at LIMIT $3)"};

// SKIP LOCKED: two coordinators that forget the same ones at once do not wait for each other.
constexpr Statement forget_decisions{"log_forget_decisions", R"(
DELETE FROM decisions WHERE gid IN (
  SELECT gid FROM decisions
  WHERE gid = ANY ($1::text[]) AND outcome = 'commit' AND NOT heuristic AND completed_at IS NOT NULL
  FOR UPDATE SKIP LOCKED))"};

constexpr Statement list{"log_list_decisions", "SELECT " TXC_DECISION_COLUMNS R"( FROM decisions d
WHERE CASE $1::text
        WHEN '' THEN true
        WHEN 'heuristic' THEN heuristic
        WHEN 'heuristic_open' THEN heuristic AND EXISTS (
          SELECT FROM heuristic_outcomes h WHERE h.gid = d.gid AND )" TXC_HEURISTIC_OPEN R"()
        WHEN 'aborted' THEN outcome = 'abort'
        WHEN 'committing' THEN outcome = 'commit' AND NOT heuristic AND completed_at IS NULL
        WHEN 'completed' THEN outcome = 'commit' AND NOT heuristic AND completed_at IS NOT NULL
        ELSE false END
ORDER BY decided_at DESC LIMIT $2)"};

constexpr Statement unapplied_gids{"log_unapplied_gids", R"(
SELECT gid FROM decisions
WHERE completed_at IS NULL AND outcome = 'commit' AND order_ids @> ARRAY[$1::uuid]
ORDER BY decided_at)"};

// In gid order: after a take-over two coordinators may complete the same decisions at once. A
// tombstone is complete from its birth, so it would pass for done: it is told by its outcome.
// Nobody else holds such a row for long: one that is held is given up soon, the others are
// completed without it (forgetter.cpp).
constexpr Statement complete_decisions{
    "log_complete_decisions",
    "WITH " TXC_HELD_AND(", set_config('lock_timeout', '100ms', true) AS patience") R"(,
open AS (
  SELECT d.gid FROM decisions d, held
  WHERE held.one = 1 AND held.patience <> '' AND d.gid = ANY ($3::text[]) AND d.completed_at IS NULL
  ORDER BY d.gid FOR UPDATE OF d),
done AS (
  UPDATE decisions d SET completed_at = clock_timestamp() FROM open, held
  WHERE held.one = 1 AND held.flushed = 'on' AND d.gid = open.gid)
SELECT gid FROM decisions, held
WHERE held.one = 1 AND gid = ANY ($3::text[]) AND outcome = 'abort')"};

constexpr Statement read_installation{"log_read_installation",
                                      "SELECT installation FROM txc_installation"};

// The insert timeline, not the last checkpoint's. Only a primary may say it.
// What is flushed: less of it later means that something durable is gone.
constexpr Statement read_identity{"log_read_identity", R"(
SELECT system_identifier,
       ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::integer,
       (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint
FROM pg_control_system())"};

constexpr Statement read_modes{"log_read_degraded_modes", "SELECT participant FROM degraded_modes"};

// Set again, it was on since the first time.
constexpr Statement set_mode{"log_set_degraded_mode", R"(
INSERT INTO degraded_modes (participant, mode) VALUES ($1, $2)
ON CONFLICT (participant) DO NOTHING)"};

constexpr Statement clear_mode{"log_clear_degraded_mode",
                               "DELETE FROM degraded_modes WHERE participant = $1"};

std::vector<std::string> texts(const std::vector<protocol::Gid>& gids) {
  std::vector<std::string> result;
  result.reserve(gids.size());
  for (const protocol::Gid& gid : gids) result.push_back(protocol::format(gid));
  return result;
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

protocol::Gid gid_of(const pqxx::field& field) {
  const std::optional<protocol::Gid> gid = protocol::parse_gid(field.as<std::string>());
  if (!gid) throw std::runtime_error("the log holds a gid that is not ours");
  return *gid;
}

std::vector<Decision> read_decisions(const pqxx::result& rows) {
  std::vector<Decision> result;
  for (const auto& row : rows) {
    Decision decision;
    decision.gid = gid_of(row.at(0));
    decision.outcome =
        row.at(1).as<std::string>() == "commit" ? DecisionOutcome::commit : DecisionOutcome::abort;
    decision.participants = split(row.at(2).view());
    decision.order_ids = split(row.at(3).view());
    decision.complete = row.at(4).as<bool>();
    decision.heuristic = row.at(5).as<bool>();
    decision.decided_at = std::chrono::sys_time<std::chrono::microseconds>(
        std::chrono::microseconds(row.at(6).as<std::int64_t>()));
    result.push_back(std::move(decision));
  }
  return result;
}

}  // namespace

std::vector<Decision> decisions(Session& session, const std::vector<protocol::Gid>& gids) {
  return read_decisions(session.exec(decisions_among, texts(gids)));
}

std::vector<Decision> incomplete_decisions(Session& session, std::size_t limit) {
  return read_decisions(session.exec(incomplete, limit));
}

std::vector<Decision> complete_before(Session& session, std::chrono::seconds keep,
                                      const std::vector<std::string>& away, std::size_t limit) {
  return read_decisions(session.exec(complete_for_long, keep.count(), away, limit));
}

Done forget(Session& session, const std::vector<protocol::Gid>& gids) {
  session.exec(forget_decisions, texts(gids));
  return {};
}

std::vector<Decision> list_decisions(Session& session, const std::string& state,
                                     std::size_t limit) {
  return read_decisions(session.exec(list, state, limit));
}

std::vector<protocol::Gid> unapplied(Session& session, const std::string& order_id) {
  std::vector<protocol::Gid> gids;
  for (const auto& row : session.exec(unapplied_gids, order_id)) gids.push_back(gid_of(row.at(0)));
  return gids;
}

std::vector<protocol::Gid> complete(Session& session, const LogOwner& owner,
                                    const std::vector<protocol::Gid>& gids) {
  std::vector<protocol::Gid> aborted;
  for (const auto& row :
       session.exec(complete_decisions, owner.coordinator, owner.epoch, texts(gids)))
    aborted.push_back(gid_of(row.at(0)));
  return aborted;
}

std::string installation(Session& session) {
  return session.exec(read_installation).at(0).at(0).as<std::string>();
}

LogIdentity identity(Session& session) {
  const pqxx::result found = session.exec(read_identity);
  const auto row = found.at(0);
  return {row.at(0).as<std::string>(), row.at(1).as<std::int64_t>(), row.at(2).as<std::uint64_t>()};
}

DegradedModes degraded_modes(Session& session) {
  DegradedModes modes;
  for (const auto& row : session.exec(read_modes)) modes.set(row.at(0).view(), true);
  return modes;
}

Done set_degraded_mode(Session& session, const std::string& participant, const std::string& mode) {
  if (mode.empty()) {
    session.exec(clear_mode, participant);
  } else {
    session.exec(set_mode, participant, mode);
  }
  return {};
}

}  // namespace txcoord::log_sql
