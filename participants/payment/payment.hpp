// Makes the payment participant, its service and its card settlement over one database.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>

#include "participants/participant.hpp"
#include "participants/payment/card_settlement.hpp"
#include "participants/pg_pools.hpp"
#include "participants/services.hpp"

namespace txcoord {

struct PaymentParts {
  std::unique_ptr<Participant> participant;
  std::unique_ptr<PaymentService> service;
  std::unique_ptr<CardSettler> settlement;  // somebody calls settle_cards() once a second or so
};

// Connections of the cards' own, beside connections_max.
inline constexpr std::size_t card_sessions = 2;

// `metrics` may be null; it outlives the parts. Nothing connects before the first call.
PaymentParts make_payment(const asio::any_io_executor& io, const DatabaseSettings& database,
                          Metrics* metrics, const ParticipantDeadlines& deadlines = {});

}  // namespace txcoord
