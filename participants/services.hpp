// What each service offers beside its branches: reads, and changes that touch one database only.
// In this process, or behind HTTP (remote/). Threads and failures as in participant.hpp.
#pragma once

#include <array>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "participants/operation.hpp"
#include "txcoord/base/failure.hpp"

namespace txcoord {

namespace asio = boost::asio;

struct PageRequest {
  std::size_t limit = 50;  // 1..200, checked at the door
  std::string after;       // the last id of the page before (exclusive); empty for the first page
};

// An entry of a service's `events` table: the history that makes an order's timeline.
struct EventView {
  std::string type;  // OrderConfirmed, StockReserved, PaymentCaptured, ShippingArranged, …
  std::string correlation_id;
  UtcTime at{};
};

// --- order -----------------------------------------------------------------------------------
struct OrderView {
  std::string order_id, customer_id, status, mode, reason, transaction_id, correlation_id;
  Money total_amount = 0;
  std::vector<OrderItem> items;  // reservation_id empty
  UtcTime created_at{}, updated_at{};
};
struct OrderFilter {
  std::string customer_id, status;  // empty: any
};
// What fail_pending() found or made of an order.
struct OrderFate {
  std::string order_id;
  std::string status;  // afterwards; empty: there is no such order
};
class OrderService {
 public:
  virtual ~OrderService() = default;
  virtual asio::awaitable<Result<std::optional<OrderView>>> order(std::string order_id) = 0;
  virtual asio::awaitable<Result<std::vector<OrderView>>> orders(
      OrderFilter filter, PageRequest page) = 0;  // newest first
  virtual asio::awaitable<Result<std::vector<EventView>>> order_events(std::string order_id) = 0;
  // The orders with an event of this correlation id, newest order first, at most 50.
  virtual asio::awaitable<Result<std::vector<std::string>>> orders_by_correlation(
      std::string correlation_id) = 0;
  // PENDING orders become FAILED, for `reason`; durably, before this returns. Never waits for a
  // row: an order that another transaction is changing is left out of the answer. May be repeated.
  virtual asio::awaitable<Result<std::vector<OrderFate>>> fail_pending(
      std::vector<std::string> order_ids, std::string reason) = 0;
};

// --- inventory -------------------------------------------------------------------------------
struct StockView {
  std::string sku, title, category;
  Money unit_price = 0;
  std::int64_t available = 0, reserved = 0, shipped = 0, low_stock_threshold = 0;
};
// What a PUT left. A product that is missing is made only if the change says what is available of
// it; else nothing is done, which is a failure (poison) with missing_product_sqlstate.
struct StockPut : StockView {
  bool made = false;  // it was missing before
};
inline constexpr const char* missing_product_sqlstate = "P0002";
struct StockChange {  // PUT sets what it names and makes what is missing
  std::optional<std::string> title, category;
  std::optional<Money> unit_price;
  std::optional<std::int64_t> available, low_stock_threshold;
};
struct ReservationView {
  std::string reservation_id, order_id, sku, status;
  std::int64_t quantity = 0;
  UtcTime created_at{};
  std::optional<UtcTime> expires_at;
};
// A keyed change inside one database: the key lives in that database, in the same transaction.
struct RequestKey {
  std::string scope, key;
  std::array<std::uint8_t, 32> fingerprint{};
};
enum class KeyedStatus : std::uint8_t { done, replayed, key_reused, not_found };
struct RestockReply {
  KeyedStatus status = KeyedStatus::done;
  StockView stock;
};
class InventoryService {
 public:
  virtual ~InventoryService() = default;
  virtual asio::awaitable<Result<std::optional<StockView>>> stock(std::string sku) = 0;
  virtual asio::awaitable<Result<std::vector<StockView>>> stocks(PageRequest page) = 0;  // by sku
  virtual asio::awaitable<Result<StockPut>> put_stock(std::string sku, StockChange change) = 0;
  virtual asio::awaitable<Result<RestockReply>> restock(std::string sku, std::int64_t quantity,
                                                        RequestKey key) = 0;
  virtual asio::awaitable<Result<std::optional<ReservationView>>> reservation(
      std::string reservation_id) = 0;
  virtual asio::awaitable<Result<std::vector<ReservationView>>> reservations(
      std::string order_id) = 0;
  virtual asio::awaitable<Result<std::vector<EventView>>> stock_events(std::string order_id) = 0;

  // Reservations that a saga made expire. The order's row is the arbiter (OrderService::
  // fail_pending): what it failed may be freed, what it confirmed is kept for good.
  // The orders whose reservations have run out, longest first, by the database's clock. Each call
  // goes on where the one before ended, and from the oldest again: those that cannot be ended now
  // do not hide the others.
  virtual asio::awaitable<Result<std::vector<std::string>>> expired_reservations(
      std::size_t limit) = 0;
  // Frees what is still RESERVED and was made to expire. How many orders had such. Waits for no
  // row: what somebody else holds is left. May be repeated.
  virtual asio::awaitable<Result<std::size_t>> expire(std::vector<std::string> order_ids) = 0;
  // They do not expire any more, but for those that somebody else holds. May be repeated.
  virtual asio::awaitable<Result<Done>> keep_reservations(std::vector<std::string> order_ids) = 0;
};

// --- payment ---------------------------------------------------------------------------------
struct WalletView {
  std::string customer_id;
  Money balance = 0;
};
struct WalletPut : WalletView {  // what a PUT left
  bool made = false;             // it was missing before
};
struct PaymentView {
  std::string payment_id, order_id, customer_id, payment_method, status, provider_reference;
  Money amount = 0;
  UtcTime created_at{}, updated_at{};
};
class PaymentService {
 public:
  virtual ~PaymentService() = default;
  virtual asio::awaitable<Result<std::optional<WalletView>>> wallet(std::string customer_id) = 0;
  virtual asio::awaitable<Result<WalletPut>> put_wallet(std::string customer_id, Money balance) = 0;
  virtual asio::awaitable<Result<std::optional<PaymentView>>> payment(std::string payment_id) = 0;
  virtual asio::awaitable<Result<std::vector<PaymentView>>> payments_of_order(
      std::string order_id) = 0;
  virtual asio::awaitable<Result<std::vector<PaymentView>>> payments_of_customer(
      std::string customer_id, PageRequest page) = 0;
  virtual asio::awaitable<Result<std::vector<EventView>>> payment_events(std::string order_id) = 0;
};

// --- shipping --------------------------------------------------------------------------------
struct ShipmentView {
  std::string shipment_id, order_id, tracking_number, carrier, status;
  ShippingAddress address;
  UtcTime created_at{}, updated_at{};
};
class ShippingService {
 public:
  virtual ~ShippingService() = default;
  virtual asio::awaitable<Result<std::optional<ShipmentView>>> shipment(
      std::string shipment_id) = 0;
  virtual asio::awaitable<Result<std::vector<ShipmentView>>> shipments(std::string order_id) = 0;
  virtual asio::awaitable<Result<std::vector<EventView>>> shipping_events(std::string order_id) = 0;
};

}  // namespace txcoord
