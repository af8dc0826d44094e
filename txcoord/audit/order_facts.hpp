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
  std::string status, mode, customer_id, transaction_id, reason;
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
  std::string kind;        // place, cancel, ship, deliver
  std::string outcome;     // confirmed, refused; pending: its saga has not ended
  std::string gid;         // of the global transaction, or the saga's id
  bool unapplied = false;  // its decision is not complete
  // An accepted order's turn in a group: no client's operation, but the second half of one.
  bool internal = false;

  bool operator==(const LoggedOperation&) const = default;
};

// One saga of the order, as the log has it: the one that placed it, or a cancel's.
struct LoggedSaga {
  std::string saga_id, type, status, reason;
  bool ended = false;
  bool stuck = false;  // shown as needing a person
  bool owned = false;  // by an epoch that is not fenced, whose lease runs
  // No state was recorded, and no next try is due, for longer than saga_silence_max.
  bool silent = false;
  std::string trouble;  // tries and the next one's time: while it changes, somebody is at work

  bool operator==(const LoggedSaga&) const = default;
};

// What the log says about an order at one moment.
struct LoggedOrder {
  std::vector<LoggedOperation> operations;
  std::vector<LoggedSaga> sagas;
  // Sagas of it that the log has lost, and shows as needing a person.
  std::vector<std::string> lost;

  bool operator==(const LoggedOrder&) const = default;
};

// What the log knows at all: the same for every order of a look.
struct LogScope {
  std::string installation_prefix;  // txc_<installation>_
  std::int64_t complete_since_us =
      0;                // orders made later than this have their operation in the log
  bool shared = false;  // another installation works on these databases

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
  LoggedOrder log_before, log_after;

  // The log knows this order. Another installation's orders, and those whose keys were dropped, it
  // does not: for them at_rest() proves nothing.
  bool logged() const { return !log_after.operations.empty() || !log_after.sagas.empty(); }
  // Nothing was decided on this order while it was read, nothing decided is unapplied, and no saga
  // of it is open.
  bool at_rest() const;
  // The saga that has not ended; null: none.
  const LoggedSaga* open_saga() const;

  bool operator==(const OrderFacts&) const = default;
};

// What is wrong with an order at rest, or with the saga that is to bring it there. An order that
// moves can look wrong and be right.
std::vector<Violation> judge_order(const OrderFacts& facts);

}  // namespace txcoord::audit
