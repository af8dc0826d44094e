// Heuristic outcomes: recorded by the engine, closed by recovery or by a person.
#include "txcoord/log/pg_transaction_log_sql.hpp"
#include "txcoord/pg/array.hpp"

namespace txcoord::log_sql {
namespace {

using pg::Session;
using pg::Statement;

// A decided branch that is found lost again, after a person had called it repaired, is open again.
// Under a tombstone the same finding says nothing new.
constexpr Statement note_heuristic{"log_note_heuristic", "WITH " TXC_HELD R"(,
note AS (
  INSERT INTO heuristic_outcomes AS h (gid, participant, detail)
  SELECT $3::text, $4::text, $5::text FROM held WHERE held.one = 1 AND held.flushed = 'on'
  ON CONFLICT (gid, participant) DO UPDATE
  SET detail = EXCLUDED.detail,
      resolved_at = CASE WHEN (SELECT outcome FROM decisions WHERE gid = $3::text) = 'commit'
                         THEN NULL ELSE h.resolved_at END)
UPDATE decisions SET heuristic = true FROM held WHERE held.one = 1 AND gid = $3::text)"};

constexpr Statement outcomes_of{"log_heuristics_of", R"(
SELECT h.gid, h.participant, h.detail, (extract(epoch FROM h.recorded_at) * 1000000)::bigint,
       CASE WHEN )" TXC_HEURISTIC_OPEN R"( THEN NULL
            ELSE (extract(epoch FROM coalesce(h.resolved_at, d.completed_at)) * 1000000)::bigint END,
       h.resolved_at IS NOT NULL, h.note
FROM heuristic_outcomes h LEFT JOIN decisions d ON d.gid = h.gid
WHERE h.gid = ANY ($1::text[])
ORDER BY h.gid, h.participant)"};

constexpr Statement count_open{"log_count_heuristics", R"(
SELECT h.participant, count(*)
FROM heuristic_outcomes h LEFT JOIN decisions d ON d.gid = h.gid
WHERE )" TXC_HEURISTIC_OPEN R"(
GROUP BY h.participant)"};

constexpr Statement resolve{"log_resolve_heuristic", R"(
UPDATE heuristic_outcomes SET resolved_at = clock_timestamp(), note = $3
WHERE gid = $1 AND participant = ANY ($2::text[]) AND resolved_at IS NULL)"};

using Time = std::chrono::sys_time<std::chrono::microseconds>;

Time time_of(const pqxx::field& microseconds) {
  return Time(std::chrono::microseconds(microseconds.as<std::int64_t>()));
}

}  // namespace

Done record_heuristic(Session& session, const LogOwner& owner, const protocol::Gid& gid,
                      const std::string& participant, const std::string& detail) {
  session.exec(note_heuristic, owner.coordinator, owner.epoch, protocol::format(gid), participant,
               detail);
  return {};
}

std::vector<HeuristicOutcome> heuristic_outcomes(Session& session,
                                                 const std::vector<protocol::Gid>& gids) {
  std::vector<std::string> texts;
  texts.reserve(gids.size());
  for (const protocol::Gid& gid : gids) texts.push_back(protocol::format(gid));
  std::vector<HeuristicOutcome> found;
  for (const auto& row : session.exec(outcomes_of, texts)) {
    HeuristicOutcome outcome;
    outcome.gid = *protocol::parse_gid(row[0].as<std::string>());
    outcome.participant = row[1].as<std::string>();
    outcome.detail = row[2].as<std::string>();
    outcome.found_at = time_of(row[3]);
    if (!row[4].is_null()) outcome.resolved_at = time_of(row[4]);
    outcome.by_person = row[5].as<bool>();
    outcome.note = row[6].as<std::string>();
    found.push_back(std::move(outcome));
  }
  return found;
}

std::map<std::string, std::size_t> open_heuristics(Session& session) {
  std::map<std::string, std::size_t> open;
  for (const auto& row : session.exec(count_open))
    open[row[0].as<std::string>()] = row[1].as<std::size_t>();
  return open;
}

Done resolve_heuristic(Session& session, const protocol::Gid& gid,
                       const std::vector<std::string>& participants, const std::string& note) {
  session.exec(resolve, protocol::format(gid), participants, note);
  return {};
}

}  // namespace txcoord::log_sql
