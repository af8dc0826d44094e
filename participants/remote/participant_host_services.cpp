// The services' own calls, by participant. See participant_host.hpp.

#include "participants/remote/branch_json.hpp"
#include "participants/remote/participant_host.hpp"
#include "participants/remote/view_json.hpp"
#include "participants/request_age.hpp"

namespace txcoord::remote {
namespace {

using Text = asio::awaitable<std::string>;

constexpr std::size_t rows_max = 1000;  // of a page, and of a list of orders

template <class Write>
std::string object(Write write) {
  JsonWriter out;
  out.begin_object();
  write(out);
  return out.end_object().take();
}

template <class T>
std::string found(const std::optional<T>& view) {
  return object([&](JsonWriter& out) { write_found(out, view); });
}
template <class T>
std::string rows(const std::vector<T>& views) {
  return object([&](JsonWriter& out) { write_rows(out, views); });
}
template <class T>
std::string one(const T& view) {
  return object([&](JsonWriter& out) { write(out, view); });
}
std::string order_ids(const std::vector<std::string>& ids) {
  return object([&](JsonWriter& out) { write_texts(out, "order_ids", ids); });
}

PageRequest read_page(const JsonReader& reader) {
  auto page = read_as<PageRequest>(reader);
  if (page.limit < 1 || page.limit > rows_max) reader.refuse("limit", "is not 1 to 1000");
  return page;
}

std::vector<std::string> read_order_ids(const JsonReader& reader) {
  auto ids = reader.texts("order_ids");
  if (ids.size() > rows_max) reader.refuse("order_ids", "holds too many");
  return ids;
}

Text order_call(OrderService& orders, std::string_view call, const JsonReader& reader,
                bool& known) {
  if (call == "order") {
    auto calling = orders.order(reader.text("order_id"));
    co_return found(value_or_throw(co_await std::move(calling)));
  }
  if (call == "orders") {
    OrderFilter filter{reader.text_or_empty("customer_id"), reader.text_or_empty("status")};
    auto calling = orders.orders(std::move(filter), read_page(reader));
    co_return rows(value_or_throw(co_await std::move(calling)));
  }
  if (call == "order-events") {
    auto calling = orders.order_events(reader.text("order_id"));
    co_return rows(value_or_throw(co_await std::move(calling)));
  }
  if (call == "orders-by-correlation") {
    auto calling = orders.orders_by_correlation(reader.text("correlation_id"));
    co_return order_ids(value_or_throw(co_await std::move(calling)));
  }
  if (call == "fail-pending") {
    auto calling = orders.fail_pending(read_order_ids(reader), reader.text("reason"));
    co_return rows(value_or_throw(co_await std::move(calling)));
  }
  known = false;
  co_return std::string();
}

// Of a caller of an earlier version the age is not known.
void refuse_old(const JsonReader& reader) {
  const auto asked_at = reader.time_if("asked_at");
  if (asked_at && *asked_at < now_utc() - request_age_max)
    throw CallFailed{
        {FailureKind::timeout, false, "", "the request is older than its key is kept"}};
}

Text expiry_call(InventoryService& inventory, std::string_view call, const JsonReader& reader,
                 bool& known) {
  if (call == "expired-reservations") {
    const std::int64_t limit = reader.integer("limit");
    if (limit < 1 || limit > static_cast<std::int64_t>(rows_max))
      reader.refuse("limit", "is not 1 to 1000");
    auto calling = inventory.expired_reservations(static_cast<std::size_t>(limit));
    co_return order_ids(value_or_throw(co_await std::move(calling)));
  }
  if (call == "expire") {
    auto calling = inventory.expire(read_order_ids(reader));
    const std::size_t freed = value_or_throw(co_await std::move(calling));
    co_return object([&](JsonWriter& out) { out.field("orders", freed); });
  }
  if (call == "keep-reservations") {
    auto calling = inventory.keep_reservations(read_order_ids(reader));
    value_or_throw(co_await std::move(calling));
    co_return "{}";
  }
  known = false;
  co_return std::string();
}

Text inventory_call(InventoryService& inventory, std::string_view call, const JsonReader& reader,
                    bool& known) {
  if (call == "stock") {
    auto calling = inventory.stock(reader.text("sku"));
    co_return found(value_or_throw(co_await std::move(calling)));
  }
  if (call == "stocks") {
    auto calling = inventory.stocks(read_page(reader));
    co_return rows(value_or_throw(co_await std::move(calling)));
  }
  if (call == "put-stock") {
    refuse_old(reader);
    auto calling = inventory.put_stock(reader.text("sku"), read_as<StockChange>(reader));
    co_return one(value_or_throw(co_await std::move(calling)));
  }
  if (call == "restock") {
    refuse_old(reader);
    auto calling = inventory.restock(reader.text("sku"), reader.integer("quantity"),
                                     read_as<RequestKey>(reader));
    co_return one(value_or_throw(co_await std::move(calling)));
  }
  if (call == "reservation") {
    auto calling = inventory.reservation(reader.text("reservation_id"));
    co_return found(value_or_throw(co_await std::move(calling)));
  }
  if (call == "reservations") {
    auto calling = inventory.reservations(reader.text("order_id"));
    co_return rows(value_or_throw(co_await std::move(calling)));
  }
  if (call == "stock-events") {
    auto calling = inventory.stock_events(reader.text("order_id"));
    co_return rows(value_or_throw(co_await std::move(calling)));
  }
  auto expiry = expiry_call(inventory, call, reader, known);
  co_return co_await std::move(expiry);
}

// A participant, or a part of one, that this process does not serve.
Text no_service(bool& known) {
  known = false;
  co_return std::string();
}

Text card_call(CardSettler& cards, std::string_view call, const JsonReader& reader, bool& known) {
  if (call == "old-intents") {
    auto calling = cards.old_intents();
    const auto gids = value_or_throw(co_await std::move(calling));
    co_return object([&](JsonWriter& out) { write_gids(out, gids); });
  }
  if (call == "settle-cards") {
    auto calling = cards.settle_ended(read_gids(reader));
    co_return one(value_or_throw(co_await std::move(calling)));
  }
  known = false;
  co_return std::string();
}

Text payment_call(const Hosted& hosted, std::string_view call, const JsonReader& reader,
                  bool& known) {
  PaymentService& payments = *hosted.payments;
  if (call == "wallet") {
    auto calling = payments.wallet(reader.text("customer_id"));
    co_return found(value_or_throw(co_await std::move(calling)));
  }
  if (call == "put-wallet") {
    refuse_old(reader);
    auto calling = payments.put_wallet(reader.text("customer_id"), reader.integer("balance"));
    co_return one(value_or_throw(co_await std::move(calling)));
  }
  if (call == "payment") {
    auto calling = payments.payment(reader.text("payment_id"));
    co_return found(value_or_throw(co_await std::move(calling)));
  }
  if (call == "payments-of-order") {
    auto calling = payments.payments_of_order(reader.text("order_id"));
    co_return rows(value_or_throw(co_await std::move(calling)));
  }
  if (call == "payments-of-customer") {
    auto calling = payments.payments_of_customer(reader.text("customer_id"), read_page(reader));
    co_return rows(value_or_throw(co_await std::move(calling)));
  }
  if (call == "payment-events") {
    auto calling = payments.payment_events(reader.text("order_id"));
    co_return rows(value_or_throw(co_await std::move(calling)));
  }
  auto cards =
      hosted.cards == nullptr ? no_service(known) : card_call(*hosted.cards, call, reader, known);
  co_return co_await std::move(cards);
}

Text shipping_call(ShippingService& shipping, std::string_view call, const JsonReader& reader,
                   bool& known) {
  if (call == "shipment") {
    auto calling = shipping.shipment(reader.text("shipment_id"));
    co_return found(value_or_throw(co_await std::move(calling)));
  }
  if (call == "shipments") {
    auto calling = shipping.shipments(reader.text("order_id"));
    co_return rows(value_or_throw(co_await std::move(calling)));
  }
  if (call == "shipping-events") {
    auto calling = shipping.shipping_events(reader.text("order_id"));
    co_return rows(value_or_throw(co_await std::move(calling)));
  }
  known = false;
  co_return std::string();
}

}  // namespace

Text service_call(const Hosted& hosted, std::string_view call, const JsonReader& reader,
                  bool& known) {
  if (hosted.orders != nullptr) return order_call(*hosted.orders, call, reader, known);
  if (hosted.inventory != nullptr) return inventory_call(*hosted.inventory, call, reader, known);
  if (hosted.payments != nullptr) return payment_call(hosted, call, reader, known);
  if (hosted.shipping != nullptr) return shipping_call(*hosted.shipping, call, reader, known);
  return no_service(known);
}

}  // namespace txcoord::remote
