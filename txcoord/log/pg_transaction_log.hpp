// The transaction log in a PostgreSQL database of its own (schemas/log). The port and its contract:
// transaction_log.hpp.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstddef>
#include <memory>

#include "txcoord/base/settings.hpp"
#include "txcoord/log/transaction_log.hpp"

namespace txcoord {

class Metrics;

// Connects lazily, so the log may be away. Sessions: max(log.connections_max, lanes + 2) for
// groups, 4 for recovery, reading and housekeeping, and 1 for the lease, which nothing may keep
// waiting. `metrics` may be null; it must outlive the log. Destroy before the executor's context.
std::unique_ptr<TransactionLog> make_pg_transaction_log(asio::any_io_executor io,
                                                        const Settings& settings, Metrics* metrics);
std::size_t pg_transaction_log_sessions_max(const Settings& settings);

}  // namespace txcoord
