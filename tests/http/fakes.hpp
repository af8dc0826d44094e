// Test doubles of what the REST layer reads: four services and a log, in memory. They behave like
// the real ones where the layer can tell; a test breaks them by name. I/O thread only.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "participants/services.hpp"
#include "tests/unit/fake_lost_saga_log.hpp"
#include "tests/unit/fake_saga_log.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/log/transaction_log.hpp"

namespace txcoord::testing {

namespace asio = boost::asio;

inline constexpr const char* test_gid = "txc_0a1b2c3d_c1_1_00ff00ff_7";
inline constexpr const char* unknown_uuid = "01890000-0000-7000-8000-000000000000";

inline Failure away(std::string_view who) {
  return {.kind = FailureKind::unavailable,
          .outcome_unknown = false,
          .sqlstate = "08006",
          .message = std::string(who)};
}

// Rows of all four services and the switches that break them.
struct FakeWorld {
  std::map<std::string, OrderView> orders;
  std::map<std::string, StockView> stock;
  std::map<std::string, WalletView> wallets;
  std::map<std::string, ReservationView> reservations;
  std::map<std::string, PaymentView> payments;
  std::map<std::string, ShipmentView> shipments;
  std::map<std::string, std::vector<EventView>> order_events, stock_events, payment_events,
      shipping_events;
  std::map<std::string, RestockReply> restocks;  // by scope and key
  std::map<std::string, std::array<std::uint8_t, 32>> restock_fingerprints;
  std::set<std::string> away;    // services that fail
  std::set<std::string> silent;  // services that never answer
  std::vector<StoredOutcome> unapplied;
  std::vector<Decision> decisions;
  std::vector<HeuristicOutcome> heuristics;
  std::map<std::string, StoredOutcome> outcomes;  // by scope and key
  FakeSagaLog saga_log;
  FakeLostSagaLog lost_log;
};

// Fails, or never answers, or runs `read`.
template <class F>
asio::awaitable<Result<std::invoke_result_t<F>>> served(FakeWorld& world, std::string who, F read) {
  if (world.away.contains(who)) co_return away(who);
  if (world.silent.contains(who)) {
    asio::steady_timer never(co_await asio::this_coro::executor,
                             asio::steady_timer::time_point::max());
    co_await never.async_wait(asio::use_awaitable);
  }
  co_return read();
}

template <class Map>
auto find_in(const Map& map, const std::string& id) -> std::optional<typename Map::mapped_type> {
  const auto found = map.find(id);
  if (found == map.end()) return std::nullopt;
  return found->second;
}

template <class Map>
auto of_order(const Map& map, const std::string& order_id) {
  std::vector<typename Map::mapped_type> rows;
  for (const auto& [id, row] : map) {
    if (row.order_id == order_id) rows.push_back(row);
  }
  return rows;
}

class FakeOrders final : public OrderService {
 public:
  explicit FakeOrders(FakeWorld& world) : w_(world) {}
  asio::awaitable<Result<std::optional<OrderView>>> order(std::string id) override {
    return served(w_, "order", [this, id] { return find_in(w_.orders, id); });
  }
  asio::awaitable<Result<std::vector<OrderView>>> orders(OrderFilter filter,
                                                         PageRequest page) override {
    return served(w_, "order", [this, filter, page] {
      std::vector<OrderView> rows;
      for (auto it = w_.orders.rbegin(); it != w_.orders.rend() && rows.size() < page.limit; ++it) {
        const OrderView& row = it->second;
        if (!page.after.empty() && row.order_id >= page.after) continue;
        if (!filter.customer_id.empty() && row.customer_id != filter.customer_id) continue;
        if (!filter.status.empty() && row.status != filter.status) continue;
        rows.push_back(row);
      }
      return rows;
    });
  }
  asio::awaitable<Result<std::vector<EventView>>> order_events(std::string id) override {
    return served(w_, "order", [this, id] { return w_.order_events[id]; });
  }
  asio::awaitable<Result<std::vector<std::string>>> orders_by_correlation(std::string id) override {
    return served(w_, "order", [this, id] {
      std::vector<std::string> found;
      for (const auto& [order_id, row] : w_.orders)
        if (row.correlation_id == id) found.push_back(order_id);
      return found;
    });
  }
  asio::awaitable<Result<std::vector<OrderFate>>> fail_pending(std::vector<std::string>,
                                                               std::string) override {
    throw std::logic_error("not for the REST layer");
  }

