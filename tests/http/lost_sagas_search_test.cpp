// Looking for sagas that the log has lost, in participants and services in memory.
#include "txcoord/engine/lost_sagas.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>

#include "tests/http/fakes.hpp"
#include "tests/unit/fake_lost_saga_log.hpp"
#include "tests/unit/fake_participant.hpp"
#include "txcoord/log/saga_payload.hpp"

using namespace txcoord;
using namespace txcoord::engine;
using namespace txcoord::testing;

namespace {

std::string id_of(int number) {
  std::string digits = std::to_string(number);
  digits.insert(0, 12 - digits.size(), '0');
  return "0190a000-0000-7000-8000-" + digits;
}
// Of the saga with this number.
std::string order_of(int number) { return id_of(5000 + number); }

struct Rig {
  Rig() {
    settings.engine.trim = true;
    for (FakeParticipant* participant : {&order, &inventory, &payment, &shipping})
      participant->fence_rows["c1"] = identity.fence_owner();
  }
  ~Rig() {
    lost.stop();
    context.restart();
    context.run_for(std::chrono::milliseconds(20));
  }

  void run() { asio::co_spawn(context, lost.run(), asio::detached); }
  bool run_until(const std::function<bool()>& holds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!holds()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      context.restart();
      context.run_for(std::chrono::milliseconds(1));
    }
    return true;
  }
  template <class T>
  static asio::awaitable<void> store(asio::awaitable<T> work, std::optional<T>& into) {
    into = co_await std::move(work);
  }
  template <class T>
  T await(asio::awaitable<T> work) {
    std::optional<T> result;
    asio::co_spawn(context, store(std::move(work), result), asio::detached);
    REQUIRE(run_until([&] { return result.has_value(); }));
    return *result;
  }
  LostResolution resolve(int number, LostAction action, const std::string& key) {
    return await(lost.resolve(id_of(number), action, key));
  }

  void barrier(FakeParticipant& at, int number, const std::string& step,
               const std::string& outcome = "done", double age = 1) {
    SagaBarriers& saga = at.listed[id_of(number)];
    saga.saga_id = id_of(number);
    saga.order_id = order_of(number);
    saga.age_seconds = age;
    saga.steps[step] = outcome;
  }
  OrderView& order_row(int number, const std::string& status) {
    OrderView& row = world.orders[order_of(number)];
    row.order_id = order_of(number);
    row.customer_id = "customer-001";
    row.status = status;
    row.mode = "saga";
    row.transaction_id = id_of(number);
    row.total_amount = 3500;
    row.items = {{"book-123", 1, 3500, {}}};
    return row;
  }
  // Killed after its payment.
  void charged(int number, const std::string& status = "PENDING") {
    barrier(order, number, "create");
    barrier(inventory, number, "reserve");
    barrier(payment, number, "charge");
    order_row(number, status);
    world.reservations[id_of(6000 + number)] = {
        id_of(6000 + number), order_of(number), "book-123", "RESERVED", 1, {}, {}};
    PaymentView& paid = world.payments[id_of(7000 + number)];
    paid.payment_id = id_of(7000 + number);
    paid.order_id = order_of(number);
    paid.customer_id = "customer-001";
    paid.payment_method = "wallet";
    paid.status = "CAPTURED";
    paid.amount = 3500;
  }
  void ended(int number, double age) {
    for (const char* step : {"create", "confirm"}) barrier(order, number, step, "done", age);
    barrier(inventory, number, "reserve", "done", age);
    barrier(payment, number, "charge", "done", age);
    barrier(shipping, number, "arrange", "done", age);
  }
  const LostSaga& row(int number) { return log.rows.at(id_of(number)); }

