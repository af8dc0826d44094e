// Reservations that free themselves, on real servers: the order's row decides between an expired
// reservation and the saga's own confirmation, whoever comes first.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "participants/order/order.hpp"
#include "tests/pg/saga_steps_inventory_rig.hpp"
#include "tests/pg/shapes.hpp"

namespace txcoord {
namespace {

using test::await;
using test::TestSaga;

struct Rig : test::InventoryStepRig {
  test::ServiceDatabase order_database{"order"};
  OrderParts orders =
      test::in_shape(io, make_order(io.get_executor(), test::settings_of(order_database), nullptr));
  test::StepDriver order_steps{io, *orders.participant};

  Rig() : InventoryStepRig(10) {}

  // Order created, stock reserved until `until` from now.
  TestSaga reserved(std::chrono::seconds until, std::int64_t quantity = 1) {
    TestSaga made = saga(quantity);
    auto operation = std::make_shared<Operation>(*made.operation);
    operation->reserve_until = now_utc() + until;
    made.operation = std::move(operation);
    order_steps.run_one("create", made.call(OperationKind::create));
    REQUIRE(reserve(made).status == StepStatus::done);
    return made;
  }
  StepReply confirm(const TestSaga& saga) {
    return order_steps.run_one("confirm", saga.call(OperationKind::confirm));
  }
  std::vector<std::string> expired(std::size_t limit = 100) {
    return await(io, service.expired_reservations(limit)).value();
  }
  std::string fail(const std::string& order_id) {
    return await(io, orders.service->fail_pending({order_id}, "RESERVATION_EXPIRED"))
        .value()
        .at(0)
        .status;
  }
  std::size_t expire(const std::vector<std::string>& order_ids) {
    return await(io, service.expire(order_ids)).value();
  }
};

TEST_CASE("expiry: a saga's reservations carry their end, a group's have none", "[expiry]") {
  Rig rig;
  const TestSaga saga = rig.reserved(std::chrono::seconds(300));
  rig.branch.committed({test::place_order({{"a", 1, 100, ""}})});
  const auto views = await(rig.io, rig.service.reservations(saga.operation->order_id)).value();
  REQUIRE(views.size() == 1);
  CHECK(views[0].expires_at == saga.operation->reserve_until);
  CHECK(rig.expired().empty());
  CHECK(rig.database.value("SELECT count(*) FROM reservations WHERE expires_at IS NULL") == "1");
}

TEST_CASE("expiry: an order that did not end in time frees its stock, and its saga compensates",
          "[expiry][I6][I8]") {
  Rig rig;
  const TestSaga late = rig.reserved(std::chrono::seconds(-2), 3);
  const TestSaga other = rig.reserved(std::chrono::seconds(300), 2);
  const std::string order_id = late.operation->order_id;
  CHECK(rig.expired() == std::vector{order_id});
  CHECK(rig.fail(order_id) == "FAILED");
  CHECK(rig.expire({order_id}) == 1);
  CHECK(rig.expire({order_id}) == 0);
  CHECK(rig.quantities() == "8 2 0");
  CHECK(rig.expired().empty());

  CHECK(rig.confirm(late).reason == "RESERVATION_EXPIRED");
  CHECK(rig.release(late).status == StepStatus::done);  // nothing is left to undo
  CHECK(rig.quantities() == "8 2 0");
  rig.check_conserved();
  const auto events = await(rig.io, rig.service.stock_events(order_id)).value();
  REQUIRE(events.size() == 2);
  CHECK(events[1].type == "StockExpired");
  CHECK(events[1].correlation_id == "corr-1");
  CHECK(rig.confirm(other).status == StepStatus::done);
}

TEST_CASE("expiry: a confirmed order keeps its stock for good", "[expiry][I2][I6]") {
  Rig rig;
  const TestSaga saga = rig.reserved(std::chrono::seconds(-2), 4);
  const std::string order_id = saga.operation->order_id;
  REQUIRE(rig.confirm(saga).status == StepStatus::done);
  CHECK(rig.expired() == std::vector{order_id});
  CHECK(rig.fail(order_id) == "CONFIRMED");
  REQUIRE(await(rig.io, rig.service.keep_reservations({order_id})).ok());
  CHECK(rig.expired().empty());
  CHECK(rig.expire({order_id}) == 0);  // not even by mistake
  CHECK(rig.quantities() == "6 4 0");
  // And is shipped by a group like any other.
  rig.branch.committed({test::operation_on(order_id, OperationKind::ship)});
  CHECK(rig.quantities() == "6 0 4");
  rig.check_conserved();
}

TEST_CASE("expiry: whoever releases or ships a reservation ends its expiry", "[expiry]") {
  Rig rig;
  const auto kind = GENERATE(OperationKind::cancel, OperationKind::ship);
  const TestSaga saga = rig.reserved(std::chrono::seconds(-2));
  rig.branch.committed({test::operation_on(saga.operation->order_id, kind)});
  CHECK(rig.expired().empty());
  CHECK(rig.expire({saga.operation->order_id}) == 0);
  rig.check_conserved();
}

TEST_CASE("expiry: confirmation and expiry at once: one of them wins, and the other sees it",
          "[expiry][I8][I10]") {
  Rig rig;
  const TestSaga saga = rig.reserved(std::chrono::seconds(-2));
  const std::string order_id = saga.operation->order_id;
  const auto confirming =
      rig.order_steps.start({.step = "confirm", .calls = {saga.call(OperationKind::confirm)}});
  const auto failing =
      test::start(rig.io, rig.orders.service->fail_pending({order_id}, "RESERVATION_EXPIRED"));
  const auto confirmed = test::finish(rig.io, confirming).value().at(0).status;
  const auto fates = test::finish(rig.io, failing).value();
  const std::string status =
      rig.order_database.value("SELECT status FROM orders WHERE order_id = '" + order_id + "'");
  CHECK(status == (confirmed == StepStatus::done ? "CONFIRMED" : "FAILED"));
  if (!fates.empty()) CHECK(fates[0].status == status);  // left out while the other held the row
}

TEST_CASE("expiry: several orders on the same stock are freed together, oldest first",
          "[expiry][I6]") {
  Rig rig;
  const TestSaga newer = rig.reserved(std::chrono::seconds(-1), 2),
                 older = rig.reserved(std::chrono::seconds(-9), 3);
  CHECK(rig.expired(1) == std::vector{older.operation->order_id});
  CHECK(rig.expired() == std::vector{newer.operation->order_id});  // from where that one ended
  const auto ids = rig.expired();                                  // and from the oldest again
  CHECK(ids == std::vector{older.operation->order_id, newer.operation->order_id});
  CHECK(rig.expire(ids) == 2);
  CHECK(rig.quantities() == "10 0 0");
  CHECK(rig.expire({}) == 0);
  rig.check_conserved();
}

TEST_CASE("expiry: reservations that stay, more than a round takes, do not hide the others",
          "[expiry]") {
  Rig rig;
  std::vector<std::string> ids;
  for (int i = 9; i > 0; --i)
    ids.push_back(rig.reserved(std::chrono::seconds(-i)).operation->order_id);
  std::vector<std::string> seen;
  for (int round = 0; round < 3; ++round)
    for (const auto& id : rig.expired(4)) seen.push_back(id);
  for (const std::string& id : ids) CHECK(std::ranges::count(seen, id) > 0);
}

TEST_CASE("expiry: stock that somebody holds is left without waiting, and told once", "[expiry]") {
  Rig rig;
  const TestSaga saga = rig.reserved(std::chrono::seconds(-1));
  const std::string id = saga.operation->order_id;
  auto holder = test::connect(rig.database.dsn());
  holder->exec_simple("BEGIN; SELECT 1 FROM inventory WHERE sku = 'a' FOR UPDATE");
  CHECK(rig.expire({id}) <= 1);
  CHECK(rig.expired() == std::vector{id});
  holder->exec_simple("ROLLBACK");
  rig.expire({id});
  CHECK(rig.expired().empty());
  CHECK(rig.quantities() == "10 0 0");
  CHECK(rig.database.value("SELECT count(*) FROM events WHERE type = 'StockExpired'") == "1");
  rig.check_conserved();
}

TEST_CASE("expiry: stock that a branch holds in doubt is freed later", "[expiry]") {
  Rig rig;
  const TestSaga saga = rig.reserved(std::chrono::seconds(-2));
  const auto gid = rig.branch.prepared({test::place_order({{"a", 1, 100, ""}})});
  const auto started = test::Clock::now();
  CHECK(rig.expire({saga.operation->order_id}) == 0);
  CHECK(test::since(started) < std::chrono::milliseconds(500));  // it waits for nobody
  REQUIRE(rig.branch.commit(gid).ok());
  CHECK(rig.expire({saga.operation->order_id}) == 1);
  CHECK(rig.quantities() == "9 1 0");
}

}  // namespace
}  // namespace txcoord
