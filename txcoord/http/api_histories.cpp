// Reservations, payments and shipments: what each service keeps. Where a service does not show a
// decided order yet, the order's own document stands in: never a missing payment.
#include <algorithm>

#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/http/gather.hpp"
#include "txcoord/http/service_api.hpp"

namespace txcoord::http {
namespace {

void write(JsonWriter& out, const ReservationView& row) {
  out.begin_object()
      .field("reservation_id", row.reservation_id)
      .field("order_id", row.order_id)
      .field("sku", row.sku)
      .field("quantity", row.quantity)
      .field("status", row.status)
      .field("created_at", rfc3339(row.created_at));
  if (row.expires_at) out.field("expires_at", rfc3339(*row.expires_at));
  out.end_object();
}

void write(JsonWriter& out, const PaymentView& row, std::string_view currency) {
  out.begin_object()
      .field("payment_id", row.payment_id)
      .field("order_id", row.order_id)
      .field("customer_id", row.customer_id)
      .field("amount", row.amount)
      .field("currency", currency)
      .field("payment_method", row.payment_method)
      .field("status", row.status)
      .field_if("provider_reference", row.provider_reference)
      .field("created_at", rfc3339(row.created_at))
      .field("updated_at", rfc3339(row.updated_at))
      .end_object();
}

void write(JsonWriter& out, const ShipmentView& row) {
  out.begin_object()
      .field("shipment_id", row.shipment_id)
      .field("order_id", row.order_id)
      .field("status", row.status)
      .field_if("carrier", row.carrier)
      .field_if("tracking_number", row.tracking_number);
  // From an answer in the log the address is not known: it is personal data, and answers keep none.
  if (!row.address.name.empty()) {
    const ShippingAddress& address = row.address;
    out.key("shipping_address")
        .begin_object()
        .field("name", address.name)
        .field("postal_code", address.postal_code)
        .field("prefecture", address.prefecture)
        .field("city", address.city)
        .field("line1", address.line1)
        .field_set("line2", address.line2)
        .field_set("phone", address.phone)
        .end_object();
  }
  out.field("created_at", rfc3339(row.created_at))
      .field("updated_at", rfc3339(row.updated_at))
      .end_object();
}

// What a decided order says of itself, as its services' rows.
std::vector<ReservationView> reservations_of(const OrderDocument& order) {
  std::vector<ReservationView> rows;
  for (const ItemDocument& item : order.items) {
    ReservationView& row = rows.emplace_back();
    row.reservation_id = item.reservation_id;
    row.order_id = order.order_id;
    row.sku = item.sku;
    row.status = item.reservation_status;
    row.quantity = item.quantity;
    row.created_at = parse_time(order.created_at).value_or(UtcTime{});
  }
  return rows;
}

std::vector<PaymentView> payments_of(const OrderDocument& order) {
  if (!order.payment) return {};
  PaymentView row;
  row.payment_id = order.payment->payment_id;
  row.order_id = order.order_id;
  row.customer_id = order.customer_id;
  row.payment_method = order.payment->payment_method;
  row.status = order.payment->status;
  row.amount = order.payment->amount;
  row.created_at = row.updated_at = parse_time(order.created_at).value_or(UtcTime{});
  return {row};
}

std::vector<ShipmentView> shipments_of(const OrderDocument& order, const Operation* place) {
  if (!order.shipment) return {};
  ShipmentView row;
  row.shipment_id = order.shipment->shipment_id;
  row.order_id = order.order_id;
  row.status = order.shipment->status;
  if (place != nullptr) row.address = place->place.address;
  row.created_at = row.updated_at = parse_time(order.created_at).value_or(UtcTime{});
  return {row};
}

// Of all of an order's payments, newest first.
void take_page(std::vector<PaymentView>& rows, const PageRequest& wanted) {
  std::sort(rows.begin(), rows.end(),
            [](const PaymentView& a, const PaymentView& b) { return a.payment_id > b.payment_id; });
  std::erase_if(rows, [&](const PaymentView& row) {
    return !wanted.after.empty() && row.payment_id >= wanted.after;
  });
  if (rows.size() > wanted.limit) rows.resize(wanted.limit);
}

}  // namespace

asio::awaitable<Reply> ServiceApi::list_reservations(Call& call) {
  const std::string order_id = call.query_value("order_id");
  auto reading = within(io_, read_wait(), d_.inventory->reservations(order_id));
  auto rows = co_await std::move(reading);
  if (!rows.ok() || rows.value().empty()) {
    auto looking = decided_place(order_id);
    const auto place = co_await std::move(looking);
    if (place) rows = reservations_of(place->order);
  }
  if (!rows) co_return problem_reply(participant_unavailable("inventory", rows.failure()));
  JsonWriter out;
  out.begin_object().key("reservations").begin_array();
  for (const ReservationView& row : rows.value()) write(out, row);
  out.end_array().end_object();
  co_return json_reply(out.take());
}

asio::awaitable<Reply> ServiceApi::get_reservation(Call& call) {
  auto reading = within(io_, read_wait(), d_.inventory->reservation(call.id));
  auto found = co_await std::move(reading);
  std::optional<ReservationView> row;
  if (found.ok()) row = found.value();
  if (!row) {
    const auto matches = [&](const PlaceOrder& place) {
      return std::any_of(place.items.begin(), place.items.end(),
                         [&](const OrderItem& item) { return item.reservation_id == call.id; });
    };
    if (const auto place = find_decided(matches)) {
      for (ReservationView& made : reservations_of(place->order)) {
        if (made.reservation_id == call.id) row = std::move(made);
      }
    }
  }
  if (!row && !found)
    co_return problem_reply(participant_unavailable("inventory", found.failure()));
  if (!row) co_return problem_reply(not_found("there is no such reservation"));
  JsonWriter out;
  write(out, *row);
  co_return json_reply(out.take());
}

asio::awaitable<Reply> ServiceApi::list_payments(Call& call) {
  const std::string order_id = call.query_value("order_id");
  const std::string customer_id = call.query_value("customer_id");
  if (order_id.empty() == customer_id.empty()) {
    co_return problem_reply(validation_problem(400, "give order_id or customer_id, and not both",
                                               {{"order_id", "give it or customer_id"}}));
  }
  const PageOrProblem wanted = read_page(call, /*ids_are_uuids=*/true);
  if (wanted.problem) co_return problem_reply(*wanted.problem);
  auto call_to = order_id.empty() ? d_.payments->payments_of_customer(customer_id, wanted.page)
                                  : d_.payments->payments_of_order(order_id);
  auto reading = within(io_, read_wait(), std::move(call_to));
  auto rows = co_await std::move(reading);
  if (!order_id.empty() && (!rows.ok() || rows.value().empty())) {
    auto looking = decided_place(order_id);
    const auto place = co_await std::move(looking);
    if (place) rows = payments_of(place->order);
  }
  if (!rows) co_return problem_reply(participant_unavailable("payment", rows.failure()));
  if (!order_id.empty()) take_page(rows.value(), wanted.page);
  JsonWriter out;
  out.begin_object().key("payments").begin_array();
  for (const PaymentView& row : rows.value()) write(out, row, d_.settings.currency);
  out.end_array();
  if (rows.value().size() == wanted.page.limit) {
    out.field("next_cursor", make_cursor(rows.value().back().payment_id));
  }
  out.end_object();
  co_return json_reply(out.take());
}

asio::awaitable<Reply> ServiceApi::get_payment(Call& call) {
  auto reading = within(io_, read_wait(), d_.payments->payment(call.id));
  auto found = co_await std::move(reading);
  std::optional<PaymentView> row;
  if (found.ok()) row = found.value();
  if (!row) {
    const auto matches = [&](const PlaceOrder& place) { return place.payment_id == call.id; };
    if (const auto place = find_decided(matches)) row = payments_of(place->order).front();
  }
  if (!row && !found) co_return problem_reply(participant_unavailable("payment", found.failure()));
  if (!row) co_return problem_reply(not_found("there is no such payment"));
  JsonWriter out;
  write(out, *row, d_.settings.currency);
  co_return json_reply(out.take());
}

asio::awaitable<Reply> ServiceApi::list_shipments(Call& call) {
  const std::string order_id = call.query_value("order_id");
  auto reading = within(io_, read_wait(), d_.shipping->shipments(order_id));
  auto rows = co_await std::move(reading);
  if (!rows.ok() || rows.value().empty()) {
    auto looking = decided_place(order_id);
    const auto place = co_await std::move(looking);
    if (place) rows = shipments_of(place->order, place->operation.get());
  }
  if (!rows) co_return problem_reply(participant_unavailable("shipping", rows.failure()));
  JsonWriter out;
  out.begin_object().key("shipments").begin_array();
  for (const ShipmentView& row : rows.value()) write(out, row);
  out.end_array().end_object();
  co_return json_reply(out.take());
}

asio::awaitable<Reply> ServiceApi::get_shipment(Call& call) {
  auto reading = within(io_, read_wait(), d_.shipping->shipment(call.id));
  auto found = co_await std::move(reading);
  std::optional<ShipmentView> row;
  if (found.ok()) row = found.value();
  if (!row) {
    const auto matches = [&](const PlaceOrder& place) { return place.shipment_id == call.id; };
    if (const auto place = find_decided(matches))
      row = shipments_of(place->order, place->operation.get()).front();
  }
  if (!row && !found) co_return problem_reply(participant_unavailable("shipping", found.failure()));
  if (!row) co_return problem_reply(not_found("there is no such shipment"));
  JsonWriter out;
  write(out, *row);
  co_return json_reply(out.take());
}

}  // namespace txcoord::http
