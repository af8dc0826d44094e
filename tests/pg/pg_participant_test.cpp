// The generic participant on a real server, through inventory's branches: what is sent once, what a
// failure means, what recovery may learn.
#include "participants/pg_participant.hpp"

#include <catch2/catch_test_macros.hpp>

#include "participants/inventory/inventory.hpp"
#include "tests/pg/branch_rig.hpp"
#include "tests/pg/shapes.hpp"

namespace txcoord {
namespace {

using test::Answer;
using test::await;
using test::gid_number;
using test::place_order;

struct Rig {
  test::ServiceDatabase database{"inventory"};
  boost::asio::io_context io;
  InventoryParts parts =
      test::in_shape(io, make_inventory(io.get_executor(), test::settings_of(database), nullptr));
  Participant& participant = *parts.participant;
  test::BranchDriver branch{io, participant};

  Rig() {
    StockChange change;
    change.available = 100;
    change.unit_price = 100;
    REQUIRE(await(io, parts.service->put_stock("a", change)).ok());
  }
  std::string available() {
    return database.value("SELECT available FROM inventory WHERE sku = 'a'");
  }
  std::string in_transaction() {
    return database.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state LIKE 'idle in transaction%'");
  }
};

std::shared_ptr<Operation> one() { return place_order({{"a", 1, 100, ""}}); }

TEST_CASE("participant: a gid votes once and is prepared once", "[participant][I3]") {
  Rig rig;
  const auto gid = rig.branch.next_gid();
  rig.branch.vote(gid, {one()});
  CHECK_FALSE(rig.branch.try_vote(gid, {one()}).ok());
  REQUIRE(rig.branch.prepare(gid, {true}).ok());
  const auto again = rig.branch.prepare(gid, {true});
  REQUIRE_FALSE(again.ok());
  CHECK_FALSE(again.failure().outcome_unknown);
  CHECK(rig.database.prepared() == "1");
}

TEST_CASE("participant: judging again uses the locked rows and sends nothing", "[participant]") {
  Rig rig;
  const auto gid = rig.branch.next_gid();
  const auto big = place_order({{"a", 100, 100, ""}});
  CHECK(rig.branch.vote(gid, {big, one()})[1].answer == Answer::no);
  const auto votes = await(rig.io, rig.participant.judge(gid, {false, true})).value();
  CHECK(votes[1].answer == Answer::yes);
  REQUIRE(rig.branch.prepare(gid, {false, true}).ok());
  REQUIRE(rig.branch.commit(gid).ok());
  CHECK(rig.available() == "99");
}

TEST_CASE("participant: judging by the mask of another group, or a gid without a branch, fails",
          "[participant]") {
  Rig rig;
  const auto gid = rig.branch.next_gid();
  rig.branch.vote(gid, {one(), one()});
  CHECK_FALSE(await(rig.io, rig.participant.judge(gid, {true})).ok());
  CHECK_FALSE(await(rig.io, rig.participant.judge(gid_number(99), {true})).ok());
}

TEST_CASE("participant: release ends the branch, frees its locks and keeps the session",
          "[participant]") {
  Rig rig;
  const auto gid = rig.branch.next_gid();
  rig.branch.vote(gid, {one()});
  CHECK(rig.in_transaction() == "1");
  rig.branch.release(gid);
  CHECK(rig.in_transaction() == "0");
  rig.branch.release(gid);  // nothing to do
  rig.branch.committed({one()});
  CHECK(rig.available() == "99");
}

TEST_CASE(
    "participant: a poison operation fails the prepare with its class, and nothing is prepared",
    "[participant]") {
  Rig rig;
  const auto bad = one();
  bad->place.items[0].reservation_id = "not a uuid";
  const auto gid = rig.branch.next_gid();
  rig.branch.vote(gid, {bad});
  const auto done = rig.branch.prepare(gid, {true});
  REQUIRE_FALSE(done.ok());
  CHECK(done.failure().kind == FailureKind::poison);
  CHECK_FALSE(done.failure().outcome_unknown);
  CHECK(rig.database.prepared() == "0");
  CHECK(rig.in_transaction() == "0");
}

TEST_CASE("participant: a backend that dies between vote and prepare is not in doubt",
          "[participant]") {
  Rig rig;
  const auto gid = rig.branch.next_gid();
  rig.branch.vote(gid, {one()});
  rig.database.server().terminate(rig.database.server().wait_for("state = 'idle in transaction'"));
  const auto done = rig.branch.prepare(gid, {true});
  REQUIRE_FALSE(done.ok());
  CHECK(done.failure().kind == FailureKind::unavailable);
  CHECK_FALSE(done.failure().outcome_unknown);  // it ended before PREPARE could be sent
  CHECK(rig.database.prepared() == "0");
  rig.branch.committed({one()});
}

TEST_CASE("participant: a backend that stops answering the prepare leaves the outcome unknown",
          "[participant]") {
  Rig rig;
  const auto gid = rig.branch.next_gid();
  rig.branch.vote(gid, {one()});
  const int pid = rig.database.server().wait_for("state = 'idle in transaction'");
  test::Frozen frozen(pid);
  const auto done = rig.branch.prepare(gid, {true});
  REQUIRE_FALSE(done.ok());
  CHECK(done.failure().kind == FailureKind::timeout);
  CHECK(done.failure().outcome_unknown);
}

TEST_CASE("participant: finishing an unknown gid says not found, and decides nothing",
          "[participant]") {
  Rig rig;
  for (const bool commit : {true, false}) {
    const auto done =
        commit ? rig.branch.commit(gid_number(7)) : rig.branch.roll_back(gid_number(7));
    REQUIRE_FALSE(done.ok());
    CHECK(done.failure().kind == FailureKind::not_found);
    CHECK(done.failure().sqlstate == "42704");
  }
  const auto gid = rig.branch.committed({one()});
  CHECK(rig.branch.commit(gid).failure().kind == FailureKind::not_found);
  CHECK(rig.branch.has_witness(gid));  // the witness tells the two apart
  CHECK_FALSE(rig.branch.has_witness(gid_number(7)));
}

TEST_CASE("participant: a database that refuses sessions is unavailable, and not in doubt",
          "[participant]") {
  Rig rig;
  rig.database.server().admin().exec_simple("ALTER DATABASE " + rig.database.server().name() +
                                            " CONNECTION LIMIT 0");
  const auto votes = rig.branch.try_vote(rig.branch.next_gid(), {one()});
  REQUIRE_FALSE(votes.ok());
  CHECK(votes.failure().kind == FailureKind::unavailable);
  CHECK_FALSE(votes.failure().outcome_unknown);
}

TEST_CASE("participant: only this installation's branches of this service are listed",
          "[participant][I7]") {
  Rig rig;
  const auto gid = rig.branch.prepared({one()});
  // Another installation, another service, somebody else's name, and one that fits the prefix only
  // if its underscores were wildcards.
  for (const char* other :
       {"txc_ffffffff_c1_1_89abcdef_1_inventory", "txc_0123abcd_c1_1_89abcdef_1_payment",
        "txc_0123abcd_somebody", "txcX0123abcdXc1_1_89abcdef_1_inventory"}) {
    rig.database.run("BEGIN; INSERT INTO txc_branch (gid) VALUES ('" + std::string(other) +
                     "'); PREPARE TRANSACTION '" + other + "'");
  }
  const auto listed = await(rig.io, rig.participant.list_prepared(test::installation)).value();
  CHECK(listed == std::vector{gid});
  const auto gauges = await(rig.io, rig.participant.gauges(test::installation)).value();
  CHECK(gauges.in_doubt_branches == 1);
  CHECK(gauges.in_doubt_oldest_seconds > 0);
  CHECK(gauges.in_doubt_oldest_seconds < 60);
}

TEST_CASE("participant: gauges show slots, in-doubt branches and who waits for them",
          "[participant]") {
  Rig rig;
  rig.branch.prepared({one()});
  auto waiter =
      test::start(rig.io, rig.participant.vote(rig.branch.next_gid(), {one()}, LockMode::wait));
  test::drive(rig.io, std::chrono::milliseconds(50));
  const auto gauges = await(rig.io, rig.participant.gauges(test::installation)).value();
  CHECK(gauges.in_doubt_branches == 1);
  CHECK(gauges.prepared_slots_max >= 24);
  CHECK(gauges.prepared_slots_used >= 1);
  CHECK(gauges.xmin_age_transactions >= 1);
  CHECK(gauges.blocked_sessions == 1);
  const auto votes = test::finish(rig.io, waiter);
  REQUIRE(votes.ok());  // its wait has a bound
  CHECK(votes.value().at(0).answer == Answer::retry);
}

TEST_CASE("participant: trimming forgets the witnesses that are named, and no others",
          "[participant]") {
  Rig rig;
  const auto first = rig.branch.committed({one()});
  const auto second = rig.branch.committed({one()});
  REQUIRE(
      await(rig.io, rig.participant.trim_witnesses({first, gid_number(99)}, std::nullopt)).ok());
  REQUIRE(await(rig.io, rig.participant.trim_witnesses({}, std::nullopt)).ok());
  CHECK_FALSE(rig.branch.has_witness(first));
  CHECK(rig.branch.has_witness(second));
}

}  // namespace
}  // namespace txcoord
