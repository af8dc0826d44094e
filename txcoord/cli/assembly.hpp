// The four services, each in this process over its database or behind a URL: nobody else can tell.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "participants/inventory/inventory.hpp"
#include "participants/order/order.hpp"
#include "participants/payment/payment.hpp"
#include "participants/remote/remote_service.hpp"
#include "participants/shipping/shipping.hpp"
#include "txcoord/base/settings.hpp"
#include "txcoord/metrics/metrics.hpp"

namespace txcoord::cli {

struct Services {
  OrderParts order;
  InventoryParts inventory;
  PaymentParts payment;
  ShippingParts shipping;
  // By participant, those behind URLs; one for each URL.
  std::map<std::string, std::shared_ptr<remote::RemoteService>> remote;
};

// `metrics` outlives them. Nothing connects before the first call. Throws SettingsError for a url
// that cannot be one.
Services make_services(const asio::any_io_executor& io, const Settings& settings, Metrics& metrics);

std::vector<Participant*> participants_of(const Services& services);

// For HttpDependencies.
std::map<std::string, std::function<std::string_view()>> breakers_of(const Services& services);

}  // namespace txcoord::cli
