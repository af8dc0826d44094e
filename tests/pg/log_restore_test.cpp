// A decision that the log lost and a witness proves is written again, unless an outcome stands.
#include "log_support.hpp"

using namespace txcoord;
using namespace txcoord::test;

TEST_CASE("lost_decision_is_written_again_as_it_was_and_is_incomplete") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  const Operations operations = group_of({"a", "b"});
  test.decide_all(*log, gid, operations);
  const Decision before = await(test.io, log->decisions({gid})).value().at(0);
  test.session()->exec_simple("DELETE FROM decisions");  // the log went back

  for (int time = 0; time < 2; ++time)
    CHECK(await(test.io, log->write_decision_again(owner_of(gid), gid, before.participants,
                                                   before.order_ids))
              .value() == DecisionOutcome::commit);
  const auto after = await(test.io, log->incomplete_decisions(10)).value();
  REQUIRE(after.size() == 1);
  CHECK(after[0].gid == gid);
  CHECK(after[0].participants == before.participants);
  CHECK(after[0].order_ids == before.order_ids);
}

// I3: a proven abort stays; whoever has the witness learns of the contradiction.
TEST_CASE("decision_that_was_proven_absent_is_not_written_again") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  REQUIRE(await(test.io, log->settle(owner_of(gid), gid)).value() == DecisionOutcome::abort);
  CHECK(await(test.io, log->write_decision_again(owner_of(gid), gid, {"order"}, {uuid_v7()}))
            .value() == DecisionOutcome::abort);
  CHECK(await(test.io, log->incomplete_decisions(10)).value().empty());
}

TEST_CASE("decision_written_again_waits_for_one_in_flight_and_finds_what_it_came_to") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  auto in_flight = test.session();
  in_flight->exec_simple(
      "BEGIN; INSERT INTO decisions (gid, coordinator, epoch, outcome, completed_at) VALUES ('" +
      protocol::format(gid) + "', 'c1', 1, 'abort', now())");
  auto writing = start(test.io, log->write_decision_again(owner_of(gid), gid, {"order"}, {}));
  drive(test.io, 20ms);
  test.database.wait_for("wait_event_type = 'Lock' AND application_name = 'txcoord-log-side'");
  CHECK_FALSE(writing->done());
  in_flight->exec_simple("COMMIT");
  CHECK(finish(test.io, writing).value() == DecisionOutcome::abort);
}
