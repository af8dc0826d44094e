// See operation_json.hpp.
#include "participants/operation_json.hpp"

#include <array>

namespace txcoord {
namespace {

constexpr std::array<Word<OperationKind>, 7> kinds{{{OperationKind::place, "place"},
                                                    {OperationKind::cancel, "cancel"},
                                                    {OperationKind::ship, "ship"},
                                                    {OperationKind::deliver, "deliver"},
                                                    {OperationKind::create, "create"},
                                                    {OperationKind::confirm, "confirm"},
                                                    {OperationKind::fail, "fail"}}};
constexpr std::array<Word<PaymentMethod>, 2> payment_methods{
    {{PaymentMethod::wallet, "wallet"}, {PaymentMethod::card, "card"}}};

std::int64_t microseconds(UtcTime time) { return time.time_since_epoch().count(); }

bool makes_an_order(OperationKind kind) {
  return kind == OperationKind::place || kind == OperationKind::create;
}

}  // namespace

void write_address(JsonWriter& out, const ShippingAddress& address) {
  out.key("address")
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

ShippingAddress read_address(const JsonReader& reader) {
  ShippingAddress address;
  address.name = reader.text("name");
  address.postal_code = reader.text("postal_code");
  address.prefecture = reader.text("prefecture");
  address.city = reader.text("city");
  address.line1 = reader.text("line1");
  address.line2 = reader.text_if("line2");
  address.phone = reader.text_if("phone");
  return address;
}

std::string_view kind_word(OperationKind kind) {
  return word_of(kind, std::span<const Word<OperationKind>>(kinds));
}

OperationKind read_kind(const JsonReader& reader) {
  return reader.one_of("kind", std::span<const Word<OperationKind>>(kinds));
}

void write_place(JsonWriter& out, const PlaceOrder& place, OrderPrivacy privacy) {
  out.key("place").begin_object().field("customer_id", place.customer_id);
  out.key("items").begin_array();
  for (const OrderItem& item : place.items) {
    out.begin_object()
        .field("sku", item.sku)
        .field("quantity", item.quantity)
        .field("unit_price", item.unit_price)
        .field("reservation_id", item.reservation_id)
        .end_object();
  }
  out.end_array().field("total_amount", place.total_amount);
  if (privacy.with_address) write_address(out, place.address);
  out.field("payment_method",
            word_of(place.payment_method, std::span<const Word<PaymentMethod>>(payment_methods)));
  if (privacy.with_token) out.field("payment_token", place.payment_token);
  out.field("payment_id", place.payment_id).field("shipment_id", place.shipment_id);
  // Only where they say something: who does not know them is not asked to do what they mean.
  if (place.pay_later) out.field("pay_later", true);
  if (place.ship_by_hand) out.field("ship_by_hand", true);
  out.end_object();
}

PlaceOrder read_place(const JsonReader& reader) {
  PlaceOrder place;
  place.customer_id = reader.text("customer_id");
  for (const JsonReader& item : reader.objects("items"))
    place.items.push_back({item.text("sku"), item.integer("quantity"), item.integer("unit_price"),
                           item.text("reservation_id")});
  place.total_amount = reader.integer("total_amount");
  if (reader.has("address")) place.address = read_address(reader.object("address"));
  place.payment_method =
      reader.one_of("payment_method", std::span<const Word<PaymentMethod>>(payment_methods));
  place.payment_token = reader.text_or_empty("payment_token");
  place.payment_id = reader.text("payment_id");
  place.shipment_id = reader.text("shipment_id");
  place.pay_later = reader.has("pay_later") && reader.flag("pay_later");
  place.ship_by_hand = reader.has("ship_by_hand") && reader.flag("ship_by_hand");
  return place;
}

void write_operation(JsonWriter& out, const Operation& operation, std::string_view participant) {
  out.begin_object()
      .field("kind", kind_word(operation.kind))
      .field("order_id", operation.order_id)
      .field("correlation_id", operation.correlation_id)
      .field("created_at", microseconds(operation.created_at))
      .field("mode", operation.mode)
      .field("transaction_id", operation.transaction_id)
      .field("accepted", operation.accepted)
      .field("reason", operation.reason);
  if (operation.reserve_until) out.field("reserve_until", microseconds(*operation.reserve_until));
  // An operation on an order that stands already has none.
  if (makes_an_order(operation.kind) || !operation.place.customer_id.empty())
    write_place(out, operation.place, {participant == "shipping", participant == "payment"});
  out.end_object();
}

Operation read_operation(const JsonReader& reader) {
  Operation operation;
  operation.kind = read_kind(reader);
  operation.order_id = reader.text("order_id");
  operation.correlation_id = reader.text("correlation_id");
  operation.created_at = reader.time("created_at");
  operation.mode = reader.text("mode");
  operation.transaction_id = reader.text("transaction_id");
  operation.accepted = reader.flag("accepted");
  operation.reason = reader.text("reason");
  operation.reserve_until = reader.time_if("reserve_until");
  if (reader.has("place")) operation.place = read_place(reader.object("place"));
  if (makes_an_order(operation.kind) && !reader.has("place")) reader.refuse("place", "is missing");
  return operation;
}

}  // namespace txcoord
