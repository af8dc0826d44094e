// Lost sagas in the transaction log's database (schemas/log/0006_lost_sagas.sql). The port and its
// contract: lost_saga_log.hpp.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstddef>
#include <memory>

#include "txcoord/base/settings.hpp"
#include "txcoord/log/lost_saga_log.hpp"

namespace txcoord {

inline constexpr std::size_t pg_lost_saga_log_sessions_max = 1;

// Connects lazily. Destroy before the executor's context.
std::unique_ptr<LostSagaLog> make_pg_lost_saga_log(asio::any_io_executor io,
                                                   const Settings& settings);

}  // namespace txcoord
