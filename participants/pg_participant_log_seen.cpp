// What a participant's database remembers of the log: see Participant::log_seen().
#include "participants/pg_participant.hpp"

namespace txcoord {
namespace {

constexpr pg::Statement read_log_seen{"log_seen_read", R"(
  SELECT system_identifier, timeline, lsn FROM txc_log_seen WHERE installation = $1)"};

constexpr pg::Statement write_log_seen{"log_seen_write", R"(
  INSERT INTO txc_log_seen (installation, system_identifier, timeline, lsn)
  VALUES ($1, $2, $3, $4)
  ON CONFLICT (installation) DO UPDATE
     SET system_identifier = excluded.system_identifier, timeline = excluded.timeline,
         lsn = excluded.lsn, at = clock_timestamp())"};

}  // namespace

asio::awaitable<Result<protocol::LogPoint>> PgParticipant::log_seen(std::string installation) {
  auto work = [installation = std::move(installation)](pg::Session& session) {
    protocol::LogPoint point;
    const pqxx::result rows = session.exec(read_log_seen, installation);
    if (rows.empty()) return point;
    point.system_identifier = rows[0][0].as<std::string>();
    point.timeline = rows[0][1].as<std::int64_t>();
    point.lsn = rows[0][2].as<std::uint64_t>();
    return point;
  };
  return pools_.finish->run(std::move(work), deadlines_.finish);
}

asio::awaitable<Result<Done>> PgParticipant::note_log_seen(std::string installation,
                                                           protocol::LogPoint point,
                                                           std::optional<FenceOwner> owner) {
  // Where branches work: it is a probe of what they need, a session of theirs among it.
  return run_fenced(
      *pools_.branch, std::move(owner),
      [installation = std::move(installation), point = std::move(point)](pg::Session& session) {
        session.exec(write_log_seen, installation, point.system_identifier, point.timeline,
                     point.lsn);
      });
}

}  // namespace txcoord
