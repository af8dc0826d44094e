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
  auto settings = pg::pool_settings(database, std::string(participant) + "-" + std::string(use),
                                    std::max<std::size_t>(connections, 1));
  settings.session.planning = planning;
  auto pool = std::make_shared<pg::Pool>(io, std::move(settings));
  if (metrics != nullptr) {
    pool->on_wait([metrics, name = std::string(participant)](double seconds) {
      metrics->pool_wait(name, seconds);
    });
  }
  return pool;
}

PgPools make_pools(const asio::any_io_executor& io, std::string_view participant,
                   const DatabaseSettings& database, Metrics* metrics) {
  const std::size_t all = database.connections_max;
  const std::size_t branch = all / 2, finish = all / 4;
  const auto make = [&](std::string_view use, std::size_t connections, pg::Planning planning) {
    return make_pool(io, participant, use, connections, database, metrics, planning);
  };
  return {make("branch", branch, pg::Planning::once),
          make("finish", finish, pg::Planning::each_execution),
          make("service", all - branch - finish, pg::Planning::each_execution)};
}

}  // namespace txcoord
