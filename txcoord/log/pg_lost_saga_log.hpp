// Lost sagas in the transaction log's database (schemas/log/0005_lost_sagas.sql). The port and its
// contract: lost_saga_log.hpp.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>

#include "txcoord/base/settings.hpp"
#include "txcoord/log/lost_saga_log.hpp"

namespace txcoord {

// Connects lazily, one session. Destroy before the executor's context.
std::unique_ptr<LostSagaLog> make_pg_lost_saga_log(asio::any_io_executor io,
                                                   const Settings& settings);

}  // namespace txcoord
