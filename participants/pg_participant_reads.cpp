// What recovery, housekeeping and the gauges ask a participant's database: never waits for a row
// lock.
#include <algorithm>
#include <optional>
#include <utility>

#include "participants/pg_participant.hpp"

namespace txcoord {
namespace {

constexpr pg::Statement witness_there{"branch_witness_there", R"(
  SELECT pg_is_in_recovery(), EXISTS (SELECT FROM txc_branch WHERE gid = $1))"};

// starts_with, not LIKE: every `_` of a gid would be a wildcard.
constexpr pg::Statement list_branches{"branch_list", R"(
  SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::float8
    FROM pg_prepared_xacts
   WHERE database = current_database() AND starts_with(gid, $1))"};

constexpr pg::Statement trim_branches{"branch_trim", R"(
  DELETE FROM txc_branch WHERE gid = ANY($1::text[]))"};

constexpr pg::Statement read_gauges{"branch_gauges", R"(
  SELECT current_setting('max_prepared_transactions')::int8,
         (SELECT count(*) FROM pg_prepared_xacts),
         (SELECT coalesce(max(age(transaction)), 0) FROM pg_prepared_xacts),
         (SELECT count(*) FROM pg_stat_activity
           WHERE datname = current_database() AND wait_event_type = 'Lock'))"};

}  // namespace

asio::awaitable<Result<bool>> PgParticipant::has_witness(protocol::Gid gid) {
  auto work = [text = format(gid)](pg::Session& session) -> std::optional<bool> {
    const auto result = session.exec(witness_there, text);
    const auto row = result[0];
    // A standby may lag behind: a witness that is absent there proves nothing.
    if (row[0].as<bool>()) return std::nullopt;
    return row[1].as<bool>();
  };
  auto asking = pools_.finish->run(std::move(work), deadlines_.finish);
  const auto found = co_await std::move(asking);
  if (!found) co_return found.failure();
  if (!found.value()) {
    co_return Failure{FailureKind::unavailable, false, "",
                      std::string(name()) + " is a standby: only a primary proves"};
  }
  co_return *found.value();
}

asio::awaitable<Result<std::vector<PreparedBranch>>> PgParticipant::prepared_ages(
    std::string installation) {
  auto work = [prefix = protocol::installation_prefix(installation),
               self = std::string(name())](pg::Session& session) {
    std::vector<PreparedBranch> branches;
    for (const auto& row : session.exec(list_branches, prefix)) {
      auto branch = protocol::parse_branch(row[0].view());
      if (!branch || branch->participant != self)
        continue;  // not written by our formatter: not ours
      branches.push_back({std::move(branch->gid), row[1].as<double>()});
    }
    return branches;
  };
  return pools_.finish->run(std::move(work), deadlines_.finish);
}

asio::awaitable<Result<std::vector<protocol::Gid>>> PgParticipant::list_prepared(
    std::string installation) {
  auto listing = prepared_ages(std::move(installation));
  auto branches = co_await std::move(listing);
  if (!branches) co_return branches.failure();
  std::vector<protocol::Gid> gids;
  gids.reserve(branches.value().size());
  for (auto& branch : branches.value()) gids.push_back(std::move(branch.gid));
  co_return gids;
}

asio::awaitable<Result<Done>> PgParticipant::trim_witnesses(std::vector<protocol::Gid> gids,
                                                            std::optional<FenceOwner> owner) {
  std::vector<std::string> texts;
  texts.reserve(gids.size());
  for (const auto& gid : gids) texts.push_back(format(gid));
  // A witness that comes back after a crash is trimmed again.
  return run_fenced(
      *pools_.finish, std::move(owner),
      [texts = std::move(texts)](pg::Session& session) { session.exec(trim_branches, texts); });
}

asio::awaitable<Result<ParticipantGauges>> PgParticipant::gauges(std::string installation) {
  auto listing = prepared_ages(std::move(installation));
  const auto branches = co_await std::move(listing);
  if (!branches) co_return branches.failure();
  auto work = [](pg::Session& session) {
    const auto result = session.exec(read_gauges);
    const auto row = result[0];
    ParticipantGauges gauges;
    gauges.prepared_slots_max = row[0].as<std::size_t>();
    gauges.prepared_slots_used = row[1].as<std::size_t>();
    gauges.xmin_age_transactions = row[2].as<std::int64_t>();
    gauges.blocked_sessions = row[3].as<std::size_t>();
    return gauges;
  };
  auto reading = pools_.finish->run(std::move(work), deadlines_.finish);
  auto gauges = co_await std::move(reading);
  if (!gauges) co_return gauges.failure();
  for (const auto& branch : branches.value()) {
    ++gauges.value().in_doubt_branches;
    gauges.value().in_doubt_oldest_seconds =
        std::max(gauges.value().in_doubt_oldest_seconds, branch.age_seconds);
  }
  co_return gauges;
}

}  // namespace txcoord
