// The services' views and requests as JSON (docs/participant-protocol.md), for both ends. Members
// of the object that is open in `out`, or that `reader` is on. Every read_… throws JsonReadError.
#pragma once

#include <string_view>
#include <vector>

#include "participants/payment/card_settlement.hpp"
#include "participants/services.hpp"
#include "txcoord/base/json_reader.hpp"
#include "txcoord/base/json_writer.hpp"

namespace txcoord::remote {

void write(JsonWriter& out, const OrderView& view);
void write(JsonWriter& out, const EventView& view);
void write(JsonWriter& out, const OrderFate& fate);
void write(JsonWriter& out, const StockView& view);
void write(JsonWriter& out, const ReservationView& view);
void write(JsonWriter& out, const WalletView& view);
void write(JsonWriter& out, const StockPut& put);
void write(JsonWriter& out, const WalletPut& put);
void write(JsonWriter& out, const PaymentView& view);
void write(JsonWriter& out, const ShipmentView& view);
void write(JsonWriter& out, const StockChange& change);
void write(JsonWriter& out, const RequestKey& key);
void write(JsonWriter& out, const PageRequest& page);
void write(JsonWriter& out, const RestockReply& reply);
void write(JsonWriter& out, const CardSettlementReport& report);

// Told apart by what is read: read(reader, view).
void read(const JsonReader& reader, OrderView& view);
void read(const JsonReader& reader, EventView& view);
void read(const JsonReader& reader, OrderFate& fate);
void read(const JsonReader& reader, StockView& view);
void read(const JsonReader& reader, ReservationView& view);
void read(const JsonReader& reader, WalletView& view);
void read(const JsonReader& reader, StockPut& put);
void read(const JsonReader& reader, WalletPut& put);
void read(const JsonReader& reader, PaymentView& view);
void read(const JsonReader& reader, ShipmentView& view);
void read(const JsonReader& reader, StockChange& change);
void read(const JsonReader& reader, RequestKey& key);
void read(const JsonReader& reader, PageRequest& page);
void read(const JsonReader& reader, RestockReply& reply);
void read(const JsonReader& reader, CardSettlementReport& report);

template <class T>
T read_as(const JsonReader& reader) {
  T value{};
  read(reader, value);
  return value;
}

// The member "found": the view, or null.
template <class T>
void write_found(JsonWriter& out, const std::optional<T>& view) {
  out.key("found");
  if (!view) {
    out.raw("null");
    return;
  }
  out.begin_object();
  write(out, *view);
  out.end_object();
}
template <class T>
std::optional<T> read_found(const JsonReader& reader) {
  if (reader.is_null("found")) return std::nullopt;
  return read_as<T>(reader.object("found"));
}

// The member "rows".
template <class T>
void write_rows(JsonWriter& out, const std::vector<T>& views) {
  out.key("rows").begin_array();
  for (const T& view : views) {
    out.begin_object();
    write(out, view);
    out.end_object();
  }
  out.end_array();
}
template <class T>
std::vector<T> read_rows(const JsonReader& reader) {
  std::vector<T> views;
  const auto objects = reader.objects("rows");
  views.reserve(objects.size());
  for (const JsonReader& object : objects) views.push_back(read_as<T>(object));
  return views;
}

}  // namespace txcoord::remote
