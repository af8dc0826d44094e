// See view_json.hpp.
#include "participants/remote/view_json.hpp"

#include <array>
#include <cmath>

#include "participants/operation_json.hpp"
#include "txcoord/base/sha256.hpp"

namespace txcoord::remote {
namespace {

constexpr std::array<Word<KeyedStatus>, 4> keyed_statuses{{{KeyedStatus::done, "done"},
                                                           {KeyedStatus::replayed, "replayed"},
                                                           {KeyedStatus::key_reused, "key_reused"},
                                                           {KeyedStatus::not_found, "not_found"}}};

std::int64_t microseconds(UtcTime time) { return time.time_since_epoch().count(); }

std::size_t count(const JsonReader& reader, std::string_view member) {
  const std::int64_t value = reader.integer(member);
  if (value < 0) reader.refuse(member, "is negative");
  return static_cast<std::size_t>(value);
}

}  // namespace

void write(JsonWriter& out, const OrderView& view) {
  out.field("order_id", view.order_id)
      .field("customer_id", view.customer_id)
      .field("status", view.status)
      .field("mode", view.mode)
      .field("reason", view.reason)
      .field("transaction_id", view.transaction_id)
      .field("correlation_id", view.correlation_id)
      .field("total_amount", view.total_amount)
      .field("created_at", microseconds(view.created_at))
      .field("updated_at", microseconds(view.updated_at));
  out.key("items").begin_array();
  for (const OrderItem& item : view.items)
    out.begin_object()
        .field("sku", item.sku)
        .field("quantity", item.quantity)
        .field("unit_price", item.unit_price)
        .end_object();
  out.end_array();
}

void read(const JsonReader& reader, OrderView& view) {
  view.order_id = reader.text("order_id");
  view.customer_id = reader.text("customer_id");
  view.status = reader.text("status");
  view.mode = reader.text("mode");
  view.reason = reader.text("reason");
  view.transaction_id = reader.text("transaction_id");
  view.correlation_id = reader.text("correlation_id");
  view.total_amount = reader.integer("total_amount");
  view.created_at = reader.time("created_at");
  view.updated_at = reader.time("updated_at");
  for (const JsonReader& item : reader.objects("items"))
    view.items.push_back(
        {item.text("sku"), item.integer("quantity"), item.integer("unit_price"), {}});
}

void write(JsonWriter& out, const EventView& view) {
  out.field("type", view.type)
      .field("correlation_id", view.correlation_id)
      .field("at", microseconds(view.at));
}

void read(const JsonReader& reader, EventView& view) {
  view.type = reader.text("type");
  view.correlation_id = reader.text("correlation_id");
  view.at = reader.time("at");
}

void write(JsonWriter& out, const OrderFate& fate) {
  out.field("order_id", fate.order_id).field("status", fate.status);
}

void read(const JsonReader& reader, OrderFate& fate) {
  fate.order_id = reader.text("order_id");
  fate.status = reader.text("status");
}

void write(JsonWriter& out, const StockView& view) {
  out.field("sku", view.sku)
      .field("title", view.title)
      .field("category", view.category)
      .field("unit_price", view.unit_price)
      .field("available", view.available)
      .field("reserved", view.reserved)
      .field("shipped", view.shipped)
      .field("low_stock_threshold", view.low_stock_threshold);
}

void read(const JsonReader& reader, StockView& view) {
  view.sku = reader.text("sku");
  view.title = reader.text("title");
  view.category = reader.text("category");
  view.unit_price = reader.integer("unit_price");
  view.available = reader.integer("available");
  view.reserved = reader.integer("reserved");
  view.shipped = reader.integer("shipped");
  view.low_stock_threshold = reader.integer("low_stock_threshold");
}

void write(JsonWriter& out, const ReservationView& view) {
  out.field("reservation_id", view.reservation_id)
      .field("order_id", view.order_id)
      .field("sku", view.sku)
      .field("status", view.status)
      .field("quantity", view.quantity)
      .field("created_at", microseconds(view.created_at));
  if (view.expires_at) out.field("expires_at", microseconds(*view.expires_at));
}

void read(const JsonReader& reader, ReservationView& view) {
  view.reservation_id = reader.text("reservation_id");
  view.order_id = reader.text("order_id");
  view.sku = reader.text("sku");
  view.status = reader.text("status");
  view.quantity = reader.integer("quantity");
  view.created_at = reader.time("created_at");
  view.expires_at = reader.time_if("expires_at");
}

void write(JsonWriter& out, const WalletView& view) {
  out.field("customer_id", view.customer_id).field("balance", view.balance);
}

void read(const JsonReader& reader, WalletView& view) {
  view.customer_id = reader.text("customer_id");
  view.balance = reader.integer("balance");
}

// Older participants do not tell whether it was missing.
void write(JsonWriter& out, const StockPut& put) {
  write(out, static_cast<const StockView&>(put));
  out.field("made", put.made);
}

void read(const JsonReader& reader, StockPut& put) {
  read(reader, static_cast<StockView&>(put));
  put.made = reader.flag_or_false("made");
}

void write(JsonWriter& out, const WalletPut& put) {
  write(out, static_cast<const WalletView&>(put));
  out.field("made", put.made);
}

void read(const JsonReader& reader, WalletPut& put) {
  read(reader, static_cast<WalletView&>(put));
  put.made = reader.flag_or_false("made");
}

void write(JsonWriter& out, const PaymentView& view) {
  out.field("payment_id", view.payment_id)
      .field("order_id", view.order_id)
      .field("customer_id", view.customer_id)
      .field("payment_method", view.payment_method)
      .field("status", view.status)
      .field("provider_reference", view.provider_reference)
      .field("amount", view.amount)
      .field("created_at", microseconds(view.created_at))
      .field("updated_at", microseconds(view.updated_at));
}

void read(const JsonReader& reader, PaymentView& view) {
  view.payment_id = reader.text("payment_id");
  view.order_id = reader.text("order_id");
  view.customer_id = reader.text("customer_id");
  view.payment_method = reader.text("payment_method");
  view.status = reader.text("status");
  view.provider_reference = reader.text("provider_reference");
  view.amount = reader.integer("amount");
  view.created_at = reader.time("created_at");
  view.updated_at = reader.time("updated_at");
}

void write(JsonWriter& out, const ShipmentView& view) {
  out.field("shipment_id", view.shipment_id)
      .field("order_id", view.order_id)
      .field("tracking_number", view.tracking_number)
      .field("carrier", view.carrier)
      .field("status", view.status)
      .field("created_at", microseconds(view.created_at))
      .field("updated_at", microseconds(view.updated_at));
  write_address(out, view.address);
}

void read(const JsonReader& reader, ShipmentView& view) {
  view.shipment_id = reader.text("shipment_id");
  view.order_id = reader.text("order_id");
  view.tracking_number = reader.text("tracking_number");
  view.carrier = reader.text("carrier");
  view.status = reader.text("status");
  view.created_at = reader.time("created_at");
  view.updated_at = reader.time("updated_at");
  view.address = read_address(reader.object("address"));
}

void write(JsonWriter& out, const StockChange& change) {
  out.field_set("title", change.title).field_set("category", change.category);
  if (change.unit_price) out.field("unit_price", *change.unit_price);
  if (change.available) out.field("available", *change.available);
  if (change.low_stock_threshold) out.field("low_stock_threshold", *change.low_stock_threshold);
}

void read(const JsonReader& reader, StockChange& change) {
  change.title = reader.text_if("title");
  change.category = reader.text_if("category");
  change.unit_price = reader.integer_if("unit_price");
  change.available = reader.integer_if("available");
  change.low_stock_threshold = reader.integer_if("low_stock_threshold");
}

void write(JsonWriter& out, const RequestKey& key) {
  out.field("scope", key.scope).field("key", key.key);
  out.field("fingerprint", to_hex(key.fingerprint));
}

void read(const JsonReader& reader, RequestKey& key) {
  key.scope = reader.text("scope");
  key.key = reader.text("key");
  const auto fingerprint = sha256_from_hex(reader.text("fingerprint"));
  if (!fingerprint) reader.refuse("fingerprint", "is no SHA-256 in hex");
  key.fingerprint = *fingerprint;
}

void write(JsonWriter& out, const PageRequest& page) {
  out.field("limit", page.limit).field("after", page.after);
}

void read(const JsonReader& reader, PageRequest& page) {
  page.limit = count(reader, "limit");
  page.after = reader.text_or_empty("after");
}

void write(JsonWriter& out, const RestockReply& reply) {
  out.field("status", word_of(reply.status, std::span<const Word<KeyedStatus>>(keyed_statuses)));
  out.key("stock").begin_object();
  write(out, reply.stock);
  out.end_object();
}

void read(const JsonReader& reader, RestockReply& reply) {
  reply.status = reader.one_of("status", std::span<const Word<KeyedStatus>>(keyed_statuses));
  read(reader.object("stock"), reply.stock);
}

void write(JsonWriter& out, const CardSettlementReport& report) {
  out.field("captured", report.captured)
      .field("reversed", report.reversed)
      .field("voided", report.voided)
      .field("refused", report.refused)
      .field("lag_ms", std::llround(1000 * report.lag_seconds));
}

void read(const JsonReader& reader, CardSettlementReport& report) {
  report.captured = count(reader, "captured");
  report.reversed = count(reader, "reversed");
  report.voided = count(reader, "voided");
  if (reader.has("refused")) report.refused = count(reader, "refused");  // N - 1 tells none
  report.lag_seconds = static_cast<double>(reader.integer("lag_ms")) / 1000;
}

}  // namespace txcoord::remote
