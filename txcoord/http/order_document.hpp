// An order as answered. It is filled from the services' rows, or from the answer that the log keeps
// of an order that is decided and not applied yet: both ways give one document.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "participants/services.hpp"
#include "txcoord/engine/engine.hpp"
#include "txcoord/log/transaction_log.hpp"

namespace txcoord::http {

struct ItemDocument {
  std::string sku;
  std::int64_t quantity = 0;
  Money unit_price = 0;
  std::string reservation_id, reservation_status;
};
struct PaymentDocument {
  std::string payment_id, payment_method, status;
  Money amount = 0;
};
struct ShipmentDocument {
  std::string shipment_id, status, carrier, tracking_number;
};
struct TimelineEntry {
  std::string_view service;
  EventView event;
};

struct OrderDocument {
  std::string order_id, customer_id, status, mode, reason, currency, correlation_id;
  Money total_amount = 0;
  std::vector<ItemDocument> items;
  std::optional<PaymentDocument> payment;
  std::optional<ShipmentDocument> shipment;
  std::string created_at, updated_at;  // RFC 3339
};

// What GET adds to the document.
struct OrderState {
  std::string transaction_id;
  bool applied = true;
  std::vector<std::string> waiting_for;
  // Of a saga, or an accepted order, that has not ended.
  std::string saga_id, next_retry_at, last_error;
  std::string at_risk;  // the log has lost its saga: it needs a person
  std::uint32_t attempts = 0;
  std::vector<TimelineEntry> timeline;
  bool with_history = false;
};

// What is decided and not applied on one order, newest knowledge last.
struct Overlay {
  bool pending = false;  // something is under way or decided and not applied
  bool decided = false;
  std::optional<OrderDocument> placed;  // of a place that the services may not show yet
  std::string status;  // the status that the newest decided operation leads to; empty: none
  std::string transaction_id;
  std::vector<std::string> waiting_for;
  std::shared_ptr<const Operation> place;  // where this process still has it: holds the address
};

// The document of an order being placed, as it is when confirmed.
OrderDocument document_of(const Operation& operation, std::string_view currency);
OrderDocument document_of(const OrderView& row, std::string_view currency);
// nullopt: not an answer that this version wrote.
std::optional<OrderDocument> parse_answer(std::string_view answer);

// What Operation::answer holds: neither transaction_id nor applied, which only the decision makes
// known.
std::string write_answer(const OrderDocument& document);
// An answer with those two put in. `as_saga`: what did it has the name of saga_id.
std::string complete_answer(std::string_view answer, std::string_view transaction_id, bool applied,
                            bool as_saga = false);
// Of an order whose outcome is not known, or that was accepted: by a saga, whatever its mode.
std::string pending_answer(const OrderDocument& document, std::string_view transaction_id);
std::string write_order(const OrderDocument& document, const OrderState& view);

// The statuses that an operation leads to.
std::string_view order_status_after(OperationKind kind);
void apply_status(OrderDocument& document, std::string_view status);
// Whether an order in status `a` has come further in its life than in status `b`.
bool further(std::string_view a, std::string_view b);
// Nothing of it is promised yet.
void make_pending(OrderDocument& document);

}  // namespace txcoord::http