 private:
  FakeWorld& w_;
};

class FakeInventory final : public InventoryService {
 public:
  explicit FakeInventory(FakeWorld& world) : w_(world) {}
  asio::awaitable<Result<std::optional<StockView>>> stock(std::string sku) override {
    return served(w_, "inventory", [this, sku] { return find_in(w_.stock, sku); });
  }
  asio::awaitable<Result<std::vector<StockView>>> stocks(PageRequest page) override {
    return served(w_, "inventory", [this, page] {
      std::vector<StockView> rows;
      for (const auto& [sku, row] : w_.stock) {
        if (sku > page.after && rows.size() < page.limit) rows.push_back(row);
      }
      return rows;
    });
  }
  asio::awaitable<Result<StockPut>> put_stock(std::string sku, StockChange change) override {
    const bool missing = !w_.stock.contains(sku);
    if (missing && !change.available && !w_.away.contains("inventory"))
      co_return Failure{FailureKind::poison, false, missing_product_sqlstate, "missing"};
    auto putting = served(w_, "inventory", [this, sku, change, missing] {
      StockView& row = w_.stock[sku];
      if (missing) row.title = sku;
      row.sku = sku;
      if (change.title) row.title = *change.title;
      if (change.category) row.category = *change.category;
      if (change.unit_price) row.unit_price = *change.unit_price;
      if (change.available) row.available = *change.available;
      if (change.low_stock_threshold) row.low_stock_threshold = *change.low_stock_threshold;
      return StockPut{row, missing};
    });
    co_return co_await std::move(putting);
  }
  asio::awaitable<Result<RestockReply>> restock(std::string sku, std::int64_t quantity,
                                                RequestKey key) override {
    return served(w_, "inventory", [this, sku, quantity, key] {
      const std::string id = key.scope + "|" + key.key;
      RestockReply reply;
      if (const auto before = w_.restocks.find(id); before != w_.restocks.end()) {
        reply = before->second;
        reply.status = w_.restock_fingerprints[id] == key.fingerprint ? KeyedStatus::replayed
                                                                      : KeyedStatus::key_reused;
        return reply;
      }
      const auto row = w_.stock.find(sku);
      if (row == w_.stock.end()) {
        reply.status = KeyedStatus::not_found;
        return reply;
      }
      row->second.available += quantity;
      reply.stock = row->second;
      w_.restocks[id] = reply;
      w_.restock_fingerprints[id] = key.fingerprint;
      return reply;
    });
  }
  asio::awaitable<Result<std::optional<ReservationView>>> reservation(std::string id) override {
    return served(w_, "inventory", [this, id] { return find_in(w_.reservations, id); });
  }
  asio::awaitable<Result<std::vector<ReservationView>>> reservations(std::string id) override {
    return served(w_, "inventory", [this, id] { return of_order(w_.reservations, id); });
  }
  asio::awaitable<Result<std::vector<EventView>>> stock_events(std::string id) override {
    return served(w_, "inventory", [this, id] { return w_.stock_events[id]; });
  }
  asio::awaitable<Result<std::vector<std::string>>> expired_reservations(std::size_t) override {
    throw std::logic_error("not for the REST layer");
  }
  asio::awaitable<Result<std::size_t>> expire(std::vector<std::string>) override {
    throw std::logic_error("not for the REST layer");
  }
  asio::awaitable<Result<Done>> keep_reservations(std::vector<std::string>) override {
    throw std::logic_error("not for the REST layer");
  }

