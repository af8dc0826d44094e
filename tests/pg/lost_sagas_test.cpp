// Lost sagas on real databases: what the barriers tell, and what the log keeps and writes again.
#include <catch2/catch_test_macros.hpp>

#include "saga_log_support.hpp"
#include "tests/pg/saga_steps_inventory_rig.hpp"
#include "txcoord/log/pg_lost_saga_log.hpp"

using namespace txcoord;
using namespace txcoord::test;

namespace {

class LostLogTest : public SagaLogTest {
 public:
  LostLogTest() : lost(make_pg_lost_saga_log(io.get_executor(), settings)) {}

  LostSaga one(const std::string& order_id) {
    LostSaga saga;
    saga.saga_id = uuid_v7();
    saga.type = "place_order";
    saga.order_id = order_id;
    saga.order_status = "PENDING";
    saga.customer_id = "customer-001";
    saga.money_taken = 3500;
    saga.may_compensate = true;
    return saga;
  }
  bool put(const LostSaga& saga) { return await(io, lost->put(saga)).value(); }
  LostSaga found(const LostSaga& saga) {
    return await(io, lost->find(saga.saga_id)).value().value();
  }
  std::size_t count() { return await(io, lost->count()).value(); }
  static SagaRewrite again(const LostSaga& saga) {
    return {.saga_id = saga.saga_id,
            .type = "place_order",
            .order_id = saga.order_id,
            .status = "COMPENSATION_STARTED",
            .current_step = "shipping.arrange",
            .reason = "SAGA_LOST",
            .progress = 7,
            .kind = "place",
            .payload = "{}",
            .resolution = "compensate",
            .resolution_key = "k1"};
  }

  std::unique_ptr<LostSagaLog> lost;
};

const std::string some_order = "0190a000-0000-7000-8000-000000000001";

}  // namespace

TEST_CASE("list-steps tells of each saga its order and what its steps came to", "[lost]") {
  InventoryStepRig rig;
  const TestSaga done = rig.saga(), skipped = rig.saga(), third = rig.saga();
  rig.reserve(done);
  rig.release(skipped);
  rig.reserve(third);
  const auto ask = [&](BarriersQuery query) {
    return test::await(rig.io, rig.parts.participant->list_steps(std::move(query))).value();
  };
  BarriersPage page = ask({"0a1b2c3d", {}, {}, 2});
  REQUIRE(page.sagas.size() == 2);
  CHECK(page.sagas[0].saga_id == done.id);
  CHECK(page.sagas[0].order_id == done.operation->order_id);
  CHECK(page.sagas[0].steps == std::map<std::string, std::string>{{"reserve", "done"}});
  CHECK(page.sagas[0].age_seconds >= 0);
  CHECK(page.sagas[1].steps ==
        std::map<std::string, std::string>{{"release", "done"}, {"reserve", "skipped"}});
  page = ask({"0a1b2c3d", {}, skipped.id, 2});
  REQUIRE(page.sagas.size() == 1);
  CHECK(page.sagas[0].saga_id == third.id);
  page = ask({"0a1b2c3d", {third.id, uuid_v7()}, {}, 0});
  REQUIRE(page.sagas.size() == 1);
  CHECK_FALSE(page.shared);

  const auto note = [&](const std::string& installation) {
    auto noting = rig.parts.participant->note_log_seen(installation, {"1", 1, 1}, std::nullopt);
    REQUIRE(test::await(rig.io, std::move(noting)).ok());
  };
  note("0a1b2c3d");
  CHECK_FALSE(ask({"0a1b2c3d", {}, {}, 2}).shared);
  note("ffffffff");
  CHECK(ask({"0a1b2c3d", {}, {}, 2}).shared);
}

TEST_CASE("which_sagas_and_orders_the_log_does_not_know") {
  LostLogTest test;
  const SagaOwner owner = test.owner("c1");
  const SagaStart known = test.begin(owner, "k");
  const std::string unknown = uuid_v7();
  CHECK(await(test.io, test.lost->unknown({known.saga_id, unknown})).value() ==
        std::vector{unknown});
  CHECK(await(test.io, test.lost->orders_without_saga({known.operation->order_id, some_order}))
            .value() == std::vector{some_order});
}

