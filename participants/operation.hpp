// The operations a group carries, as every participant, the log and the REST layer see them.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace txcoord {

enum class OperationKind : std::uint8_t {
  place,
  cancel,
  ship,
  deliver,
  // Steps of a saga at the order service alone; no client asks for them.
  create,   // a new order, PENDING
  confirm,  // PENDING → CONFIRMED
  fail,     // PENDING → FAILED, with Operation::reason
};
std::string_view to_string(OperationKind kind);

using Money = std::int64_t;  // minor units, one currency a deployment
using UtcTime = std::chrono::sys_time<std::chrono::microseconds>;

struct OrderItem {
  std::string sku;
  std::int64_t quantity = 0;   // 1 and up
  Money unit_price = 0;        // as quoted by the client; inventory checks it
  std::string reservation_id;  // uuid made by us, so that no unique wait depends on a sequence
};

struct ShippingAddress {  // personal data: never logged
  std::string name, postal_code, prefecture, city, line1;
  std::optional<std::string> line2, phone;
};

enum class PaymentMethod : std::uint8_t { wallet, card };
std::string_view to_string(PaymentMethod method);

// What only `place` carries.
struct PlaceOrder {
  std::string customer_id;
  std::vector<OrderItem> items;  // distinct SKUs, 1..100
  Money total_amount = 0;        // Σ quantity × unit_price, overflow-checked at the door
  ShippingAddress address;
  PaymentMethod payment_method = PaymentMethod::wallet;
  std::string payment_token;            // card only: tok_ok, tok_declined, tok_timeout
  std::string payment_id, shipment_id;  // uuids made by us
  // Degraded modes: an operator has postponed it. The order is confirmed first; the charge, the
  // shipment (by nobody's carrier) are due.
  bool pay_later = false, ship_by_hand = false;

  bool something_due() const { return pay_later || ship_by_hand; }
};

// One client request that must be atomic.
struct Operation {
  OperationKind kind = OperationKind::place;
  std::string order_id;  // uuid v7; for `place` made by us
  std::string scope;     // principal, method, route: the idempotency key's scope
  std::string idempotency_key;
  std::array<std::uint8_t, 32> fingerprint{};  // SHA-256 of the canonical request
  std::string correlation_id;
  UtcTime created_at{};  // becomes the rows' created_at
  std::string answer;    // compact JSON, the order as answered when confirmed; kept by the log
                         // so that a replay is exact and an unapplied decision can be read
  PlaceOrder place;      // for place and create; a step of a saga keeps it whatever its kind

  // --- sagas and accepted orders -----------------------------------------------------------------
  std::string mode{"2pc"};     // orders.mode
  std::string transaction_id;  // orders.transaction_id; empty: the gid that carries it
  // place: the order is there already, PENDING (it was accepted before it was tried); the order
  // service moves it to CONFIRMED instead of inserting it.
  bool accepted = false;
  std::optional<UtcTime> reserve_until;  // place: when its reservations free themselves
  std::string reason;                    // fail: why
};

}  // namespace txcoord
