// The log was restored from a backup, or failed over to a standby that was behind: decisions may be
// missing from it. What recovery makes of branches that are still prepared.
#include <catch2/catch_test_macros.hpp>

#include "tests/unit/coordinator_rig.hpp"

using namespace txcoord;
using namespace txcoord::testing;

namespace {

// A branch of a coordinator that is gone and fenced stands prepared at inventory; inventory was
// told that the log had come further than it has now.
protocol::Gid leave_prepared(Rig& rig) {
  const protocol::Gid gid{"0a1b2c3d", "gone", 1, "00ff00ff", 7};
  rig.log.epochs["gone"] = {2, false};
  rig.inventory.prepared.insert(gid);
  rig.inventory.seen = {rig.log.now.system_identifier, rig.log.now.timeline,
                        rig.log.now.lsn + 5000};
  return gid;
}

}  // namespace

TEST_CASE("the log went back: a sibling's witness proves the decision, which is written again") {
  Rig rig;
  const auto gid = leave_prepared(rig);
  rig.payment.witnesses.insert(gid);
  REQUIRE(rig.run_until([&] { return rig.inventory.prepared.empty(); }));
  CHECK(rig.inventory.witnesses.contains(gid));
  REQUIRE(rig.log.decided.contains(gid));
  CHECK(rig.log.decided.at(gid).outcome == DecisionOutcome::commit);
  REQUIRE(rig.run_until([&] { return rig.inventory.seen.lsn == rig.log.now.lsn; }));
}

TEST_CASE("the log went back: without a witness anywhere nobody committed, and the branch goes") {
  Rig rig;
  const auto gid = leave_prepared(rig);
  REQUIRE(rig.run_until([&] { return rig.inventory.prepared.empty(); }));
  CHECK(rig.inventory.witnesses.empty());
  REQUIRE(rig.log.decided.contains(gid));
  CHECK(rig.log.decided.at(gid).outcome == DecisionOutcome::abort);
}

TEST_CASE("the log went back: while a sibling cannot be asked nothing is rolled back") {
  Rig rig;
  rig.payment.away = true;
  const auto gid = leave_prepared(rig);
  rig.payment.witnesses.insert(gid);
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "shipping.witness") >= 3; }));
  CHECK(rig.inventory.prepared.contains(gid));
  CHECK_FALSE(rig.log.decided.contains(gid));
  CHECK(rig.inventory.seen.lsn > rig.log.now.lsn);  // it does not forget before that is judged
  rig.payment.away = false;
  REQUIRE(rig.run_until([&] { return rig.inventory.prepared.empty(); }));
  CHECK(rig.inventory.witnesses.contains(gid));
}

TEST_CASE("a log that failed over is believed no more than one that went back") {
  Rig rig;
  const protocol::Gid gid{"0a1b2c3d", "gone", 1, "00ff00ff", 9};
  rig.log.epochs["gone"] = {2, false};
  rig.inventory.prepared.insert(gid);
  // The standby was behind, took over, and was written since: by its position it lacks nothing.
  rig.inventory.seen = {rig.log.now.system_identifier, 1, 900};
  rig.log.now.timeline = 2;
  rig.log.now.lsn = 1000;
  rig.payment.witnesses.insert(gid);
  REQUIRE(rig.run_until([&] { return rig.inventory.prepared.empty(); }));
  CHECK(rig.inventory.witnesses.contains(gid));
  REQUIRE(rig.log.decided.contains(gid));
  CHECK(rig.log.decided.at(gid).outcome == DecisionOutcome::commit);
  REQUIRE(rig.run_until([&] { return rig.inventory.seen.timeline == 2; }));
}

TEST_CASE("another cluster or timeline behind the log's name counts as gone back") {
  Rig rig;
  const auto gid = leave_prepared(rig);
  rig.payment.witnesses.insert(gid);
  SECTION("another cluster") { rig.inventory.seen = {"7000000000000000002", 1, 1}; }
  SECTION("another timeline") { rig.inventory.seen = {rig.log.now.system_identifier, 2, 1}; }
  REQUIRE(rig.run_until([&] { return rig.inventory.prepared.empty(); }));
  CHECK(rig.inventory.witnesses.contains(gid));
}

TEST_CASE("a log that only went on is told to every database, and its word is not asked twice") {
  Rig rig;
  rig.log.now.lsn = 900;
  REQUIRE(rig.run_until([&] {
    return rig.order.seen.lsn == 900 && rig.inventory.seen.lsn == 900 &&
           rig.payment.seen.lsn == 900 && rig.shipping.seen.lsn == 900;
  }));
  const protocol::Gid gid{"0a1b2c3d", "gone", 1, "00ff00ff", 8};
  rig.log.epochs["gone"] = {2, false};
  rig.inventory.prepared.insert(gid);
  rig.payment.witnesses.insert(gid);  // the log is trusted, and it says nothing: abort
  REQUIRE(rig.run_until([&] { return rig.inventory.prepared.empty(); }));
  CHECK(rig.log.decided.at(gid).outcome == DecisionOutcome::abort);
  // The witness contradicts it, and that is shown.
  CHECK(rig.run_until([&] { return rig.log.heuristics == std::set<std::string>{"payment"}; }));
}