 private:
  FakeWorld& w_;
};

class FakePayments final : public PaymentService {
 public:
  explicit FakePayments(FakeWorld& world) : w_(world) {}
  asio::awaitable<Result<std::optional<WalletView>>> wallet(std::string id) override {
    return served(w_, "payment", [this, id] { return find_in(w_.wallets, id); });
  }
  asio::awaitable<Result<WalletPut>> put_wallet(std::string id, Money balance) override {
    return served(w_, "payment", [this, id, balance] {
      const bool missing = !w_.wallets.contains(id);
      w_.wallets[id] = WalletView{id, balance};
      return WalletPut{w_.wallets[id], missing};
    });
  }
  asio::awaitable<Result<std::optional<PaymentView>>> payment(std::string id) override {
    return served(w_, "payment", [this, id] { return find_in(w_.payments, id); });
  }
  asio::awaitable<Result<std::vector<PaymentView>>> payments_of_order(std::string id) override {
    return served(w_, "payment", [this, id] { return of_order(w_.payments, id); });
  }
  asio::awaitable<Result<std::vector<PaymentView>>> payments_of_customer(
      std::string id, PageRequest page) override {
    return served(w_, "payment", [this, id, page] {
      std::vector<PaymentView> rows;
      for (auto it = w_.payments.rbegin(); it != w_.payments.rend() && rows.size() < page.limit;
           ++it) {
        const bool after = page.after.empty() || it->first < page.after;
        if (after && it->second.customer_id == id) rows.push_back(it->second);
      }
      return rows;
    });
  }
  asio::awaitable<Result<std::vector<EventView>>> payment_events(std::string id) override {
    return served(w_, "payment", [this, id] { return w_.payment_events[id]; });
  }

 private:
  FakeWorld& w_;
};

class FakeShipping final : public ShippingService {
 public:
  explicit FakeShipping(FakeWorld& world) : w_(world) {}
  asio::awaitable<Result<std::optional<ShipmentView>>> shipment(std::string id) override {
    return served(w_, "shipping", [this, id] { return find_in(w_.shipments, id); });
  }
  asio::awaitable<Result<std::vector<ShipmentView>>> shipments(std::string id) override {
    return served(w_, "shipping", [this, id] { return of_order(w_.shipments, id); });
  }
  asio::awaitable<Result<std::vector<EventView>>> shipping_events(std::string id) override {
    return served(w_, "shipping", [this, id] { return w_.shipping_events[id]; });
  }

 private:
  FakeWorld& w_;
};

// Only what the REST layer reads; the rest of the port must not be called from there.
class FakeLog final : public TransactionLog {
 public:
  explicit FakeLog(FakeWorld& world) : w_(world) {}

  asio::awaitable<Result<std::vector<Decision>>> decisions(
      std::vector<protocol::Gid> gids) override {
    return served(w_, "log", [this, gids] {
      std::vector<Decision> found;
      for (const Decision& decision : w_.decisions) {
        if (decision.gid == gids.front()) found.push_back(decision);
      }
      return found;
    });
  }
  asio::awaitable<Result<std::optional<StoredOutcome>>> find_outcome(std::string scope,
                                                                     std::string key) override {
    return served(w_, "log",
                  [this, scope, key] { return find_in(w_.outcomes, scope + "|" + key); });
  }
  asio::awaitable<Result<std::vector<protocol::Gid>>> unapplied(std::string order_id) override {
    return served(w_, "log", [this, order_id] {
      std::vector<protocol::Gid> gids;
      for (const StoredOutcome& outcome : w_.unapplied) {
        if (outcome.order_id == order_id) gids.push_back(*protocol::parse_gid(outcome.gid));
      }
      return gids;
    });
  }
  asio::awaitable<Result<std::vector<StoredOutcome>>> unapplied_outcomes(
      std::string order_id) override {
    return served(w_, "log", [this, order_id] {
      std::vector<StoredOutcome> outcomes;
      for (const StoredOutcome& outcome : w_.unapplied) {
        if (outcome.order_id == order_id) outcomes.push_back(outcome);
      }
      return outcomes;
    });
  }
  asio::awaitable<Result<std::vector<Decision>>> list_decisions(std::string state,
                                                                std::size_t limit) override {
    return served(w_, "log", [this, state, limit] {
      std::vector<Decision> found;
      for (const Decision& decision : w_.decisions) {
        const bool completed = decision.complete && decision.outcome == DecisionOutcome::commit;
        if ((state.empty() || (state == "completed") == completed) && found.size() < limit)
          found.push_back(decision);
      }
      return found;
    });
  }

