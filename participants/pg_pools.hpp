// The pools of one participant's database, and its deadlines. Three, so that none starves another:
//   branch   sessions held from vote to prepare (they wait for row locks)
//   finish   COMMIT PREPARED, ROLLBACK PREPARED, witness, listing: never waits for a row lock
//   service  reads and single-database changes of the service
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string_view>

#include "txcoord/base/settings.hpp"
#include "txcoord/metrics/metrics.hpp"
#include "txcoord/pg/pool.hpp"

namespace txcoord {

namespace asio = boost::asio;

struct ParticipantDeadlines {
  std::chrono::milliseconds vote{1500};
  std::chrono::milliseconds prepare{2000};
  std::chrono::milliseconds finish{2000};  // one commit, rollback, witness or list
  std::chrono::milliseconds service{3000};
};
ParticipantDeadlines participant_deadlines(const EngineSettings& engine);
// At least a millisecond: a wait that has run out already ends as a timeout, not as a bad argument.
std::chrono::milliseconds left_until(std::chrono::steady_clock::time_point until);

struct PgPools {
  std::shared_ptr<pg::Pool> branch, finish, service;
};
std::shared_ptr<pg::Pool> make_pool(const asio::any_io_executor& io, std::string_view participant,
                                    std::string_view use, std::size_t connections,
                                    const DatabaseSettings& database, Metrics* metrics,
                                    pg::Planning planning = pg::Planning::each_execution);
// Splits connections_max: half branch, a quarter finish, the rest service; at least one each.
std::size_t pool_sessions_max(const DatabaseSettings& database);
PgPools make_pools(const asio::any_io_executor& io, std::string_view participant,
                   const DatabaseSettings& database, Metrics* metrics);

}  // namespace txcoord
