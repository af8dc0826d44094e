// What the REST layer stands on. References: main owns them all and outlives the server.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "participants/faulty_participant.hpp"
#include "participants/services.hpp"
#include "txcoord/base/settings.hpp"
#include "txcoord/engine/engine.hpp"
#include "txcoord/engine/lost_sagas.hpp"
#include "txcoord/log/lost_saga_log.hpp"
#include "txcoord/log/saga_log.hpp"
#include "txcoord/log/transaction_log.hpp"
#include "txcoord/metrics/metrics.hpp"

namespace txcoord::http {

struct HttpDependencies {
  engine::Engine& engine;
  OrderService& orders;
  InventoryService& inventory;
  PaymentService& payments;
  ShippingService& shipping;
  TransactionLog& log;
  SagaLog& saga_log;
  LostSagaLog& lost_log;
  engine::LostSagaDesk& lost_sagas;
  Metrics& metrics;
  const Settings& settings;
  std::map<std::string, FaultyParticipant*> faults;  // by participant: all four
  // By participant, those that are services of their own: is its circuit breaker closed, half_open
  // or open?
  std::map<std::string, std::function<std::string_view()>> breakers;
};

}  // namespace txcoord::http