  asio::awaitable<Result<std::vector<HeuristicOutcome>>> heuristic_outcomes(
      std::vector<protocol::Gid> gids) override {
    return served(w_, "log", [this, gids] {
      std::vector<HeuristicOutcome> found;
      for (const HeuristicOutcome& outcome : w_.heuristics)
        if (std::ranges::find(gids, outcome.gid) != gids.end()) found.push_back(outcome);
      return found;
    });
  }
  asio::awaitable<Result<Done>> resolve_heuristic(protocol::Gid gid,
                                                  std::vector<std::string> participants,
                                                  std::string note) override {
    return served(w_, "log", [this, gid, participants, note] {
      for (HeuristicOutcome& outcome : w_.heuristics) {
        const bool named =
            std::ranges::find(participants, outcome.participant) != participants.end();
        if (outcome.gid != gid || !named || outcome.resolved_at) continue;
        outcome.resolved_at = now_utc();
        outcome.by_person = true;
        outcome.note = note;
      }
      return Done{};
    });
  }
  asio::awaitable<Result<std::map<std::string, std::size_t>>> open_heuristics() override {
    unexpected();
  }

  asio::awaitable<Result<ClaimReply>> claim(protocol::Gid, Operations) override { unexpected(); }
  asio::awaitable<Result<Done>> decide(protocol::Gid, DecisionRecord) override { unexpected(); }
  asio::awaitable<void> release(protocol::Gid) override { unexpected(); }
  asio::awaitable<Result<DecisionOutcome>> settle(LogOwner, protocol::Gid) override {
    unexpected();
  }
  asio::awaitable<Result<std::vector<Decision>>> incomplete_decisions(std::size_t) override {
    unexpected();
  }
  asio::awaitable<Result<std::vector<protocol::Gid>>> complete(
      LogOwner, std::vector<protocol::Gid>) override {
    unexpected();
  }
  asio::awaitable<Result<std::vector<Decision>>> complete_before(std::chrono::seconds,
                                                                 std::vector<std::string>,
                                                                 std::size_t) override {
    unexpected();
  }
  asio::awaitable<Result<Done>> forget(std::vector<protocol::Gid>) override { unexpected(); }
  asio::awaitable<Result<Done>> record_heuristic(LogOwner, protocol::Gid, std::string,
                                                 std::string) override {
    unexpected();
  }
  asio::awaitable<Result<DecisionOutcome>> write_decision_again(LogOwner, protocol::Gid,
                                                                std::vector<std::string>,
                                                                std::vector<std::string>) override {
    unexpected();
  }
  asio::awaitable<Result<std::string>> installation() override { unexpected(); }
  asio::awaitable<Result<std::uint64_t>> raise_epoch(std::string, std::uint64_t) override {
    unexpected();
  }
  asio::awaitable<Result<LeaseRound>> renew_lease(std::string) override { unexpected(); }
  asio::awaitable<Result<Done>> end_lease(std::string) override { unexpected(); }
  asio::awaitable<Result<Coordinators>> coordinators() override { unexpected(); }
  asio::awaitable<Result<std::vector<std::string>>> take_over(std::vector<LeaseClaim>) override {
    unexpected();
  }
  asio::awaitable<Result<LogIdentity>> identity() override { unexpected(); }
  asio::awaitable<Result<DegradedModes>> degraded_modes() override { unexpected(); }
  asio::awaitable<Result<Done>> set_degraded_mode(std::string, std::string) override {
    unexpected();
  }
  asio::awaitable<Result<std::uint64_t>> trim(std::chrono::seconds, std::chrono::seconds,
                                              std::chrono::seconds) override {
    unexpected();
  }

 private:
  [[noreturn]] static void unexpected() { throw std::logic_error("not for the REST layer"); }
  FakeWorld& w_;
};

}  // namespace txcoord::testing
