// The hazards at the commit point: lost acknowledgements, decisions that land late, the fence.
#include "log_support.hpp"

using namespace txcoord;
using namespace txcoord::test;

namespace {

// A decide() whose backend was stopped between its INSERT and its COMMIT.
constexpr const char* insert_open_decision =
    "INSERT INTO decisions (gid, coordinator, epoch, outcome) VALUES ";

std::string values_of(const Gid& gid) {
  return "('" + protocol::format(gid) + "', '" + gid.coordinator + "', " +
         std::to_string(gid.epoch) + ", 'commit')";
}

std::string stored_outcome(LogTest& test, const Gid& gid) {
  const auto found = test.session()->exec_simple("SELECT outcome FROM decisions WHERE gid = '" +
                                                 protocol::format(gid) + "'");
  return found.empty() ? "none" : found.at(0).at(0).as<std::string>();
}

}  // namespace

TEST_CASE("absence_is_not_abort_settle_waits_for_a_decision_in_flight_and_finds_it_committed") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  auto in_flight = test.session();
  in_flight->exec_simple("BEGIN");
  in_flight->exec_simple(insert_open_decision + values_of(gid));
  CHECK(stored_outcome(test, gid) == "none");  // who only reads would say abort

  auto settling = start(test.io, log->settle(owner_of(gid), gid));
  drive(test.io, 300ms);
  CHECK_FALSE(settling->done());
  in_flight->exec_simple("COMMIT");
  const auto settled = finish(test.io, settling);
  REQUIRE(settled.ok());
  CHECK(settled.value() == DecisionOutcome::commit);
}

TEST_CASE("settle_waits_for_a_decision_in_flight_and_proves_abort_when_it_is_rolled_back") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  auto in_flight = test.session();
  in_flight->exec_simple("BEGIN");
  in_flight->exec_simple(insert_open_decision + values_of(gid));
  auto settling = start(test.io, log->settle(owner_of(gid), gid));
  drive(test.io, 200ms);
  CHECK_FALSE(settling->done());
  in_flight->exec_simple("ROLLBACK");
  CHECK(finish(test.io, settling).value() == DecisionOutcome::abort);
  CHECK(stored_outcome(test, gid) == "abort");
}

TEST_CASE("settle_that_cannot_wait_any_longer_does_not_guess") {
  LogTest test;
  test.settings.engine.decide_ms_max = 100;
  test.settings.log.lock_ms_max = 100;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  auto in_flight = test.session();
  in_flight->exec_simple("BEGIN");
  in_flight->exec_simple(insert_open_decision + values_of(gid));
  const auto settled = await(test.io, log->settle(owner_of(gid), gid));
  REQUIRE_FALSE(settled.ok());
  CHECK(settled.failure().kind == FailureKind::lock_timeout);
}

TEST_CASE("decision_after_its_tombstone_fails_and_leaves_nothing") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  REQUIRE(await(test.io, log->claim(gid, group_of({"k"}))).ok());
  CHECK(await(test.io, log->settle(owner_of(gid), gid)).value() == DecisionOutcome::abort);
  const auto late = await(test.io, log->decide(gid, confirm_all(1)));
  REQUIRE_FALSE(late.ok());
  CHECK(late.failure().kind == FailureKind::fenced);
  CHECK_FALSE(late.failure().outcome_unknown);
  CHECK(stored_outcome(test, gid) == "abort");
  CHECK(test.count("operations") == 0);
  CHECK(await(test.io, log->settle(owner_of(gid), gid)).value() == DecisionOutcome::abort);
}

// A process stopped in settling for longer than decisions are kept: its decision landed, whoever
// took over has finished it, trimmed its witnesses and forgotten it.
TEST_CASE("settle_of_a_fenced_epoch_writes_no_outcome_for_what_was_committed_and_trimmed") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  test.decide_all(*log, gid, group_of({"k"}));
  REQUIRE(await(test.io, log->raise_epoch("c1")).ok());
  const LogOwner successor{"c1", gid.epoch + 1};
  REQUIRE(await(test.io, log->complete(successor, {gid})).ok());
  test.session()->exec_simple(
      "UPDATE decisions SET completed_at = completed_at - interval '1 hour',"
      " decided_at = decided_at - interval '1 hour'");
  const auto old = await(test.io, log->complete_before(std::chrono::seconds(1), {}, 10)).value();
  REQUIRE(old.size() == 1);
  REQUIRE(await(test.io, log->forget({old[0].gid})).ok());
  REQUIRE(await(test.io,
                log->trim(std::chrono::seconds(1), std::chrono::hours(1), std::chrono::hours(1)))
              .value() == 0);
  const auto late = await(test.io, log->settle(owner_of(gid), gid));
  REQUIRE_FALSE(late.ok());
  CHECK(late.failure().kind == FailureKind::fenced);
  CHECK_FALSE(late.failure().outcome_unknown);
  CHECK(test.count("decisions") == 0);
}

