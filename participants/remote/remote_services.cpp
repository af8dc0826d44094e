// See remote_services.hpp.
#include "participants/remote/remote_services.hpp"

#include <type_traits>

#include "participants/remote/branch_json.hpp"
#include "participants/remote/view_json.hpp"
#include "txcoord/base/time.hpp"

namespace txcoord::remote {
namespace {

template <class T>
using Reply = asio::awaitable<Result<T>>;

// One object of members.
template <class Write>
std::string body_of(Write write) {
  JsonWriter out;
  out.begin_object();
  write(out);
  return out.end_object().take();
}

std::string text_body(std::string_view member, const std::string& text) {
  return body_of([&](JsonWriter& out) { out.field(member, text); });
}

Done nothing(const JsonReader& reader) {
  read_done(reader);
  return {};
}

class Remote {
 public:
  Remote(std::string participant, std::shared_ptr<RemoteService> service,
         std::chrono::milliseconds deadline)
      : participant_(std::move(participant)),
        service_(std::move(service)),
        rules_{deadline, true, false} {}

  template <class Read>
  auto ask(std::string call, std::string body, Read read) const
      -> Reply<std::invoke_result_t<Read, const JsonReader&>> {
    Question question{participant_, call, {}, call};
    auto calling = service_->call(std::move(question), std::move(body), rules_);
    const auto answer = co_await std::move(calling);
    co_return read_answer(answer, rules_, read);
  }

 private:
  std::string participant_;
  std::shared_ptr<RemoteService> service_;
  CallRules rules_;
};

class RemoteOrder final : public OrderService {
 public:
  explicit RemoteOrder(Remote remote) : remote_(std::move(remote)) {}

  Reply<std::optional<OrderView>> order(std::string order_id) override {
    return remote_.ask("order", text_body("order_id", order_id), read_found<OrderView>);
  }
  Reply<std::vector<OrderView>> orders(OrderFilter filter, PageRequest page) override {
    return remote_.ask("orders", body_of([&](JsonWriter& out) {
                         out.field("customer_id", filter.customer_id);
                         out.field("status", filter.status);
                         write(out, page);
                       }),
                       read_rows<OrderView>);
  }
  Reply<std::vector<EventView>> order_events(std::string order_id) override {
    return remote_.ask("order-events", text_body("order_id", order_id), read_rows<EventView>);
  }
  Reply<std::vector<std::string>> orders_by_correlation(std::string correlation_id) override {
    return remote_.ask("orders-by-correlation", text_body("correlation_id", correlation_id),
                       [](const JsonReader& reader) { return reader.texts("order_ids"); });
  }
  Reply<std::vector<OrderFate>> fail_pending(std::vector<std::string> order_ids,
                                             std::string reason) override {
    return remote_.ask("fail-pending", body_of([&](JsonWriter& out) {
                         write_texts(out, "order_ids", order_ids);
                         out.field("reason", reason);
                       }),
                       read_rows<OrderFate>);
  }

 private:
  Remote remote_;
};

// What may be refused for its age: participants/request_age.hpp.
void write_asked_at(JsonWriter& out) {
  out.field("asked_at", static_cast<std::int64_t>(now_utc().time_since_epoch().count()));
}

class RemoteInventory final : public InventoryService {
 public:
  explicit RemoteInventory(Remote remote) : remote_(std::move(remote)) {}

  Reply<std::optional<StockView>> stock(std::string sku) override {
    return remote_.ask("stock", text_body("sku", sku), read_found<StockView>);
  }
  Reply<std::vector<StockView>> stocks(PageRequest page) override {
    return remote_.ask("stocks", body_of([&](JsonWriter& out) { write(out, page); }),
                       read_rows<StockView>);
  }
  Reply<StockPut> put_stock(std::string sku, StockChange change) override {
    return remote_.ask("put-stock", body_of([&](JsonWriter& out) {
                         out.field("sku", sku);
                         write(out, change);
                         write_asked_at(out);
                       }),
                       read_as<StockPut>);
  }
  Reply<RestockReply> restock(std::string sku, std::int64_t quantity, RequestKey key) override {
    return remote_.ask("restock", body_of([&](JsonWriter& out) {
                         out.field("sku", sku).field("quantity", quantity);
                         write(out, key);
                         write_asked_at(out);
                       }),
                       read_as<RestockReply>);
  }
  Reply<std::optional<ReservationView>> reservation(std::string reservation_id) override {
    return remote_.ask("reservation", text_body("reservation_id", reservation_id),
                       read_found<ReservationView>);
  }
  Reply<std::vector<ReservationView>> reservations(std::string order_id) override {
    return remote_.ask("reservations", text_body("order_id", order_id), read_rows<ReservationView>);
  }
  Reply<std::vector<EventView>> stock_events(std::string order_id) override {
    return remote_.ask("stock-events", text_body("order_id", order_id), read_rows<EventView>);
  }
  Reply<std::vector<std::string>> expired_reservations(std::size_t limit) override {
    return remote_.ask("expired-reservations",
                       body_of([&](JsonWriter& out) { out.field("limit", limit); }),
                       [](const JsonReader& reader) { return reader.texts("order_ids"); });
  }
  Reply<std::size_t> expire(std::vector<std::string> order_ids) override {
    return remote_.ask("expire", order_ids_body(order_ids), [](const JsonReader& reader) {
      return static_cast<std::size_t>(reader.integer("orders"));
    });
  }
  Reply<Done> keep_reservations(std::vector<std::string> order_ids) override {
    return remote_.ask("keep-reservations", order_ids_body(order_ids), nothing);
  }

