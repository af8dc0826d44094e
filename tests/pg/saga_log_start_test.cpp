// Starts of sagas: one key, one saga (I5), whoever claims it, however often and in whatever mode.
#include "saga_log_support.hpp"

using namespace txcoord;
using namespace txcoord::test;

TEST_CASE("saga_that_starts_stands_with_its_first_state_and_its_key_is_pending") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  SagaStart saga = saga_on("k");
  auto operation = std::make_shared<Operation>(*saga.operation);
  operation->correlation_id = "trace-1";
  saga.operation = operation;
  saga.accepted = true;
  const auto replies = await(test.io, test.sagas->start(owner, {saga})).value();
  REQUIRE(replies.size() == 1);
  CHECK(replies[0].started);
  CHECK_FALSE(replies[0].stored.has_value());

  const SagaInstance found = test.find(saga.saga_id);
  CHECK(found.type == "place_order");
  CHECK(found.status == "STARTED");
  CHECK(found.current_step == "order.create");
  CHECK(found.order_id == operation->order_id);
  CHECK(found.correlation_id == "trace-1");
  CHECK(found.coordinator == "c1");
  CHECK(found.payload == saga.payload);
  CHECK(found.accepted);
  CHECK(found.attempts == 0);
  CHECK_FALSE(found.next_retry_at.has_value());
  CHECK_FALSE(found.stuck_since.has_value());
  CHECK_FALSE(found.ended_at.has_value());
  CHECK(found.created_at == found.updated_at);
  CHECK(now_utc() - found.created_at < 1min);
  CHECK(test.history(saga.saga_id) == just_started);

  const auto pending = test.outcome("k");
  REQUIRE(pending.has_value());
  CHECK(pending->pending);
  CHECK(pending->accepted);
  CHECK_FALSE(pending->confirmed);
  CHECK(pending->gid == saga.saga_id);
  CHECK(pending->order_id == operation->order_id);
  CHECK(pending->fingerprint == operation->fingerprint);
}

TEST_CASE("second_start_of_a_key_gets_what_the_first_came_to_pending_confirmed_or_refused") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const SagaStart good = test.begin(owner, "good");
  const SagaStart bad = test.begin(owner, "bad");
  const auto again = [&](const char* key) {
    const auto replies = await(test.io, test.sagas->start(owner, {saga_on(key)})).value();
    CHECK_FALSE(replies.at(0).started);
    return replies.at(0).stored.value();
  };
  CHECK(again("good").pending);
  CHECK_FALSE(again("good").accepted);
  test.record(owner, completed(good.saga_id));
  test.record(owner, failed(bad.saga_id, "OUT_OF_STOCK", "book-456"));

  CHECK_FALSE(again("good").pending);
  CHECK(again("good").confirmed);
  CHECK(again("good").order_id == good.operation->order_id);
  CHECK(again("good").answer == good.operation->answer);
  CHECK_FALSE(again("bad").pending);
  CHECK_FALSE(again("bad").confirmed);
  CHECK(again("bad").reason == "OUT_OF_STOCK");
  CHECK(again("bad").detail == "book-456");
  CHECK(test.count("saga_instances") == 2);
  CHECK(test.count("operations") == 2);
}

TEST_CASE("sixty_four_starts_of_one_key_from_two_coordinators_start_one_saga") {
  SagaLogTest test;
  auto other = test.make_saga_log();
  const SagaOwner one = test.owner("c1");
  const SagaOwner two = test.owner("c2");
  std::vector<std::shared_ptr<Running<Result<std::vector<SagaStartReply>>>>> starting;
  for (int i = 0; i < 64; ++i) {
    SagaLog& log = i % 2 == 0 ? *test.sagas : *other;
    const SagaOwner& owner = i % 2 == 0 ? one : two;
    // Beside a key of its own, on either side of the contested one in claim order.
    const std::string own = (i % 4 < 2 ? "a" : "z") + std::to_string(i);
    starting.push_back(start(test.io, log.start(owner, {saga_on(own), saga_on("key")})));
  }
  int started = 0;
  for (const auto& one_start : starting) {
    const auto replies = finish(test.io, one_start).value();
    CHECK(replies.at(0).started);
    if (replies.at(1).started) {
      ++started;
    } else {
      CHECK(replies.at(1).stored.value().pending);
    }
  }
  CHECK(started == 1);
  CHECK(test.count("saga_instances") == 65);
  CHECK(test.count("saga_history") == 65);
  CHECK(test.count("operations WHERE idempotency_key = 'key'") == 1);
}

TEST_CASE("key_twice_in_one_batch_starts_one_saga_and_the_other_finds_it_pending") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const std::vector<SagaStart> starts{saga_on("k"), saga_on("k"), saga_on("other")};
  const auto replies = await(test.io, test.sagas->start(owner, starts)).value();
  REQUIRE(replies[0].started != replies[1].started);
  const std::size_t winner = replies[0].started ? 0 : 1;
  CHECK(replies[1 - winner].stored.value().gid == starts[winner].saga_id);
  CHECK(replies[1 - winner].stored.value().pending);
  CHECK(replies[2].started);
  CHECK(test.count("saga_instances") == 2);
}