TEST_CASE("settle_that_was_stopped_before_its_commit_writes_nothing_once_its_epoch_was_raised") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  auto in_flight = test.session();
  in_flight->exec_simple("BEGIN");
  in_flight->exec_simple(insert_open_decision + values_of(gid));
  auto settling = start(test.io, log->settle(owner_of(gid), gid));
  drive(test.io, 200ms);
  test.database.wait_for("wait_event_type = 'Lock'");
  REQUIRE(await(test.io, log->raise_epoch("c1")).ok());
  in_flight->exec_simple("ROLLBACK");
  const auto settled = finish(test.io, settling);
  REQUIRE_FALSE(settled.ok());
  CHECK(settled.failure().kind == FailureKind::fenced);
  CHECK(test.count("decisions") == 0);
}

TEST_CASE("completions_lost_branches_and_decisions_written_again_are_refused_of_a_fenced_epoch") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  test.decide_all(*log, gid, group_of({"k"}));
  REQUIRE(await(test.io, log->raise_epoch("c1")).ok());
  const LogOwner before = owner_of(gid);
  CHECK(await(test.io, log->complete(before, {gid})).failure().kind == FailureKind::fenced);
  CHECK(await(test.io, log->record_heuristic(before, gid, "payment", "lost")).failure().kind ==
        FailureKind::fenced);
  CHECK(
      await(test.io, log->write_decision_again(before, next(gid), {"order"}, {})).failure().kind ==
      FailureKind::fenced);
  CHECK(test.count("decisions WHERE completed_at IS NULL AND NOT heuristic") == 1);
  CHECK(test.count("heuristic_outcomes") == 0);
}

// The decision's backend stops inside its COMMIT (a deferred trigger), its client is cut off at the
// deadline, and the commit lands afterwards.
TEST_CASE("lost_acknowledgement_of_a_decision_that_lands_later_is_settled_as_committed") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  test.session()->exec_simple(
      "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      " PERFORM set_config('client_connection_check_interval', '0', true);"
      " PERFORM pg_sleep(0.3); RETURN NULL; END $$;"
      "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON decisions DEFERRABLE INITIALLY DEFERRED"
      " FOR EACH ROW WHEN (NEW.outcome = 'commit') EXECUTE FUNCTION slow()");
  test.settings.engine.decide_ms_max = 200;
  auto hasty = test.make_log();
  REQUIRE(await(test.io, hasty->claim(gid, group_of({"k"}))).ok());
  auto deciding = start(test.io, hasty->decide(gid, confirm_all(1)));
  drive(test.io, 20ms);
  Frozen frozen(test.database.wait_for("wait_event = 'PgSleep'"));
  const auto lost = finish(test.io, deciding);
  REQUIRE_FALSE(lost.ok());
  CHECK(lost.failure().kind == FailureKind::timeout);
  CHECK(lost.failure().outcome_unknown);

  CHECK(stored_outcome(test, gid) == "none");
  auto settling = start(test.io, log->settle(owner_of(gid), gid));
  drive(test.io, 400ms);
  CHECK_FALSE(settling->done());
  frozen.thaw();
  CHECK(finish(test.io, settling).value() == DecisionOutcome::commit);
  CHECK(stored_outcome(test, gid) == "commit");
  CHECK(await(test.io, log->find_outcome(operation("k")->scope, "k")).value().has_value());
}

