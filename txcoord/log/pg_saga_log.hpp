// The sagas' log in the transaction log's database (schemas/log/0002_sagas.sql). The port and its
// contract: saga_log.hpp.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstddef>
#include <memory>

#include "txcoord/base/settings.hpp"
#include "txcoord/log/saga_log.hpp"

namespace txcoord {

class Metrics;

// Connects lazily, so the log may be away. Sessions of its own: 2 × saga.lanes + 2 for starts and
// states, which no reader keeps waiting, and 3 for all else. `metrics` may be null; it must outlive
// the log. Destroy before the executor's context.
std::unique_ptr<SagaLog> make_pg_saga_log(asio::any_io_executor io, const Settings& settings,
                                          Metrics* metrics);
std::size_t pg_saga_log_sessions_max(const Settings& settings);

}  // namespace txcoord
