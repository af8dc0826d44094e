// The audit on real servers: decisions, tombstones, witnesses, keys, epochs and prepared
// transactions that contradict each other are named.
#include <catch2/catch_test_macros.hpp>
#include <set>
#include <string>
#include <thread>

#include "tests/pg/audit_world.hpp"
#include "txcoord/audit/audit.hpp"

namespace txcoord::audit {
namespace {

TEST_CASE("audit: decisions, tombstones and witnesses that contradict each other",
          "[audit][I1][I3][I4][I10]") {
  World world;
  Found expected;
  world.place();
  world.inventory.run("DELETE FROM txc_branch WHERE gid = '" + world.last_gid() + "'");
  expected.emplace("I1", "witness_missing", world.last_gid());

  const std::string tombstoned = world.gid(900);
  world.log.run("INSERT INTO decisions (gid, coordinator, epoch, outcome, completed_at) VALUES ('" +
                tombstoned + "', 'c1', 2, 'abort', clock_timestamp())");
  world.payment.run("INSERT INTO txc_branch (gid) VALUES ('" + tombstoned + "')");
  expected.emplace("I3", "committed_and_aborted", tombstoned);

  const std::string undecided = world.gid(901);
  world.order.run("INSERT INTO txc_branch (gid) VALUES ('" + undecided + "')");
  expected.emplace("I4", "committed_without_decision", undecided);

  world.place();
  world.log.run("UPDATE decisions SET participants = '{order,inventory,payment}' WHERE gid = '" +
                world.last_gid() + "'");
  expected.emplace("I4", "committed_outside_decision", world.last_gid());

  world.place();
  world.log.run("DELETE FROM decisions WHERE gid = '" + world.last_gid() + "'");
  expected.emplace("I4", "committed_without_decision", world.last_gid());
  expected.emplace("I4", "confirmed_without_decision", world.last_gid());

  world.place();
  world.log.run("UPDATE decisions SET order_ids = '{" + uuid_v7() + "}' WHERE gid = '" +
                world.last_gid() + "'");
  expected.emplace("I3", "order_not_in_decision", world.last_gid());
  expected.emplace("I10", "decision_without_answer", world.last_gid());

  world.order.run(
      "INSERT INTO txc_branch (gid) VALUES ('txc_00000000_c1_1_89abcdef_1')");  // not ours
  CHECK(found_by(world.targets()) == expected);
  AuditTargets trimming = world.targets();
  trimming.trimming = true;
  std::erase_if(expected, [](const auto& each) {
    return std::set<std::string>{"witness_missing", "committed_without_decision",
                                 "confirmed_without_decision"}
        .contains(std::get<1>(each));
  });
  CHECK(found_by(trimming) == expected);
}

TEST_CASE("audit: a confirmed operation whose decision says abort is named", "[audit][I3]") {
  World world;
  const std::string id = world.place();
  world.log.run("UPDATE decisions SET outcome = 'abort'");
  CHECK(found_by(world.targets()) == Found{{"I3", "committed_and_aborted", world.last_gid()},
                                           {"I3", "confirmed_and_aborted", world.last_gid()}});
}

TEST_CASE("audit: a key used in two periods is named, and does not show itself", "[audit][I5]") {
  World world;
  const std::string first = world.place(), second = world.place();
  world.log.run(
      "SELECT txc_add_key_period(2); INSERT INTO key_periods (period) VALUES (2);"
      "UPDATE operations SET idempotency_key = 'secret', period = 2 WHERE order_id = '" +
      first +
      "';"
      "UPDATE operations SET idempotency_key = 'secret' WHERE order_id = '" +
      second + "'");
  const AuditReport report = audit(world.targets());
  REQUIRE(report.violations.size() == 1);
  CHECK(report.violations[0].check == "key_used_twice");
  CHECK(to_text(report).find("secret") == std::string::npos);
}

TEST_CASE("audit: decisions of fenced or invented epochs are named", "[audit][I3][I11]") {
  World world;
  world.place();  // epoch 2 has decided
  const std::string late = world.gid(800, 1), invented = world.gid(801, 3),
                    misfiled = world.gid(802);
  const auto decide = [&](const std::string& gid, const char* coordinator, const char* epoch) {
    world.log.run(
        "INSERT INTO decisions (gid, coordinator, epoch, outcome, completed_at) VALUES ('" + gid +
        "', '" + coordinator + "', " + epoch + ", 'commit', clock_timestamp())");
  };
  decide(late, "c1", "1");
  decide(invented, "c1", "3");
  decide(misfiled, "c2", "2");
  CHECK(found_by(world.targets()) == Found{{"I11", "decided_after_fence", late},
                                           {"I11", "epoch_never_granted", invented},
                                           {"I11", "epoch_never_granted", misfiled},
                                           {"I3", "gid_malformed", misfiled}});
}

TEST_CASE("audit: a branch prepared for too long is named, a young one and a foreign one are not",
          "[audit][I7]") {
  World world;
  const auto prepare = [](ServiceDatabase& database, const std::string& branch) {
    database.run("BEGIN; INSERT INTO txc_branch (gid) VALUES ('" + branch +
                 "'); PREPARE TRANSACTION '" + branch + "'");
  };
  const std::string stale = world.gid(700) + "_payment", misplaced = world.gid(701) + "_order";
  prepare(world.payment, stale);
  prepare(world.payment, misplaced);
  prepare(world.payment, "txc_00000000_c1_1_89abcdef_1_payment");
  AuditTargets patient = world.targets();
  patient.orphan_age_max = 60s;
  CHECK(found_by(patient) == Found{{"I7", "prepared_in_wrong_database", misplaced}});
  std::this_thread::sleep_for(world.targets().orphan_age_max + 50ms);
  CHECK(found_by(world.targets()) ==
        Found{{"I7", "prepared_in_wrong_database", misplaced}, {"I7", "prepared_too_long", stale}});
  // Shown as needing a person: no longer an orphan.
  world.log.run("INSERT INTO heuristic_outcomes (gid, participant, detail) VALUES ('" +
                world.gid(700) + "', 'payment', 'for a person')");
  CHECK(found_by(world.targets()) == Found{{"I7", "prepared_in_wrong_database", misplaced}});
}

TEST_CASE("audit: an order decided and not applied yet is not judged, but its decision's age is",
          "[audit][I7][I9]") {
  World world;
  const std::string id = uuid_v7();
  world.decide(id, "place");
  world.log.run("UPDATE decisions SET completed_at = NULL");
  for (ServiceDatabase* each : {&world.order, &world.inventory, &world.payment, &world.shipping}) {
    each->run("DELETE FROM txc_branch");
  }
  AuditTargets targets = world.targets();
  targets.orphan_age_max = 60s;
  targets.patience = 500ms;
  const AuditReport young = audit(targets);
  CHECK(young.clean());
  CHECK(young.looked_again == 1);
  CHECK(young.unsettled == 1);
  CHECK(young.unsettled_orders == std::vector<std::string>{id});
  CHECK(to_text(young).find("1 orders did not come to rest and were not judged; run it again when "
                            "these rest: " +
                            id + "\n") != std::string::npos);
  targets.orphan_age_max = 1ms;
  const AuditReport old = audit(targets);
  REQUIRE(old.violations.size() == 1);
  CHECK(old.violations[0].check == "decided_not_applied");
}

}  // namespace
}  // namespace txcoord::audit
