// A test double of the engine: confirms everything at once and applies it to the world of
// fakes.hpp, unless a test scripts something else. I/O thread only.
#pragma once

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/http/fakes.hpp"
#include "txcoord/engine/engine.hpp"
#include "txcoord/engine/lost_sagas.hpp"
#include "txcoord/log/saga_payload.hpp"

namespace txcoord::testing {

inline constexpr const char* test_saga_id = "01890000-0000-7000-8000-0000000000aa";

class FakeEngine final : public engine::Engine {
 public:
  explicit FakeEngine(FakeWorld& world) : w_(world) {}

  std::deque<engine::SubmitResult> scripted;  // the next answers; they change nothing
  bool apply = true;                          // false: decided, but no service shows it yet
  bool hold = false;                          // true: submit waits until let_go()
  bool throws = false;
  bool is_ready = true, is_draining = false;
  engine::DegradedModes modes;
  bool log_away = false;  // the modes cannot be set
  std::vector<std::shared_ptr<const Operation>> submitted;
  std::vector<engine::SubmitOptions> options_seen;
  std::map<std::string, engine::PendingOrder> pending_orders;
  std::vector<engine::ActiveTransaction> active_transactions;
  std::map<std::string, engine::ParticipantHealth> health_map;

  // Before the I/O context goes.
  void drop_gate() { gate_.reset(); }
  void let_go() {
    hold = false;
    if (gate_) gate_->cancel();
  }

  asio::awaitable<engine::SubmitResult> submit(std::shared_ptr<const Operation> operation,
                                               engine::SubmitOptions options) override {
    submitted.push_back(operation);
    options_seen.push_back(options);
    if (throws) throw std::runtime_error("as told");
    const std::string key = operation->scope + "|" + operation->idempotency_key;
    if (keys_.contains(key))
      co_return engine::SubmitResult{.status = engine::SubmitStatus::in_flight};
    if (const auto known = w_.outcomes.find(key); known != w_.outcomes.end()) {
      engine::SubmitResult replay;
      const bool same = known->second.fingerprint == operation->fingerprint;
      replay.status = same ? engine::SubmitStatus::replayed : engine::SubmitStatus::key_reused;
      if (same) replay.stored = known->second;
      co_return replay;
    }
    if (options.accept_now) {
      auto starting = w_.saga_log.start(
          {"c1", 1}, {{w_.saga_log.rows.empty() ? test_saga_id : unknown_uuid, "place_order",
                       "order.create", to_payload(*operation), operation, true}});
      const auto replies = co_await std::move(starting);
      if (!replies) co_return engine::SubmitResult{.status = engine::SubmitStatus::unavailable};
      engine::SubmitResult accepted{.status = engine::SubmitStatus::accepted};
      accepted.transaction_id = test_saga_id;
      accepted.stored = replies.value().front().stored;
      co_return accepted;
    }
    if (hold) {
      keys_.insert(key);
      engine::PendingOrder pending;
      pending.kind = operation->kind;
      pending.operation = operation;
      pending_orders[operation->order_id] = pending;
      gate_ = std::make_unique<asio::steady_timer>(co_await asio::this_coro::executor,
                                                   asio::steady_timer::time_point::max());
      boost::system::error_code ignored;
      co_await gate_->async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      pending_orders.erase(operation->order_id);
      keys_.erase(key);
    }
    co_return finish(*operation, key, operation);
  }

  std::optional<engine::PendingOrder> pending(const std::string& order_id) const override {
    return find_in(pending_orders, order_id);
  }
  std::vector<engine::ActiveTransaction> active() const override { return active_transactions; }
  std::map<std::string, engine::ParticipantHealth> health() const override { return health_map; }
  bool ready() const override { return is_ready; }
  bool draining() const override { return is_draining; }
  engine::DegradedModes degraded() const override { return modes; }
  asio::awaitable<Result<Done>> set_degraded(std::string participant, bool on) override {
    if (log_away) co_return Failure{FailureKind::unavailable, true, "", "away"};
    modes.set(participant, on);
    co_return Done{};
  }

  // As COMMIT PREPARED would, in every service.
  void apply_now(const Operation& operation);

