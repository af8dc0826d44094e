// See order_document.hpp.
#include "txcoord/http/order_document.hpp"

#include <boost/json/parse.hpp>

#include "txcoord/base/ids.hpp"
#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/time.hpp"

namespace txcoord::http {
namespace {

namespace json = boost::json;

std::string text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains({name.data(), name.size()});
  if (value == nullptr || !value->is_string()) return {};
  const json::string& text = value->get_string();
  return {text.data(), text.size()};
}

std::int64_t number_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains({name.data(), name.size()});
  return value != nullptr && value->is_int64() ? value->get_int64() : 0;
}

void write_items(JsonWriter& out, const std::vector<ItemDocument>& items) {
  out.key("items").begin_array();
  for (const ItemDocument& item : items) {
    out.begin_object()
        .field("sku", item.sku)
        .field("quantity", item.quantity)
        .field("unit_price", item.unit_price)
        .field_if("reservation_id", item.reservation_id)
        .field_if("reservation_status", item.reservation_status)
        .end_object();
  }
  out.end_array();
}

void write_parts(JsonWriter& out, const OrderDocument& order) {
  write_items(out, order.items);
  if (order.payment) {
    out.key("payment")
        .begin_object()
        .field("payment_id", order.payment->payment_id)
        .field("payment_method", order.payment->payment_method)
        .field("amount", order.payment->amount)
        .field("status", order.payment->status)
        .end_object();
  }
  if (order.shipment) {
    out.key("shipment")
        .begin_object()
        .field("shipment_id", order.shipment->shipment_id)
        .field("status", order.shipment->status)
        .field_if("carrier", order.shipment->carrier)
        .field_if("tracking_number", order.shipment->tracking_number)
        .end_object();
  }
}

void write_document(JsonWriter& out, const OrderDocument& order) {
  out.field("order_id", order.order_id)
      .field("customer_id", order.customer_id)
      .field("status", order.status)
      .field("mode", order.mode)
      .field_if("reason", order.reason)
      .field("total_amount", order.total_amount)
      .field("currency", order.currency);
  write_parts(out, order);
  out.field("created_at", order.created_at)
      .field_if("updated_at", order.updated_at)
      .field_if("correlation_id", order.correlation_id);
}

void read_parts(const json::object& object, OrderDocument& order) {
  if (const json::value* items = object.if_contains("items");
      items != nullptr && items->is_array()) {
    for (const json::value& value : items->get_array()) {
      const json::object* item = value.if_object();
      if (item == nullptr) continue;
      order.items.push_back({text_of(*item, "sku"), number_of(*item, "quantity"),
                             number_of(*item, "unit_price"), text_of(*item, "reservation_id"),
                             text_of(*item, "reservation_status")});
    }
  }
  if (const json::value* value = object.if_contains("payment");
      value != nullptr && value->is_object()) {
    const json::object& payment = value->get_object();
    order.payment =
        PaymentDocument{text_of(payment, "payment_id"), text_of(payment, "payment_method"),
                        text_of(payment, "status"), number_of(payment, "amount")};
  }
  if (const json::value* value = object.if_contains("shipment");
      value != nullptr && value->is_object()) {
    const json::object& shipment = value->get_object();
    order.shipment =
        ShipmentDocument{text_of(shipment, "shipment_id"), text_of(shipment, "status"),
                         text_of(shipment, "carrier"), text_of(shipment, "tracking_number")};
  }
}

}  // namespace

OrderDocument document_of(const Operation& operation, std::string_view currency) {
  const PlaceOrder& place = operation.place;
  OrderDocument order;
  order.order_id = operation.order_id;
  order.customer_id = place.customer_id;
  order.status = "CONFIRMED";
  order.mode = operation.mode;
  order.currency = currency;
  order.correlation_id = operation.correlation_id;
  order.total_amount = place.total_amount;
  for (const OrderItem& item : place.items) {
    order.items.push_back(
        {item.sku, item.quantity, item.unit_price, item.reservation_id, "RESERVED"});
  }
  // A card is captured after the decision, from the outbox.
  const bool wallet = place.payment_method == PaymentMethod::wallet;
  std::string_view paid = wallet ? "CAPTURED" : "AUTHORIZED";
  if (place.pay_later) paid = "DUE";
  order.payment = PaymentDocument{place.payment_id, std::string(to_string(place.payment_method)),
                                  std::string(paid), place.total_amount};
  order.shipment =
      ShipmentDocument{place.shipment_id, place.ship_by_hand ? "DUE" : "ARRANGED", {}, {}};
  order.created_at = rfc3339(operation.created_at);
  return order;
}

OrderDocument document_of(const OrderView& row, std::string_view currency) {
  OrderDocument order;
  order.order_id = row.order_id;
  order.customer_id = row.customer_id;
  order.status = row.status;
  order.mode = row.mode;
  order.reason = row.reason;
  order.currency = currency;
  order.correlation_id = row.correlation_id;
  order.total_amount = row.total_amount;
  for (const OrderItem& item : row.items) {
    order.items.push_back({item.sku, item.quantity, item.unit_price, item.reservation_id, {}});
  }
  order.created_at = rfc3339(row.created_at);
  order.updated_at = rfc3339(row.updated_at);
  return order;
}