  Settings settings;
  asio::io_context context{1};
  Script script{context.get_executor()};
  FakeParticipant order{"order", script}, inventory{"inventory", script},
      payment{"payment", script}, shipping{"shipping", script};
  FakeWorld world;
  FakeOrders orders{world};
  FakeInventory stock{world};
  FakePayments payments{world};
  FakeShipping shipments{world};
  FakeLostSagaLog log;
  Metrics metrics;
  RecoveryIdentity identity{"0a1b2c3d", "c1", 7};
  LostSagas lost{context.get_executor(),
                 settings,
                 {&order, &inventory, &payment, &shipping},
                 {orders, stock, payments, shipments},
                 log,
                 metrics,
                 [this] { return identity; }};
};

}  // namespace

TEST_CASE("after every start: what was done for a saga that the log does not know is shown",
          "[lost]") {
  Rig rig;
  rig.charged(1);
  rig.charged(2);
  rig.log.sagas.insert(id_of(2));  // at work
  rig.run();
  REQUIRE(rig.run_until([&] { return rig.lost.known() == 1; }));
  const LostSaga& saga = rig.row(1);
  CHECK(saga.order_id == order_of(1));
  CHECK(saga.type == "place_order");
  CHECK(at_risk(saga) == "3500 taken from customer-001 (CAPTURED); 1 book-123 held");
  CHECK(saga.may_compensate);
  CHECK_FALSE(saga.may_complete);
  CHECK_FALSE(rig.log.rows.contains(id_of(2)));
}

TEST_CASE("a pending order whose barriers say nothing is lost too", "[lost]") {
  Rig rig;
  rig.order_row(1, "PENDING").mode = "2pc";
  rig.order_row(2, "PENDING");
  rig.log.sagas.insert(id_of(2));
  rig.run();
  REQUIRE(rig.run_until([&] { return rig.lost.known() == 1; }));
  CHECK(rig.row(1).type == "place_order_2pc");
}

TEST_CASE("barriers of an older version, without an order, find it by the pending row", "[lost]") {
  Rig rig;
  rig.charged(1);
  rig.charged(2, "FAILED");
  for (FakeParticipant* at : {&rig.order, &rig.inventory, &rig.payment})
    for (auto& [id, saga] : at->listed) saga.order_id.clear();
  rig.run();
  REQUIRE(rig.run_until([&] { return rig.lost.known() == 2; }));
  CHECK(rig.row(1).order_id == order_of(1));
  CHECK(rig.row(2).order_id.empty());
  CHECK(rig.resolve(2, LostAction::compensate, "k").outcome == LostResolve::impossible);
}

TEST_CASE("what ended needs nobody, and its barriers go when they are old", "[lost]") {
  Rig rig;
  rig.settings.saga.barriers_keep_s = 600;
  rig.ended(1, 601);
  rig.ended(2, 599);
  rig.ended(3, 601);
  rig.log.sagas.insert(id_of(3));
  rig.run();
  REQUIRE(rig.run_until([&] { return !rig.shipping.steps_trimmed.empty(); }));
  CHECK(rig.shipping.steps_trimmed == std::vector<std::string>{id_of(1)});
  CHECK(rig.order.steps_trimmed == std::vector<std::string>{id_of(1)});
  CHECK(rig.log.rows.empty());
}

TEST_CASE("more sagas than fit on a page are all looked at, each with all of its barriers",
          "[lost]") {
  Rig rig;
  for (int number = 1; number <= 1200; ++number) rig.ended(number, 1);
  for (const int number : {1, 500, 501, 1200}) {
    rig.order.listed.erase(id_of(number));
    rig.shipping.listed.erase(id_of(number));
    rig.charged(number);
  }
  rig.run();
  REQUIRE(rig.run_until([&] { return rig.lost.known() == 4; }));
  CHECK(rig.log.rows.size() == 4);
}

TEST_CASE("a participant that is away is waited for, and nothing is concluded without it",
          "[lost]") {
  Rig rig;
  rig.charged(1);
  rig.shipping.away = true;
  rig.run();
  REQUIRE(rig.run_until([&] { return rig.shipping.times_listed == 2; }));
  CHECK(rig.log.rows.empty());
  rig.shipping.away = false;
  rig.lost.search();
  REQUIRE(rig.run_until([&] { return rig.lost.known() == 1; }));
}

