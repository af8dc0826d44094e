// What is ours in the log and runs nowhere can be found and taken up; one row that fails keeps no
// other from what is done to it.
#include "saga_log_support.hpp"

using namespace txcoord;
using namespace txcoord::test;

namespace {

// As if it had begun a while ago.
void age(SagaLogTest& test, const std::string& saga_id) {
  test.session()->exec_simple(
      "UPDATE saga_instances SET created_at = created_at - interval '1 minute' WHERE saga_id = '" +
      saga_id + "'");
}

std::vector<std::string> unfinished(SagaLogTest& test, const SagaOwner& owner,
                                    const std::string& after = "", std::size_t limit = 100) {
  return await(test.io, test.sagas->unfinished_of(owner, after, limit)).value();
}

// Whoever changes this saga's row raises, as a broken trigger or a CHECK of somebody would.
void raise_on(SagaLogTest& test, const std::string& saga_id) {
  test.session()->exec_simple(
      "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      " RAISE EXCEPTION 'not this one'; END $$;"
      "CREATE TRIGGER refuse BEFORE UPDATE ON saga_instances FOR EACH ROW WHEN (OLD.saga_id = '" +
      saga_id + "') EXECUTE FUNCTION refuse()");
}

std::unique_ptr<pg::Session> hold(SagaLogTest& test, const std::string& row) {
  auto session = test.session();
  session->exec_simple("BEGIN; SELECT 1 FROM " + row + " FOR UPDATE");
  return session;
}

}  // namespace

TEST_CASE(
    "unfinished_sagas_of_this_very_owner_are_listed_in_pages_without_the_young_and_the_ended") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const SagaOwner other = test.owner("c2");
  std::vector<std::string> old;
  for (const char* key : {"a", "b", "c"}) {
    old.push_back(test.begin(owner, key).saga_id);
    age(test, old.back());
  }
  const SagaStart ended = test.begin(owner, "ended");
  age(test, ended.saga_id);
  test.record(owner, completed(ended.saga_id));
  age(test, test.begin(other, "foreign").saga_id);
  test.begin(owner, "young");

  CHECK(unfinished(test, owner) == old);
  CHECK(unfinished(test, owner, "", 2) == std::vector{old[0], old[1]});
  CHECK(unfinished(test, owner, old[1], 2) == std::vector{old[2]});
  CHECK(unfinished(test, {"c1", owner.epoch + 1}).empty());
}

// The rows are ours, and who adopted them never learned of it.
TEST_CASE("adoption_whose_answer_was_lost_is_found_again_as_what_is_ours") {
  SagaLogTest test;
  const SagaOwner before = test.owner("c1");
  const SagaStart saga = test.begin(before, "k");
  age(test, saga.saga_id);
  const SagaOwner now = test.owner("c1");
  REQUIRE(await(test.io, test.sagas->adopt(now, 10)).value().size() == 1);
  CHECK(await(test.io, test.sagas->adopt(now, 10)).value().empty());

  CHECK(unfinished(test, now) == std::vector{saga.saga_id});
  const auto taken = await(test.io, test.sagas->take_up(now, {saga.saga_id, uuid_v7()})).value();
  REQUIRE(taken.size() == 1);
  CHECK(taken[0].payload == saga.payload);
  CHECK(taken[0].status == "STARTED");
  test.record(now, completed(saga.saga_id));
  CHECK(await(test.io, test.sagas->take_up(now, {saga.saga_id})).value().empty());
}

// I11.
TEST_CASE("taking_up_by_a_fenced_owner_raises") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const SagaStart saga = test.begin(owner, "k");
  test.owner("c1");
  const auto refused = await(test.io, test.sagas->take_up(owner, {saga.saga_id}));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().kind == FailureKind::fenced);
}

TEST_CASE("row_that_refuses_its_adoption_is_passed_over_and_the_others_are_adopted") {
  SagaLogTest test;
  const SagaOwner before = test.owner("c1");
  const SagaStart poison = test.begin(before, "poison");
  const SagaStart good = test.begin(before, "good");
  const SagaOwner now = test.owner("c1");
  raise_on(test, poison.saga_id);
  CHECK_FALSE(await(test.io, test.sagas->adopt(now, 10)).ok());
  CHECK(await(test.io, test.sagas->orphans(10)).value() ==
        std::vector{poison.saga_id, good.saga_id});
  const auto refused = await(test.io, test.sagas->adopt_these(now, {poison.saga_id}));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().sqlstate == "P0001");
  const auto adopted = await(test.io, test.sagas->adopt_these(now, {good.saga_id})).value();
  REQUIRE(adopted.size() == 1);
  CHECK(adopted[0].saga_id == good.saga_id);
  CHECK(await(test.io, test.sagas->adopt_these(now, {good.saga_id})).value().empty());
}

