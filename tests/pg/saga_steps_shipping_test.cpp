// Shipping's steps on a real server: a shipment is arranged once and cancelled once.
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <string>

#include "participants/shipping/shipping.hpp"
#include "tests/pg/saga_steps_rig.hpp"
#include "tests/pg/shapes.hpp"

namespace txcoord {
namespace {

using test::barrier;
using test::operation_on;
using test::TestSaga;

struct Rig {
  test::ServiceDatabase database{"shipping"};
  boost::asio::io_context io;
  ShippingParts parts =
      test::in_shape(io, make_shipping(io.get_executor(), test::settings_of(database), nullptr));
  test::StepDriver steps{io, *parts.participant};
  test::BranchDriver branch{io, *parts.participant};

  static TestSaga saga(const std::string& postal_code = "100-0001") {
    const auto operation = test::place_order({{"a", 1, 100, ""}});
    operation->place.shipment_id = uuid_v7();
    operation->place.address = {"田中太郎", postal_code, "東京都", "千代田区", "千代田1-1", {}, {}};
    return test::saga_of(*operation);
  }
  StepReply arrange(const TestSaga& saga) {
    return steps.run_one("arrange", saga.call(OperationKind::place));
  }
  StepReply cancel(const TestSaga& saga) {
    return steps.undo_one("cancel", "arrange", saga.call(OperationKind::cancel));
  }
  std::string status(const TestSaga& saga) {
    return database.value("SELECT status FROM shipments WHERE order_id = '" +
                          saga.operation->order_id + "'");
  }
};

TEST_CASE("shipping steps: arranged once, cancelled once", "[saga_steps][shipping]") {
  Rig rig;
  const TestSaga saga = rig.saga();
  for (int i = 0; i < 2; ++i) CHECK(rig.arrange(saga).status == StepStatus::done);
  CHECK(rig.status(saga) == "ARRANGED");
  for (int i = 0; i < 2; ++i) CHECK(rig.cancel(saga).status == StepStatus::done);
  CHECK(rig.status(saga) == "CANCELLED");
  CHECK(rig.database.value("SELECT string_agg(type, ' ' ORDER BY event_id) FROM events") ==
        "ShippingArranged ShippingCancelled");
}

TEST_CASE("shipping steps: what a saga arranged, a group ships and delivers",
          "[saga_steps][shipping]") {
  Rig rig;
  const TestSaga saga = rig.saga();
  rig.arrange(saga);
  rig.branch.committed({operation_on(saga.operation->order_id, OperationKind::ship)});
  CHECK(rig.cancel(saga).reason == "ILLEGAL_STATE");
  rig.branch.committed({operation_on(saga.operation->order_id, OperationKind::deliver)});
  CHECK(rig.status(saga) == "DELIVERED");
}

TEST_CASE("shipping steps: an address that nobody serves is refused, and so it stays",
          "[saga_steps][shipping][I10]") {
  Rig rig;
  TestSaga saga = rig.saga("nowhere");
  CHECK(rig.arrange(saga).reason == "ADDRESS_REFUSED");
  saga.operation = test::saga_of(*rig.saga().operation).operation;  // corrected, too late
  CHECK(rig.arrange(saga).reason == "ADDRESS_REFUSED");
  CHECK(rig.cancel(saga).status == StepStatus::done);
  CHECK(rig.database.value("SELECT count(*) FROM shipments") == "0");
  CHECK(rig.database.value("SELECT count(*) FROM txc_saga_steps WHERE detail LIKE '%nowhere%'") ==
        "0");  // personal data
}

TEST_CASE("shipping steps: a shipment that is cancelled first is never arranged",
          "[saga_steps][shipping][I8]") {
  Rig rig;
  const TestSaga saga = rig.saga();
  CHECK(rig.cancel(saga).status == StepStatus::done);
  CHECK(rig.arrange(saga).status == StepStatus::barred);
  CHECK(barrier(rig.database, saga, "arrange") == "skipped");
  CHECK(rig.status(saga).empty());
}

TEST_CASE("shipping steps: a cancel that must succeed takes a cancelled shipment for done",
          "[saga_steps][shipping][I8]") {
  Rig rig;
  const TestSaga placed = rig.saga();
  rig.arrange(placed);
  for (int i = 0; i < 2; ++i) {
    const TestSaga cancel = test::saga_of(*placed.operation);
    CHECK(rig.steps.run_one("cancel", cancel.call(OperationKind::cancel)).status ==
          StepStatus::done);
  }
  CHECK(rig.status(placed) == "CANCELLED");
  CHECK(rig.database.value("SELECT count(*) FROM events") == "2");
}

}  // namespace
}  // namespace txcoord