TEST_CASE("fence_that_returns_no_row_does_not_stop_the_commit_after_it_and_ours_does") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  auto session = test.session();
  const std::string fenced_row = "FROM coordinator_epoch WHERE id = 'c1' AND epoch = 999 FOR SHARE";
  // The hazard.
  session->exec_simple("BEGIN; " + (insert_open_decision + values_of(gid)) + "; SELECT 1 " +
                       fenced_row + "; COMMIT");
  CHECK(stored_outcome(test, gid) == "commit");
  // The answer.
  CHECK_THROWS_AS(
      session->exec_simple("BEGIN; " + (insert_open_decision + values_of(next(gid))) +
                           "; SELECT 1/count(*) FROM (SELECT 1 " + fenced_row + ") f; COMMIT"),
      pqxx::data_exception);
  session->exec_simple("ROLLBACK");
  CHECK(stored_outcome(test, next(gid)) == "none");
}

TEST_CASE("decision_of_a_fenced_epoch_never_commits") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  SECTION("a decision to commit") {
    REQUIRE(await(test.io, log->claim(gid, group_of({"k"}))).ok());
    CHECK(await(test.io, log->raise_epoch("c1")).value() == gid.epoch + 1);
    const auto late = await(test.io, log->decide(gid, confirm_all(1)));
    REQUIRE_FALSE(late.ok());
    CHECK(late.failure().kind == FailureKind::fenced);
    CHECK_FALSE(late.failure().outcome_unknown);
  }
  SECTION("refusals alone") {
    REQUIRE(await(test.io, log->claim(gid, group_of({"k"}))).ok());
    REQUIRE(await(test.io, log->raise_epoch("c1")).ok());
    DecisionRecord record;
    record.commit = false;
    record.refused = {{0, "OUT_OF_STOCK", ""}};
    const auto late = await(test.io, log->decide(gid, record));
    REQUIRE_FALSE(late.ok());
    CHECK(late.failure().kind == FailureKind::fenced);
  }
  CHECK(stored_outcome(test, gid) == "none");
  CHECK(test.count("operations") == 0);
}

TEST_CASE("raise_of_the_epoch_waits_for_a_decision_in_flight_and_fences_those_that_come_later") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  REQUIRE(await(test.io, log->claim(gid, group_of({"k"}))).ok());
  auto in_flight = test.session();
  in_flight->exec_simple("BEGIN");
  in_flight->exec_simple("SELECT 1 FROM coordinator_epoch WHERE id = 'c1' FOR SHARE");

  auto raising = start(test.io, log->raise_epoch("c1"));
  drive(test.io, 200ms);
  CHECK_FALSE(raising->done());
  in_flight->exec_simple("COMMIT");
  CHECK(finish(test.io, raising).value() == gid.epoch + 1);
  CHECK(await(test.io, log->decide(gid, confirm_all(1))).failure().kind == FailureKind::fenced);
}

TEST_CASE("decision_commits_with_a_flush_even_in_a_session_that_was_told_otherwise") {
  LogTest test;
  auto log = test.make_log();
  const Gid gid = test.first_gid(*log, "c1");
  test.session()->exec_simple(
      "CREATE TABLE seen (setting text);"
      "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      " INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;"
      "CREATE CONSTRAINT TRIGGER note AFTER INSERT ON decisions DEFERRABLE INITIALLY DEFERRED"
      " FOR EACH ROW EXECUTE FUNCTION note()");
  auto session = test.session();
  session->exec_simple("SET synchronous_commit = off");
  const Operations operations = group_of({"k"});
  const log_sql::ClaimResult claimed = log_sql::claim(*session, gid, operations);
  log_sql::decide(*session, gid, operations, claimed.claimed, confirm_all(1));
  CHECK(session->exec_simple("SELECT setting FROM seen").at(0).at(0).as<std::string>() == "on");
}

TEST_CASE("failure_of_a_decision_is_certain_only_when_the_commit_cannot_have_raised_it") {
  const auto about = [](const char* sqlstate) {
    return log_sql::decision_failure({FailureKind::error, false, sqlstate, ""});
  };
  CHECK(about("22012").kind == FailureKind::fenced);
  CHECK(about("23505").kind == FailureKind::fenced);
  for (const char* certain :
       {"22012", "23505", "22P02", "40P01", "55P03", "25P02", "42P01", "53100"})
    CHECK_FALSE(about(certain).outcome_unknown);
  for (const char* unknown : {"57014", "57P01", "XX000", "58030"})
    CHECK(about(unknown).outcome_unknown);
}