TEST_CASE("state_whose_row_somebody_holds_is_given_up_soon_and_is_certainly_not_recorded") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const std::vector<SagaStart> starts = sagas_on("k", 2);
  test.begin(owner, starts);
  auto holder = hold(test, "saga_instances WHERE saga_id = '" + starts[0].saga_id + "'");
  const auto begun = Clock::now();
  const auto refused = await(
      test.io, test.sagas->record(
                   owner, {order_created(starts[0].saga_id), order_created(starts[1].saga_id)}));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().kind == FailureKind::lock_timeout);
  CHECK_FALSE(refused.failure().outcome_unknown);
  CHECK(Clock::now() - begun < 1s);  // log.lock_ms_max is 1.2 s
  test.record(owner, order_created(starts[1].saga_id));
  // The session's own patience is as it was.
  holder->exec_simple("COMMIT");
  test.record(owner, order_created(starts[0].saga_id));
}

TEST_CASE("state_that_no_database_accepts_is_refused_for_certain_whatever_the_cause") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const SagaStart saga = test.begin(owner, "k");
  raise_on(test, saga.saga_id);
  const auto raised = await(test.io, test.sagas->record(owner, {order_created(saga.saga_id)}));
  REQUIRE_FALSE(raised.ok());
  CHECK_FALSE(raised.failure().outcome_unknown);
  test.session()->exec_simple("DROP TRIGGER refuse ON saga_instances");
  SagaUpdate poison = order_created(saga.saga_id);
  poison.detail = std::string("a\0b", 3);
  const auto refused = await(test.io, test.sagas->record(owner, {poison}));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().kind == FailureKind::poison);
  CHECK_FALSE(refused.failure().outcome_unknown);
  test.record(owner, order_created(saga.saga_id));
}

TEST_CASE("barriers_that_were_trimmed_are_noted_of_all_but_the_row_that_somebody_holds") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const std::vector<SagaStart> starts = sagas_on("k", 2);
  test.begin(owner, starts);
  for (const SagaStart& saga : starts) test.record(owner, completed(saga.saga_id));
  auto holder = hold(test, "saga_instances WHERE saga_id = '" + starts[0].saga_id + "'");
  REQUIRE(
      await(test.io, test.sagas->barriers_trimmed({starts[0].saga_id, starts[1].saga_id})).ok());
  CHECK(test.count("saga_instances WHERE barriers_trimmed") == 1);
  holder->exec_simple("COMMIT");
  REQUIRE(await(test.io, test.sagas->barriers_trimmed({starts[0].saga_id})).ok());
  CHECK(test.count("saga_instances WHERE barriers_trimmed") == 2);
}

TEST_CASE("completion_of_a_decision_that_somebody_holds_is_given_up_soon") {
  SagaLogTest test;
  const Gid held = test.first_gid(*test.log, "c1");
  const Gid free = next(held);
  test.decide_all(*test.log, held, group_of({"a"}));
  test.decide_all(*test.log, free, group_of({"b"}));
  auto holder = hold(test, "decisions WHERE gid = '" + protocol::format(held) + "'");
  const auto begun = Clock::now();
  const auto both = await(test.io, test.log->complete(owner_of(held), {held, free}));
  REQUIRE_FALSE(both.ok());
  CHECK(both.failure().kind == FailureKind::lock_timeout);
  CHECK(Clock::now() - begun < 1s);
  CHECK(await(test.io, test.log->complete(owner_of(held), {free})).ok());
  holder->exec_simple("COMMIT");
  CHECK(await(test.io, test.log->complete(owner_of(held), {held})).ok());
  CHECK(test.count("decisions WHERE completed_at IS NULL") == 0);
}

TEST_CASE("session_that_is_ended_within_a_fenced_write_leaves_its_outcome_unknown") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const SagaStart saga = test.begin(owner, "k");
  test.session()->exec_simple(
      "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      " PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); RETURN NULL; END $$;"
      "CREATE CONSTRAINT TRIGGER die AFTER INSERT ON saga_history DEFERRABLE INITIALLY DEFERRED"
      " FOR EACH ROW EXECUTE FUNCTION die()");
  const auto cut = await(test.io, test.sagas->record(owner, {order_created(saga.saga_id)}));
  REQUIRE_FALSE(cut.ok());
  CHECK(cut.failure().kind == FailureKind::unavailable);
  CHECK(cut.failure().outcome_unknown);
}
