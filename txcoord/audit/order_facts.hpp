// Everything the five databases say about one order, and what is wrong with it. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "txcoord/audit/audit.hpp"

namespace txcoord::audit {

struct OrderRow {
  bool row = false;  // false: there are items and no order
  std::string status, mode, customer_id, transaction_id;
  std::int64_t total_amount = 0;
  std::int64_t created_us = 0;  // microseconds since 1970
  std::string items;            // "book-123 x2, book-789 x1": by SKU
  std::string items_total;      // Σ quantity × unit_price, exact

  bool operator==(const OrderRow&) const = default;
};

struct ReservationRows {
  std::string items;     // as OrderRow::items
  std::string statuses;  // the different ones, "RESERVED" or "RELEASED,SHIPPED"

  bool operator==(const ReservationRows&) const = default;
};

struct PaymentRow {
  std::string status, method, customer_id;
  std::int64_t amount = 0;

  bool operator==(const PaymentRow&) const = default;
};

// One operation on the order, as the log answered it.
struct LoggedOperation {
  std::string kind;     // place, cancel, ship, deliver
  std::string outcome;  // confirmed, refused
  std::string gid;
  bool unapplied = false;  // its decision is not complete

  bool operator==(const LoggedOperation&) const = default;
};

// What the log knows at all: the same for every order of a look.
struct LogScope {
  std::string installation_prefix;  // txc_<installation>_
  std::int64_t complete_since_us =
      0;  // orders made later than this have their operation in the log

  bool operator==(const LogScope&) const = default;
};

struct OrderFacts {
  std::string order_id;
  LogScope log;
  std::optional<OrderRow> order;
  std::optional<ReservationRows> reservations;
  std::optional<PaymentRow> payment;
  std::optional<std::string> shipment;  // its status
  // The log as read before the four services, and after them.
  std::vector<LoggedOperation> log_before, log_after;

  // The log knows this order. Another installation's orders, and those whose keys were dropped, it
  // does not: for them at_rest() proves nothing.
  bool logged() const { return !log_after.empty(); }
  // Nothing was decided on this order while it was read, and nothing decided is unapplied.
  bool at_rest() const;

  bool operator==(const OrderFacts&) const = default;
};

// What is wrong with an order at rest. An order that moves can look wrong and be right.
std::vector<Violation> judge_order(const OrderFacts& facts);

}  // namespace txcoord::audit
