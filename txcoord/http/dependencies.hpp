// What the REST layer stands on. References: main owns them all and outlives the server.
#pragma once

#include "participants/services.hpp"
#include "txcoord/base/settings.hpp"
#include "txcoord/engine/engine.hpp"
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
  Metrics& metrics;
  const Settings& settings;
};

}  // namespace txcoord::http