 private:
  engine::SubmitResult finish(const Operation& operation, const std::string& key,
                              std::shared_ptr<const Operation> shared) {
    engine::SubmitResult result;
    if (!scripted.empty()) {
      result = scripted.front();
      scripted.pop_front();
      const bool recorded = result.status == engine::SubmitStatus::refused ||
                            result.status == engine::SubmitStatus::invalid;
      if (recorded) {
        w_.outcomes[key] = {.fingerprint = operation.fingerprint,
                            .kind = operation.kind,
                            .order_id = operation.order_id,
                            .reason = result.reason,
                            .detail = result.detail};
      }
      return result;
    }
    result.status = engine::SubmitStatus::confirmed;
    result.transaction_id = test_gid;
    result.applied = apply;
    w_.outcomes[key] = {.fingerprint = operation.fingerprint,
                        .kind = operation.kind,
                        .confirmed = true,
                        .order_id = operation.order_id,
                        .gid = test_gid,
                        .answer = operation.answer};
    if (apply) {
      apply_now(operation);
    } else {
      engine::PendingOrder pending;
      pending.decided = true;
      pending.kind = operation.kind;
      pending.operation = std::move(shared);
      pending.transaction_id = test_gid;
      pending.waiting_for = {"order", "inventory", "payment", "shipping"};
      pending_orders[operation.order_id] = pending;
      engine::ActiveTransaction active;
      active.gid = test_gid;
      active.state = "committing";
      active.operations = 1;
      active.order_ids = {operation.order_id};
      active.participants = active.waiting_for = pending.waiting_for;
      active.started_at = operation.created_at;
      active_transactions = {active};
    }
    return result;
  }

  FakeWorld& w_;
  std::set<std::string> keys_;
  std::unique_ptr<asio::steady_timer> gate_;
};

inline void FakeEngine::apply_now(const Operation& operation) {
  const UtcTime at = operation.created_at;
  const std::string& id = operation.order_id;
  const auto event = [&](const char* type) {
    return EventView{type, operation.correlation_id, at};
  };
  if (operation.kind == OperationKind::place) {
    const PlaceOrder& place = operation.place;
    w_.orders[id] = {id,       place.customer_id,        "CONFIRMED",        "2pc",       "",
                     test_gid, operation.correlation_id, place.total_amount, place.items, at,
                     at};
    for (const OrderItem& item : place.items) {
      w_.reservations[item.reservation_id] = {item.reservation_id, id, item.sku, "RESERVED",
                                              item.quantity,       at, {}};
    }
    const char* paid = place.payment_method == PaymentMethod::card ? "AUTHORIZED" : "CAPTURED";
    w_.payments[place.payment_id] = {place.payment_id,
                                     id,
                                     place.customer_id,
                                     std::string(to_string(place.payment_method)),
                                     paid,
                                     "",
                                     place.total_amount,
                                     at,
                                     at};
    w_.shipments[place.shipment_id] = {place.shipment_id, id, "TRK-1", "yamato", "ARRANGED",
                                       place.address,     at, at};
    w_.order_events[id].push_back(event("OrderConfirmed"));
    w_.stock_events[id].push_back(event("StockReserved"));
    w_.payment_events[id].push_back(event("PaymentCaptured"));
    w_.shipping_events[id].push_back(event("ShippingArranged"));
    return;
  }
  const bool cancel = operation.kind == OperationKind::cancel;
  const char* status = cancel                                  ? "CANCELLED"
                       : operation.kind == OperationKind::ship ? "SHIPPED"
                                                               : "DELIVERED";
  w_.orders[id].status = status;
  w_.order_events[id].push_back(event(cancel ? "OrderCancelled" : "OrderShipped"));
  for (auto& [key, row] : w_.shipments) {
    if (row.order_id == id) row.status = status;
  }
  for (auto& [key, row] : w_.reservations) {
    if (row.order_id == id) row.status = cancel ? "RELEASED" : "SHIPPED";
  }
  for (auto& [key, row] : w_.payments) {
    if (row.order_id == id && cancel) row.status = "REFUNDED";
  }
}

// Answers what it is told to.
class FakeLostSagaDesk final : public engine::LostSagaDesk {
 public:
  std::size_t lost = 0, searches = 0;
  engine::LostResolution answer{.outcome = engine::LostResolve::not_found};
  std::vector<std::string> asked;  // "saga action key"

  std::size_t known() const override { return lost; }
  void search() override { ++searches; }
  asio::awaitable<engine::LostResolution> resolve(std::string saga_id, engine::LostAction action,
                                                  std::string key) override {
    asked.push_back(saga_id + ' ' + std::string(engine::to_string(action)) + ' ' + key);
    co_return answer;
  }
};

}  // namespace txcoord::testing