 private:
  static std::string order_ids_body(const std::vector<std::string>& order_ids) {
    return body_of([&](JsonWriter& out) { write_texts(out, "order_ids", order_ids); });
  }
  Remote remote_;
};

class RemotePayment final : public PaymentService {
 public:
  explicit RemotePayment(Remote remote) : remote_(std::move(remote)) {}

  Reply<std::optional<WalletView>> wallet(std::string customer_id) override {
    return remote_.ask("wallet", text_body("customer_id", customer_id), read_found<WalletView>);
  }
  Reply<WalletPut> put_wallet(std::string customer_id, Money balance) override {
    return remote_.ask("put-wallet", body_of([&](JsonWriter& out) {
                         out.field("customer_id", customer_id).field("balance", balance);
                         write_asked_at(out);
                       }),
                       read_as<WalletPut>);
  }
  Reply<std::optional<PaymentView>> payment(std::string payment_id) override {
    return remote_.ask("payment", text_body("payment_id", payment_id), read_found<PaymentView>);
  }
  Reply<std::vector<PaymentView>> payments_of_order(std::string order_id) override {
    return remote_.ask("payments-of-order", text_body("order_id", order_id),
                       read_rows<PaymentView>);
  }
  Reply<std::vector<PaymentView>> payments_of_customer(std::string customer_id,
                                                       PageRequest page) override {
    return remote_.ask("payments-of-customer", body_of([&](JsonWriter& out) {
                         out.field("customer_id", customer_id);
                         write(out, page);
                       }),
                       read_rows<PaymentView>);
  }
  Reply<std::vector<EventView>> payment_events(std::string order_id) override {
    return remote_.ask("payment-events", text_body("order_id", order_id), read_rows<EventView>);
  }

 private:
  Remote remote_;
};

class RemoteShipping final : public ShippingService {
 public:
  explicit RemoteShipping(Remote remote) : remote_(std::move(remote)) {}

  Reply<std::optional<ShipmentView>> shipment(std::string shipment_id) override {
    return remote_.ask("shipment", text_body("shipment_id", shipment_id), read_found<ShipmentView>);
  }
  Reply<std::vector<ShipmentView>> shipments(std::string order_id) override {
    return remote_.ask("shipments", text_body("order_id", order_id), read_rows<ShipmentView>);
  }
  Reply<std::vector<EventView>> shipping_events(std::string order_id) override {
    return remote_.ask("shipping-events", text_body("order_id", order_id), read_rows<EventView>);
  }

 private:
  Remote remote_;
};

class RemoteSettler final : public CardSettler {
 public:
  RemoteSettler(Remote remote, Metrics* metrics) : remote_(std::move(remote)), metrics_(metrics) {}

  Reply<std::vector<protocol::Gid>> old_intents() override {
    return remote_.ask("old-intents", "{}", read_gids);
  }

  Reply<CardSettlementReport> settle_ended(std::vector<protocol::Gid> ended) override {
    auto body = body_of([&](JsonWriter& out) { write_gids(out, ended); });
    auto settling = remote_.ask("settle-cards", std::move(body), read_as<CardSettlementReport>);
    auto report = co_await std::move(settling);
    if (metrics_ == nullptr) co_return report;
    if (!report) {
      metrics_->outbox_lag_not_seen();
      co_return report;
    }
    metrics_->outbox_lag(report.value().lag_seconds);
    metrics_->card_errands_refused(report.value().refused);
    co_return report;
  }

 private:
  Remote remote_;
  Metrics* metrics_;
};

}  // namespace

std::unique_ptr<OrderService> make_remote_order(std::shared_ptr<RemoteService> service,
                                                std::chrono::milliseconds deadline) {
  return std::make_unique<RemoteOrder>(Remote("order", std::move(service), deadline));
}
std::unique_ptr<InventoryService> make_remote_inventory(std::shared_ptr<RemoteService> service,
                                                        std::chrono::milliseconds deadline) {
  return std::make_unique<RemoteInventory>(Remote("inventory", std::move(service), deadline));
}
std::unique_ptr<PaymentService> make_remote_payment(std::shared_ptr<RemoteService> service,
                                                    std::chrono::milliseconds deadline) {
  return std::make_unique<RemotePayment>(Remote("payment", std::move(service), deadline));
}
std::unique_ptr<ShippingService> make_remote_shipping(std::shared_ptr<RemoteService> service,
                                                      std::chrono::milliseconds deadline) {
  return std::make_unique<RemoteShipping>(Remote("shipping", std::move(service), deadline));
}
std::unique_ptr<CardSettler> make_remote_settler(std::shared_ptr<RemoteService> service,
                                                 std::chrono::milliseconds deadline,
                                                 Metrics* metrics) {
  return std::make_unique<RemoteSettler>(Remote("payment", std::move(service), deadline), metrics);
}

}  // namespace txcoord::remote