TEST_CASE("where another installation works on a database nothing is looked for", "[lost]") {
  Rig rig;
  rig.charged(1);
  rig.payment.shared = true;
  rig.run();
  REQUIRE(rig.run_until([&] { return rig.shipping.times_listed == 1; }));
  CHECK(rig.log.rows.empty());
  rig.payment.shared = false;
  rig.lost.search();
  REQUIRE(rig.run_until([&] { return rig.lost.known() == 1; }));
}

TEST_CASE("what is shown goes by itself when nothing is at risk any more", "[lost]") {
  Rig rig;
  rig.charged(1);
  rig.run();
  REQUIRE(rig.run_until([&] { return rig.lost.known() == 1; }));
  rig.world.orders.at(order_of(1)).status = "FAILED";
  rig.world.payments.begin()->second.status = "REFUNDED";
  rig.world.reservations.begin()->second.status = "RELEASED";
  REQUIRE(rig.run_until([&] { return rig.lost.known() == 0; }));
  CHECK(rig.row(1).resolution == "by_itself");
}

TEST_CASE("a lost saga is compensated once, by whichever key asks first", "[lost]") {
  Rig rig;
  rig.charged(1);
  rig.run();
  REQUIRE(rig.run_until([&] { return rig.lost.known() == 1; }));
  CHECK(rig.resolve(9, LostAction::compensate, "k").outcome == LostResolve::not_found);
  CHECK(rig.resolve(1, LostAction::complete, "k").outcome == LostResolve::impossible);
  CHECK(rig.resolve(1, LostAction::compensate, "k").outcome == LostResolve::begun);
  CHECK(rig.resolve(1, LostAction::compensate, "k").outcome == LostResolve::replayed);
  CHECK(rig.resolve(1, LostAction::complete, "k").outcome == LostResolve::key_reused);
  CHECK(rig.resolve(1, LostAction::complete, "k2").outcome == LostResolve::impossible);
  REQUIRE(rig.log.rewritten.size() == 1);
  const SagaRewrite& again = rig.log.rewritten.front();
  CHECK(again.status == "COMPENSATION_STARTED");
  CHECK(again.current_step == "shipping.arrange");
  CHECK(again.reason == "SAGA_LOST");
  const Operation operation = from_payload(again.payload);
  CHECK(operation.order_id == order_of(1));
  CHECK(operation.place.payment_id == id_of(7001));
  CHECK(operation.place.items.at(0).reservation_id == id_of(6001));
  REQUIRE(rig.run_until([&] { return rig.lost.known() == 0; }));
}

TEST_CASE("an order that failed for a reason keeps it", "[lost]") {
  Rig rig;
  rig.charged(1, "FAILED");
  rig.world.orders.at(order_of(1)).reason = "RESERVATION_EXPIRED";
  rig.run();
  REQUIRE(rig.run_until([&] { return rig.lost.known() == 1; }));
  CHECK(rig.resolve(1, LostAction::compensate, "k").outcome == LostResolve::begun);
  CHECK(rig.log.rewritten.front().reason == "RESERVATION_EXPIRED");
}

TEST_CASE("no expiry may free the stock of an order that is lost and paid, or may be", "[lost]") {
  Rig rig;
  rig.charged(1);
  rig.charged(2);
  rig.charged(3);
  rig.world.payments.at(id_of(7002)).status = "REFUNDED";
  rig.log.saga_orders.insert(order_of(3));
  const std::vector<std::string> asked{order_of(1), order_of(2), order_of(3)};
  CHECK(rig.await(rig.lost.paid_and_lost(asked)).value() == std::vector<std::string>{order_of(1)});
  rig.world.away.insert("payment");
  CHECK(rig.await(rig.lost.paid_and_lost(asked)).value() ==
        std::vector<std::string>{order_of(1), order_of(2)});
  rig.log.away = true;
  CHECK_FALSE(rig.await(rig.lost.paid_and_lost(asked)).ok());
}