std::optional<OrderDocument> parse_answer(std::string_view answer) {
  boost::system::error_code error;
  const json::value value = json::parse({answer.data(), answer.size()}, error);
  const json::object* object = error ? nullptr : value.if_object();
  if (object == nullptr || !object->contains("customer_id")) return std::nullopt;
  OrderDocument order;
  order.order_id = text_of(*object, "order_id");
  order.customer_id = text_of(*object, "customer_id");
  order.status = text_of(*object, "status");
  order.mode = text_of(*object, "mode");
  order.reason = text_of(*object, "reason");
  order.currency = text_of(*object, "currency");
  order.correlation_id = text_of(*object, "correlation_id");
  order.total_amount = number_of(*object, "total_amount");
  order.created_at = text_of(*object, "created_at");
  order.updated_at = text_of(*object, "updated_at");
  read_parts(*object, order);
  return order;
}

std::string write_answer(const OrderDocument& document) {
  JsonWriter out;
  out.begin_object();
  write_document(out, document);
  out.end_object();
  return out.take();
}

std::string complete_answer(std::string_view answer, std::string_view transaction_id, bool applied,
                            bool as_saga) {
  std::string whole(answer.substr(0, answer.size() - 1));  // without its closing brace
  if (!transaction_id.empty()) {
    whole += as_saga ? R"(,"saga_id":)" : R"(,"transaction_id":)";
    append_json_string(whole, transaction_id);
  }
  whole += applied ? R"(,"applied":true})" : R"(,"applied":false})";
  return whole;
}

std::string pending_answer(const OrderDocument& document, std::string_view transaction_id) {
  OrderState state;
  state.applied = false;
  state.transaction_id = transaction_id;
  return write_order(document, state);
}

std::string write_order(const OrderDocument& document, const OrderState& state) {
  JsonWriter out;
  out.begin_object();
  write_document(out, document);
  // An accepted order is a saga, whatever its mode: then there is no transaction of this id.
  const bool by_saga = valid_uuid(state.transaction_id);
  if (!by_saga || document.mode == "saga") out.field_if("transaction_id", state.transaction_id);
  out.field("applied", state.applied);
  const std::string& saga_id =
      state.saga_id.empty() && by_saga ? state.transaction_id : state.saga_id;
  out.field_if("saga_id", saga_id);
  if (!state.saga_id.empty()) {
    out.field("attempts", state.attempts)
        .field_if("next_retry_at", state.next_retry_at)
        .field_if("last_error", state.last_error)
        .field_if("at_risk", state.at_risk);
  }
  if (state.with_history) {
    out.key("waiting_for").begin_array();
    for (const std::string& service : state.waiting_for) out.value(service);
    out.end_array();
    out.key("timeline").begin_array();
    for (const TimelineEntry& entry : state.timeline) {
      out.begin_object()
          .field("at", rfc3339(entry.event.at))
          .field("service", entry.service)
          .field("type", entry.event.type)
          .field_if("correlation_id", entry.event.correlation_id)
          .end_object();
    }
    out.end_array();
  }
  out.end_object();
  return out.take();
}

std::string_view order_status_after(OperationKind kind) {
  switch (kind) {
    case OperationKind::place:
    case OperationKind::confirm: return "CONFIRMED";
    case OperationKind::create: return "PENDING";
    case OperationKind::fail: return "FAILED";
    case OperationKind::cancel: return "CANCELLED";
    case OperationKind::ship: return "SHIPPED";
    case OperationKind::deliver: return "DELIVERED";
  }
  return "CONFIRMED";
}

// The parts that the services may not show yet.
void apply_status(OrderDocument& document, std::string_view status) {
  document.status = status;
  if (status == "CONFIRMED") return;
  const bool cancelled = status == "CANCELLED";
  for (ItemDocument& item : document.items) {
    if (!item.reservation_status.empty())
      item.reservation_status = cancelled ? "RELEASED" : "SHIPPED";
  }
  if (document.shipment) document.shipment->status = status;
  if (document.payment && cancelled) {
    // A card that was never captured is voided, not refunded.
    document.payment->status = document.payment->status == "AUTHORIZED" ? "VOIDED" : "REFUNDED";
  }
}

bool further(std::string_view a, std::string_view b) {
  const auto rank = [](std::string_view status) {
    if (status == "PENDING") return 0;
    if (status == "CONFIRMED") return 1;
    if (status == "SHIPPED") return 2;
    return 3;  // CANCELLED, DELIVERED, FAILED: nothing comes after them
  };
  return rank(a) > rank(b);
}

void make_pending(OrderDocument& document) {
  document.status = "PENDING";
  document.payment.reset();
  document.shipment.reset();
  for (ItemDocument& item : document.items) item.reservation_status.clear();
}

}  // namespace txcoord::http
