// See pg_pools.hpp.
#include "participants/pg_pools.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace txcoord {

using std::chrono::milliseconds;

ParticipantDeadlines participant_deadlines(const EngineSettings& engine) {
  ParticipantDeadlines deadlines;
  deadlines.vote = milliseconds(engine.vote_ms_max);
  deadlines.prepare = milliseconds(engine.prepare_ms_max);
  deadlines.finish = milliseconds(engine.commit_ms_max);
  return deadlines;
}

milliseconds left_until(std::chrono::steady_clock::time_point until) {
  return std::max(milliseconds(1), std::chrono::duration_cast<milliseconds>(
                                       until - std::chrono::steady_clock::now()));
}

std::shared_ptr<pg::Pool> make_pool(const asio::any_io_executor& io, std::string_view participant,
                                    std::string_view use, std::size_t connections,
                                    const DatabaseSettings& database, Metrics* metrics,
                                    pg::Planning planning) {
  auto settings =
      pg::pool_settings(database, std::string(participant) + "-" + std::string(use), connections);
  settings.session.planning = planning;
  auto pool = std::make_shared<pg::Pool>(io, std::move(settings));
  if (metrics != nullptr) {
    pool->on_wait([metrics, name = std::string(participant)](double seconds) {
      metrics->pool_wait(name, seconds);
    });
  }
  return pool;
}

namespace {

struct Split {
  std::size_t branch, finish, service;
};

Split split(const DatabaseSettings& database) {
  const std::size_t all = database.connections_max;
  const auto some = [](std::size_t part) { return std::max<std::size_t>(part, 1); };
  return {some(all / 2), some(all / 4), some(all - all / 2 - all / 4)};
}

}  // namespace

std::size_t pool_sessions_max(const DatabaseSettings& database) {
  const Split parts = split(database);
  return parts.branch + parts.finish + parts.service;
}

PgPools make_pools(const asio::any_io_executor& io, std::string_view participant,
                   const DatabaseSettings& database, Metrics* metrics) {
  const Split parts = split(database);
  const auto make = [&](std::string_view use, std::size_t connections, pg::Planning planning) {
    return make_pool(io, participant, use, connections, database, metrics, planning);
  };
  return {make("branch", parts.branch, pg::Planning::once),
          make("finish", parts.finish, pg::Planning::each_execution),
          make("service", parts.service, pg::Planning::each_execution)};
}

}  // namespace txcoord