TEST_CASE("start_repeated_after_its_acknowledgement_was_lost_counts_as_started_once") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const std::vector<SagaStart> starts = sagas_on("k", 3);
  test.begin(owner, starts);
  test.begin(owner, starts);
  CHECK(test.count("saga_instances") == 3);
  CHECK(test.count("operations") == 3);
  for (const SagaStart& saga : starts) CHECK(test.history(saga.saga_id) == just_started);
}

// The backend stops inside its COMMIT (a deferred trigger), its client is cut off at the deadline,
// and the commit lands while the start is being repeated.
TEST_CASE("start_that_lands_after_its_client_gave_up_is_found_by_the_repeated_one") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  test.session()->exec_simple(
      "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      " PERFORM set_config('client_connection_check_interval', '0', true);"
      " PERFORM pg_sleep(0.3); RETURN NULL; END $$;"
      "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON saga_instances"
      " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()");
  test.settings.engine.decide_ms_max = 200;
  auto hasty = test.make_saga_log();
  const std::vector<SagaStart> starts{saga_on("k")};
  auto starting = start(test.io, hasty->start(owner, starts));
  test.hand_over();
  Frozen frozen(test.database.wait_for("wait_event = 'PgSleep'"));
  const auto lost = finish(test.io, starting);
  REQUIRE_FALSE(lost.ok());
  CHECK(lost.failure().kind == FailureKind::timeout);
  CHECK(lost.failure().outcome_unknown);

  auto repeating = start(test.io, test.sagas->start(owner, starts));
  test.hand_over();
  test.database.wait_for("wait_event_type = 'Lock' AND application_name = 'txcoord-log-sagas'");
  CHECK_FALSE(repeating->done());
  frozen.thaw();
  const auto replies = finish(test.io, repeating);
  REQUIRE(replies.ok());
  CHECK(replies.value().at(0).started);
  CHECK(test.history(starts[0].saga_id) == just_started);
}

// I11.
TEST_CASE("start_by_a_fenced_owner_raises_and_writes_nothing") {
  SagaLogTest test;
  const SagaOwner old = test.owner("c1");
  const SagaOwner now = test.owner("c1");
  const auto refused = await(test.io, test.sagas->start(old, {saga_on("k")}));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().kind == FailureKind::fenced);
  CHECK_FALSE(refused.failure().outcome_unknown);
  CHECK(test.count("saga_instances") == 0);
  CHECK(test.count("saga_history") == 0);
  CHECK_FALSE(test.outcome("k").has_value());
  test.begin(now, "k");  // the key is free
}

TEST_CASE("group_that_claims_the_key_of_a_saga_gets_duplicate_and_never_yes") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const SagaStart saga = test.begin(owner, "k");
  Gid gid = test.first_gid(*test.log, "c2");
  const auto claim = [&] {
    gid = next(gid);
    const auto claimed = await(test.io, test.log->claim(gid, group_of({"k", "free"})));
    // To its end: the next claim must find the keys free.
    const auto released = [](TransactionLog& log, Gid of) -> asio::awaitable<bool> {
      auto releasing = log.release(std::move(of));
      co_await std::move(releasing);
      co_return true;
    };
    REQUIRE(await(test.io, released(*test.log, gid)));
    CHECK(claimed.value().votes[0].answer == Answer::duplicate);
    CHECK(claimed.value().votes[1].answer == Answer::yes);
    return claimed.value().stored[0].value();
  };
  CHECK(claim().pending);
  CHECK(claim().gid == saga.saga_id);
  test.record(owner, completed(saga.saga_id));
  CHECK_FALSE(claim().pending);
  CHECK(claim().confirmed);
}

TEST_CASE("saga_on_a_key_that_a_group_has_claimed_waits_for_its_decision_and_does_not_start") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const Gid gid = test.first_gid(*test.log, "c2");
  const Operations group = group_of({"k"});
  REQUIRE(await(test.io, test.log->claim(gid, group)).ok());
  auto starting = start(test.io, test.sagas->start(owner, {saga_on("k")}));
  test.hand_over();
  test.database.wait_for("wait_event_type = 'Lock' AND application_name = 'txcoord-log-sagas'");
  CHECK_FALSE(starting->done());
  REQUIRE(await(test.io, test.log->decide(gid, confirm_all(1))).ok());
  const auto replies = finish(test.io, starting);
  REQUIRE(replies.ok());
  CHECK_FALSE(replies.value()[0].started);
  CHECK(replies.value()[0].stored.value().confirmed);
  CHECK(replies.value()[0].stored.value().order_id == group[0]->order_id);
  CHECK(test.count("saga_instances") == 0);
}

TEST_CASE("value_that_the_database_cannot_hold_is_poison_and_starts_nobody") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  std::vector<SagaStart> starts{saga_on("good"), saga_on("bad")};
  auto bad = std::make_shared<Operation>(*starts[1].operation);
  bad->order_id = "no uuid";
  starts[1].operation = bad;
  const auto refused = await(test.io, test.sagas->start(owner, starts));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().kind == FailureKind::poison);
  CHECK_FALSE(refused.failure().outcome_unknown);
  CHECK(test.count("operations") == 0);
}
