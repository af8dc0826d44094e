// The Shipping service in this process: its branches and its reads.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>

#include "participants/participant.hpp"
#include "participants/pg_pools.hpp"
#include "participants/services.hpp"
#include "txcoord/base/settings.hpp"
#include "txcoord/metrics/metrics.hpp"

namespace txcoord {

struct ShippingParts {
  std::unique_ptr<Participant> participant;
  std::unique_ptr<ShippingService> service;
};

// `metrics` may be null; it outlives both parts.
ShippingParts make_shipping(const asio::any_io_executor& io, const DatabaseSettings& database,
                            Metrics* metrics, const ParticipantDeadlines& deadlines = {});

}  // namespace txcoord
