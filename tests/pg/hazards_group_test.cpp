// Hazards of groups, seen on real databases and answered: a cancel's give-back, and a cancel that
// comes between the decision and COMMIT PREPARED.
#include <catch2/catch_test_macros.hpp>

#include "participants/inventory/inventory.hpp"
#include "participants/payment/payment.hpp"
#include "tests/pg/branch_rig.hpp"

namespace txcoord {
namespace {

using test::Answer;
using test::await;
using test::operation_on;
using test::place_order;

template <class Parts>
struct HazardRig {
  using Make = Parts (*)(const asio::any_io_executor&, const DatabaseSettings&, Metrics*,
                         const ParticipantDeadlines&);
  HazardRig(const char* service, Make make)
      : database(service),
        parts(make(io.get_executor(), test::settings_of(database), nullptr, {})),
        branch(io, *parts.participant) {}
  test::ServiceDatabase database;
  boost::asio::io_context io;
  Parts parts;
  test::BranchDriver branch;
};

struct StockOfThree : HazardRig<InventoryParts> {
  StockOfThree() : HazardRig("inventory", make_inventory) {
    StockChange change;
    change.available = 3;
    change.unit_price = 100;
    REQUIRE(await(io, parts.service->put_stock("a", change)).ok());
  }
  std::string quantities() {
    return database.value("SELECT available || ' ' || reserved FROM inventory WHERE sku = 'a'");
  }
};

TEST_CASE("give_back_in_a_group_is_not_counted_and_its_cancel_may_fall", "[hazard][inventory]") {
  StockOfThree rig;
  const auto old = place_order({{"a", 3, 100, ""}});
  rig.branch.committed({old});
  CHECK(rig.quantities() == "0 3");

  const Operations group{operation_on(old->order_id, OperationKind::cancel),
                         place_order({{"a", 1, 100, ""}})};
  const auto gid = rig.branch.next_gid();
  const auto votes = rig.branch.vote(gid, group);
  CHECK(votes[0].answer == Answer::yes);
  CHECK(votes[1].reason == "OUT_OF_STOCK");
  // The cancel falls at another participant. Had the order counted on it, the stock were negative,
  // and the CHECK would have poisoned everybody else in the group.
  CHECK(await(rig.io, rig.parts.participant->judge(gid, {false, true})).value()[1].answer ==
        Answer::no);
  REQUIRE(rig.branch.prepare(gid, {false, false}).ok());
  REQUIRE(rig.branch.commit(gid).ok());
  CHECK(rig.quantities() == "0 3");
}

TEST_CASE("cancel_before_commit_prepared_finds_no_rows_and_is_told_to_come_back",
          "[hazard][inventory][I9]") {
  StockOfThree rig;
  const auto order = place_order({{"a", 1, 100, ""}});
  const auto placing =
      rig.branch.prepared({order});  // decided, say, but COMMIT PREPARED is outstanding
  const auto cancel = operation_on(order->order_id, OperationKind::cancel);

  // The hazard: the reservations are invisible, so nothing is locked and nothing blocks. A cancel
  // that took "nothing there" for "nothing to release" would leave the stock reserved for ever.
  const auto gid = rig.branch.next_gid();
  const auto started = test::Clock::now();
  CHECK(rig.branch.vote(gid, {cancel})[0].answer == Answer::retry);
  CHECK(test::since(started) < std::chrono::milliseconds(500));
  rig.branch.release(gid);

  REQUIRE(rig.branch.commit(placing).ok());
  rig.branch.committed({cancel});
  CHECK(rig.quantities() == "3 0");
}

TEST_CASE("cancel_before_commit_prepared_refunds_nothing_and_is_told_to_come_back",
          "[hazard][payment][I9]") {
  HazardRig<PaymentParts> rig("payment", make_payment);
  REQUIRE(await(rig.io, rig.parts.service->put_wallet("customer-001", 500)).ok());
  const auto order = place_order({{"a", 1, 500, ""}});
  const auto placing = rig.branch.prepared({order});
  const auto cancel = operation_on(order->order_id, OperationKind::cancel);

  const auto gid = rig.branch.next_gid();
  CHECK(rig.branch.vote(gid, {cancel})[0].answer == Answer::retry);
  rig.branch.release(gid);
  REQUIRE(rig.branch.commit(placing).ok());
  rig.branch.committed({cancel});
  CHECK(await(rig.io, rig.parts.service->wallet("customer-001")).value()->balance == 500);
}

}  // namespace
}  // namespace txcoord
