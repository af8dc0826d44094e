// The handlers that need one service's own database and nobody else: stock, wallets, histories, and
// the order service's rows. The coordinator answers with them, and so does a participant alone.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "participants/services.hpp"
#include "txcoord/base/settings.hpp"
#include "txcoord/http/call.hpp"
#include "txcoord/http/order_document.hpp"

namespace txcoord::http {

// Null: no route leads to it. References and pointers outlive the handlers.
struct ServiceDependencies {
  OrderService* orders = nullptr;
  InventoryService* inventory = nullptr;
  PaymentService* payments = nullptr;
  ShippingService* shipping = nullptr;
  const Settings& settings;
};

// An order that is decided and that the services may not show yet.
struct DecidedPlace {
  OrderDocument order;
  std::shared_ptr<const Operation> operation;  // where this process still has it
};
using PlaceFilter = std::function<bool(const PlaceOrder&)>;
// Who knows what is decided and not applied: a coordinator. Empty functions: nobody here, and what
// the database shows is all there is.
struct DecidedPlaces {
  std::function<asio::awaitable<std::optional<DecidedPlace>>(std::string order_id)> of_order;
  std::function<std::optional<DecidedPlace>(const PlaceFilter& matches)> find;
};

class ServiceApi {
 public:
  ServiceApi(asio::any_io_executor io, const ServiceDependencies& dependencies,
             DecidedPlaces decided = {});

  // The call's route names a participant (Route::participant) whose service is there.
  asio::awaitable<Reply> handle(Call& call);

 private:
  using Answer = asio::awaitable<Reply>;

  // Stock and wallets (api_stock.cpp).
  Answer get_stock(Call& call);
  Answer put_stock(Call& call);
  Answer list_stock(Call& call);
  Answer restock(Call& call);
  Answer get_wallet(Call& call);
  Answer put_wallet(Call& call);
  // Histories (api_histories.cpp).
  Answer list_reservations(Call& call);
  Answer get_reservation(Call& call);
  Answer list_payments(Call& call);
  Answer get_payment(Call& call);
  Answer list_shipments(Call& call);
  Answer get_shipment(Call& call);
  // The order service's rows (api_order_rows.cpp).
  Answer get_order_row(Call& call);
  Answer list_order_rows(Call& call);

  asio::awaitable<std::optional<DecidedPlace>> decided_place(std::string order_id) const;
  std::optional<DecidedPlace> find_decided(const PlaceFilter& matches) const;
  std::chrono::milliseconds read_wait() const;

  asio::any_io_executor io_;
  ServiceDependencies d_;
  DecidedPlaces decided_;
};

}  // namespace txcoord::http
