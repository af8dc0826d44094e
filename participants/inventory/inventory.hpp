// Makes the inventory participant and its service over one database.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>

#include "participants/participant.hpp"
#include "participants/pg_pools.hpp"
#include "participants/services.hpp"

namespace txcoord {

struct InventoryParts {
  std::unique_ptr<Participant> participant;
  std::unique_ptr<InventoryService> service;
};

// `metrics` may be null. Nothing connects before the first call.
InventoryParts make_inventory(const asio::any_io_executor& io, const DatabaseSettings& database,
                              Metrics* metrics, const ParticipantDeadlines& deadlines = {});

}  // namespace txcoord