TEST_CASE("a_lost_saga_is_shown_until_nothing_is_at_risk_and_again_when_something_is") {
  LostLogTest test;
  const LostSaga saga = test.one(some_order);
  CHECK(test.put(saga));
  CHECK_FALSE(test.put(saga));
  CHECK(test.count() == 1);
  CHECK(test.found(saga).money_taken == 3500);
  CHECK(await(test.io, test.lost->of_order(some_order)).value().size() == 1);
  REQUIRE(await(test.io, test.lost->gone(saga.saga_id)).ok());
  CHECK(test.count() == 0);
  CHECK(test.found(saga).resolution == "by_itself");
  CHECK_FALSE(test.put(saga));
  CHECK(test.count() == 1);
}

TEST_CASE("lost_sagas_are_listed_newest_first_a_page_at_a_time") {
  LostLogTest test;
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) {
    const LostSaga saga = test.one(some_order);
    ids.push_back(saga.saga_id);
    test.put(saga);
  }
  std::ranges::reverse(ids);
  std::vector<std::string> read;
  for (std::string before;;) {
    const auto page = await(test.io, test.lost->list(2, before)).value();
    if (page.empty()) break;
    for (const LostSaga& saga : page) read.push_back(saga.saga_id);
    before = read.back();
  }
  CHECK(read == ids);
}

TEST_CASE("a_resolved_saga_stands_in_the_log_again_with_a_key_and_is_adopted_once") {
  LostLogTest test;
  const SagaOwner owner = test.owner("c1");
  const LostSaga saga = test.one(some_order);
  test.put(saga);
  CHECK(await(test.io, test.lost->resolve(owner, LostLogTest::again(saga))).value());
  CHECK_FALSE(await(test.io, test.lost->resolve(owner, LostLogTest::again(saga))).value());
  CHECK(test.count() == 0);
  CHECK(test.found(saga).resolution_key == "k1");
  CHECK_FALSE(test.put(saga));  // found again before its barriers are undone
  CHECK(test.count() == 0);

  const auto adopted = await(test.io, test.sagas->adopt(owner, 10)).value();
  REQUIRE(adopted.size() == 1);
  CHECK(adopted[0].saga_id == saga.saga_id);
  CHECK(adopted[0].status == "COMPENSATION_STARTED");
  CHECK(adopted[0].reason == "SAGA_LOST");
  CHECK(test.history(saga.saga_id) ==
        std::vector<std::string>{"STARTED ", "COMPENSATION_STARTED shipping.arrange"});
  test.record(owner, failed(saga.saga_id, "SAGA_LOST", ""));
  CHECK(test.text("SELECT outcome || ' ' || reason FROM operations WHERE gid = '" + saga.saga_id +
                  "' AND scope = 'lost'") == "refused SAGA_LOST");
}

TEST_CASE("a_key_that_the_log_still_has_gets_the_outcome_of_its_lost_saga") {
  LostLogTest test;
  const SagaOwner owner = test.owner("c1");
  const SagaStart started = test.begin(owner, "k");
  test.text("WITH lost AS (DELETE FROM saga_instances RETURNING 1) SELECT count(*) FROM lost");
  test.text("WITH lost AS (DELETE FROM saga_history RETURNING 1) SELECT count(*) FROM lost");
  LostSaga saga = test.one(started.operation->order_id);
  saga.saga_id = started.saga_id;
  test.put(saga);
  CHECK(await(test.io, test.lost->resolve(owner, LostLogTest::again(saga))).value());
  REQUIRE(await(test.io, test.sagas->adopt(owner, 10)).value().size() == 1);
  test.record(owner, failed(saga.saga_id, "SAGA_LOST", ""));
  const auto outcome = test.outcome("k");
  REQUIRE(outcome);
  CHECK_FALSE(outcome->confirmed);
  CHECK(outcome->reason == "SAGA_LOST");
  CHECK(test.text("SELECT count(*) FROM operations") == "1");
}

TEST_CASE("a_fenced_coordinator_resolves_nothing") {
  LostLogTest test;
  const SagaOwner before = test.owner("c1");
  test.owner("c1");
  const LostSaga saga = test.one(some_order);
  test.put(saga);
  const auto refused = await(test.io, test.lost->resolve(before, LostLogTest::again(saga)));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().kind == FailureKind::fenced);
  CHECK(test.count() == 1);
  CHECK_FALSE(await(test.io, test.sagas->find(saga.saga_id)).value());
}
