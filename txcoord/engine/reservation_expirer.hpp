// Frees the stock of sagas that did not end in time (A5): reservations expire, and their order ends
// FAILED, whatever became of its coordinator.
//
// The order's row is the arbiter between an expired reservation and the saga's own confirmation:
//   1. Inventory lists orders whose reservations have expired, by its own clock.
//   2. The order service fails those that are still PENDING, and tells what each is afterwards.
//   3. Failed: the stock is freed, and the saga, if it is at work, compensates the rest (its
//      confirmation is refused by the same row). Confirmed: the reservation holds for good.
// Before that, orders whose saga the log has lost and whose payment is taken are set apart: nobody
// would give the money back. Their reservations stop expiring, and a person decides
// (lost_sagas.hpp). Each step may be repeated, and any number of coordinators may do this at once.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <string>
#include <vector>

#include "participants/services.hpp"
#include "txcoord/engine/ticker.hpp"
#include "txcoord/metrics/metrics.hpp"

namespace txcoord::engine {

class ReservationExpirer {
 public:
  // Of these orders, those that must not fail by themselves.
  using SetApart = std::function<asio::awaitable<Result<std::vector<std::string>>>(
      std::vector<std::string> order_ids)>;

  // `on_expired` is told each order that failed by it.
  ReservationExpirer(const asio::any_io_executor& io, OrderService& orders,
                     InventoryService& inventory, Metrics& metrics, SetApart set_apart,
                     std::function<void(const std::string&)> on_expired)
      : orders_(orders),
        inventory_(inventory),
        metrics_(metrics),
        set_apart_(std::move(set_apart)),
        on_expired_(std::move(on_expired)),
        ticker_(io) {}

  asio::awaitable<void> run();  // until stop()
  void stop() { ticker_.stop(); }

 private:
  asio::awaitable<void> round();

  OrderService& orders_;
  InventoryService& inventory_;
  Metrics& metrics_;
  SetApart set_apart_;
  std::function<void(const std::string&)> on_expired_;
  Ticker ticker_;
};

}  // namespace txcoord::engine
