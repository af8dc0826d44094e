// The fence at a participant's database, on a real server: what it stops, what it lets through, and
// why it is checked as it is (participants/pg_fence.hpp). In the process of the coordinator and,
// by hand, as two sessions that meet.
#include "participants/pg_fence.hpp"

#include <catch2/catch_test_macros.hpp>

#include "tests/pg/gate.hpp"
#include "tests/pg/saga_steps_inventory_rig.hpp"

namespace txcoord {
namespace {

using test::await;
using test::barrier;
using test::Gate;
using test::InventoryStepRig;
using test::TestSaga;

FenceOwner owner(std::uint64_t epoch, const std::string& incarnation) {
  return {test::installation, "c1", epoch, incarnation};
}
// Whose steps the rig sends: see gid_number().
const FenceOwner own = owner(1, "89abcdef");
const FenceOwner adopter = owner(2, "");

struct FenceRig : InventoryStepRig {
  Participant& participant = *parts.participant;

  FenceOwner raise(const FenceOwner& to, const std::string& replaces = "") {
    return await(io, participant.raise_fence(to, replaces)).value();
  }
  Result<std::vector<StepReply>> try_reserve(const TestSaga& saga) {
    return steps.try_run({.step = "reserve", .calls = {saga.call(OperationKind::place)}});
  }
  // Until what was started waits for a lock.
  void run_until_blocked() { test::drive_until(io, database, "wait_event_type = 'Lock'"); }
  std::unique_ptr<pg::Session> session() { return test::connect(database.dsn()); }
};

void check_fenced(const Failure& failure) {
  CHECK(failure.kind == FailureKind::fenced);
  CHECK_FALSE(failure.outcome_unknown);
}

TEST_CASE("a step that waits between its work and its commit cannot commit after a raise",
          "[fence][I1][I11]") {
  FenceRig rig;
  const TestSaga first = rig.saga(), saga = rig.saga(3);
  REQUIRE(rig.reserve(first).status == StepStatus::done);  // its owner's row is there
  Gate gate(rig.database, "reservations", Gate::At::work);
  auto step = rig.steps.start({.step = "reserve", .calls = {saga.call(OperationKind::place)}});
  gate.reached(rig.io);
  // The step's transaction is open, and does not hold the raise up.
  CHECK(rig.raise(adopter) == adopter);
  CHECK_FALSE(step->done());
  gate.open();
  const auto replies = test::finish(rig.io, step);
  REQUIRE_FALSE(replies.ok());
  check_fenced(replies.failure());
  CHECK(rig.quantities() == "99 1 0");
  CHECK(barrier(rig.database, saga, "reserve").empty());
  check_fenced(rig.try_reserve(saga).failure());
  rig.check_conserved();
}

TEST_CASE("a raise waits for what has passed the check, and finds it committed", "[fence][I11]") {
  FenceRig rig;
  REQUIRE(rig.raise(own) == own);
  auto step = rig.session();
  const std::string checked = fence_sql::check_and_commit(*step, own);
  step->exec_simple("BEGIN");
  step->exec_simple("INSERT INTO inventory (sku, available) VALUES ('late', 7)");
  step->exec_simple(checked.substr(0, checked.rfind("COMMIT")));
  auto raising = test::start(rig.io, rig.participant.raise_fence(adopter, ""));
  rig.run_until_blocked();
  CHECK_FALSE(raising->done());
  step->exec_simple("COMMIT");
  CHECK(test::finish(rig.io, raising).value() == adopter);
  CHECK(rig.database.value("SELECT available FROM inventory WHERE sku = 'late'") == "7");
}

TEST_CASE("what does not do: FOR KEY SHARE lets a raise pass by, and the step commits after it",
          "[fence][hazard]") {
  FenceRig rig;
  REQUIRE(rig.raise(own) == own);
  auto step = rig.session();
  step->exec_simple("BEGIN; INSERT INTO inventory (sku, available) VALUES ('late', 7)");
  step->exec_simple("SELECT FROM txc_fence WHERE coordinator = 'c1' AND epoch = 1 FOR KEY SHARE");
  CHECK(rig.raise(adopter) == adopter);  // at once
  step->exec_simple("COMMIT");
  CHECK(rig.database.value("SELECT available FROM inventory WHERE sku = 'late'") == "7");
}

TEST_CASE("what does not do: checked at BEGIN, a client that was stopped holds the raise up",
          "[fence][hazard]") {
  FenceRig rig;
  REQUIRE(rig.raise(own) == own);
  auto stopped = rig.session();
  stopped->exec_simple("BEGIN; SELECT FROM txc_fence WHERE coordinator = 'c1' FOR SHARE");
  auto raising = test::start(rig.io, rig.participant.raise_fence(adopter, ""));
  rig.run_until_blocked();
  CHECK_FALSE(raising->done());
  stopped->exec_simple("ROLLBACK");
  CHECK(test::finish(rig.io, raising).value() == adopter);
}

TEST_CASE("a check that finds no row refuses: a raise that inserts it has nothing to wait for",
          "[fence][I11]") {
  FenceRig rig;
  auto step = rig.session();
  step->exec_simple("BEGIN; INSERT INTO inventory (sku, available) VALUES ('late', 7)");
  CHECK(rig.raise(adopter) == adopter);
  CHECK_THROWS_AS(step->exec_simple(fence_sql::check_and_commit(*step, own)), pqxx::sql_error);
  step->exec_simple("ROLLBACK");
  CHECK(rig.database.value("SELECT available FROM inventory WHERE sku = 'late'").empty());
}

TEST_CASE("a fence goes up only, and one epoch belongs to one process", "[fence][I11]") {
  FenceRig rig;
  const FenceOwner first = owner(5, "aaaaaaaa"), other = owner(5, "bbbbbbbb");
  CHECK(rig.raise(owner(5, "")) == owner(5, ""));
  CHECK(rig.raise(first) == first);         // over nobody's
  CHECK(rig.raise(owner(5, "")) == first);  // an adopter that comes late changes nothing
  CHECK(rig.raise(other) == first);         // the same epoch, another process
  CHECK(rig.raise(owner(4, "cccccccc")) == first);
  CHECK(rig.raise(other, "dddddddd") == first);
  CHECK(rig.raise(other, "aaaaaaaa") == other);  // its own next generation
  CHECK(rig.raise(first) == other);
  CHECK(rig.raise(owner(6, "")) == owner(6, ""));
  CHECK(await(rig.io, rig.participant.fences(test::installation)).value() ==
        std::vector<FenceOwner>{owner(6, "")});
  CHECK(await(rig.io, rig.participant.fences("ffffffff")).value().empty());
}

TEST_CASE("only the owner itself passes: not an epoch, nor an incarnation beside it",
          "[fence][I11]") {
  FenceRig rig;
  const TestSaga saga = rig.saga();
  FenceOwner standing = own;
  SECTION("a later epoch") { standing = owner(2, "89abcdef"); }
  SECTION("another process of this epoch") { standing = owner(1, "12345678"); }
  SECTION("a later generation of the same process") {
    REQUIRE(rig.raise(own) == own);
    standing = owner(1, "12345678");
    REQUIRE(rig.raise(standing, own.incarnation) == standing);
  }
  CHECK(rig.raise(standing) == standing);
  check_fenced(rig.try_reserve(saga).failure());
  CHECK(rig.quantities() == "100 0 0");
}

TEST_CASE("an owner that raised nothing, as of a version before fences, is not locked out",
          "[fence]") {
  FenceRig rig;
  const TestSaga saga = rig.saga();
  SECTION("nobody wrote here before") {}
  SECTION("its row is of an earlier epoch") {
    rig.database.run(
        "INSERT INTO txc_fence (installation, coordinator, epoch, incarnation) "
        "VALUES ('0123abcd', 'c1', 1, '')");
  }
  CHECK(rig.reserve(saga).status == StepStatus::done);
  CHECK(rig.quantities() == "99 1 0");
  CHECK(await(rig.io, rig.participant.fences(test::installation)).value() ==
        std::vector<FenceOwner>{own});
  // From now on it can be fenced like any other.
  REQUIRE(rig.raise(adopter) == adopter);
  check_fenced(rig.try_reserve(rig.saga()).failure());
}

TEST_CASE("trims, witness deletes and notes of the log are refused once their owner is fenced",
          "[fence][I11]") {
  FenceRig rig;
  const TestSaga saga = rig.saga();
  REQUIRE(rig.reserve(saga).status == StepStatus::done);
  rig.database.run("INSERT INTO txc_branch (gid) VALUES ('" + format(test::gid_number(7)) + "')");
  const protocol::LogPoint seen{"7000000000000000001", 1, 100};
  const protocol::LogPoint stale{"7000000000000000001", 1, 50};
  REQUIRE(await(rig.io, rig.participant.note_log_seen(test::installation, seen, own)).ok());
  REQUIRE(rig.raise(adopter) == adopter);
  check_fenced(await(rig.io, rig.participant.trim_steps({saga.id}, own)).failure());
  check_fenced(await(rig.io, rig.participant.trim_witnesses({test::gid_number(7)}, own)).failure());
  check_fenced(
      await(rig.io, rig.participant.note_log_seen(test::installation, stale, own)).failure());
  CHECK(barrier(rig.database, saga, "reserve") == "done");
  CHECK(rig.database.value("SELECT count(*) FROM txc_branch") == "1");
  CHECK(await(rig.io, rig.participant.log_seen(test::installation)).value().lsn == 100);
  // A caller of an earlier version names no owner.
  REQUIRE(await(rig.io, rig.participant.trim_steps({saga.id}, std::nullopt)).ok());
  CHECK(barrier(rig.database, saga, "reserve").empty());
}

TEST_CASE("a trim that was stopped before its commit deletes nothing after a raise",
          "[fence][I11]") {
  FenceRig rig;
  const TestSaga saga = rig.saga();
  REQUIRE(rig.reserve(saga).status == StepStatus::done);
  auto blocker = rig.session();
  blocker->exec_simple("BEGIN; LOCK TABLE txc_saga_steps IN SHARE MODE");
  auto trimming = test::start(rig.io, rig.participant.trim_steps({saga.id}, own));
  rig.run_until_blocked();
  REQUIRE(rig.raise(adopter) == adopter);
  blocker->exec_simple("ROLLBACK");
  check_fenced(test::finish(rig.io, trimming).failure());
  CHECK(barrier(rig.database, saga, "reserve") == "done");
}

TEST_CASE("a division by zero that is not the fence's is poison, and the fence's never is",
          "[fence]") {
  FenceRig rig;
  const TestSaga saga = rig.saga();
  rig.database.run(
      "CREATE FUNCTION divide() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1/0; "
      "RETURN NULL; END $$; CREATE CONSTRAINT TRIGGER divide AFTER INSERT ON reservations "
      "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION divide()");
  CHECK(rig.try_reserve(saga).failure().kind == FailureKind::poison);
  REQUIRE(rig.raise(adopter) == adopter);
  check_fenced(rig.try_reserve(saga).failure());
}

}  // namespace
}  // namespace txcoord
