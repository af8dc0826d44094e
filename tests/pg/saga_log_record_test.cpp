// States of sagas: durable, exact, never taken back, and only by their owner.
#include <catch2/generators/catch_generators.hpp>
#include <stdexcept>
#include <thread>

#include "saga_log_support.hpp"

using namespace txcoord;
using namespace txcoord::test;

TEST_CASE(
    "states_are_recorded_with_their_history_and_the_end_settles_the_key_and_empties_the_rest") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const SagaStart saga = test.begin(owner, "k");
  test.record(owner, order_created(saga.saga_id));
  CHECK(test.find(saga.saga_id).payload == saga.payload);
  test.record(owner, stock_reserved(saga.saga_id));
  CHECK(test.find(saga.saga_id).status == "STOCK_RESERVED");
  CHECK(test.find(saga.saga_id).current_step == "payment.charge");
  CHECK(test.find(saga.saga_id).payload == saga.payload);
  CHECK(test.outcome("k").value().pending);
  test.record(owner, completed(saga.saga_id));

  const SagaInstance ended = test.find(saga.saga_id);
  CHECK(ended.status == "COMPLETED");
  CHECK(ended.current_step.empty());
  CHECK(ended.payload.empty());
  CHECK(ended.ended_at.value() == ended.updated_at);
  CHECK(test.history(saga.saga_id) ==
        std::vector<std::string>{"STARTED order.create", "ORDER_CREATED inventory.reserve",
                                 "STOCK_RESERVED payment.charge", "COMPLETED "});
  CHECK(test.outcome("k").value().confirmed);
  CHECK(test.outcome("k").value().answer == saga.operation->answer);
  CHECK(test.outcome("k").value().gid == saga.saga_id);
}

TEST_CASE("saga_that_failed_leaves_its_reason_under_its_key_and_no_answer_or_payload") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const SagaStart saga = test.begin(owner, "k");
  test.record(owner, order_created(saga.saga_id));
  SagaUpdate turned = state(saga.saga_id, "COMPENSATION_STARTED", "order.create", 10);
  turned.reason = "OUT_OF_STOCK";
  turned.detail = "book-456";
  test.record(owner, turned);
  CHECK(test.find(saga.saga_id).reason == "OUT_OF_STOCK");
  CHECK(test.outcome("k").value().pending);
  test.record(owner, failed(saga.saga_id, "OUT_OF_STOCK", "book-456"));

  CHECK(test.find(saga.saga_id).payload.empty());
  CHECK(test.find(saga.saga_id).detail == "book-456");
  const StoredOutcome refused = test.outcome("k").value();
  CHECK_FALSE(refused.pending);
  CHECK_FALSE(refused.confirmed);
  CHECK(refused.reason == "OUT_OF_STOCK");
  CHECK(refused.detail == "book-456");
  CHECK(refused.answer.empty());
  CHECK(test.history(saga.saga_id).back() == "FAILED ");
}

// Without statistics PostgreSQL takes a table for as small and its columns for as selective as it
// likes: sagas were read whole for each batch, and compared with each of its members.
TEST_CASE("a_full_batch_is_recorded_by_key_while_the_table_has_no_statistics") {
  constexpr int others = 5000, batches = 4;
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const auto sagas = sagas_on("k", 128);
  test.begin(owner, sagas);
  test.session()->exec_simple(
      "INSERT INTO saga_instances (saga_id, saga_type, order_id, correlation_id, period, scope,"
      " idempotency_key, accepted, coordinator, epoch, status, current_step, payload, ended_at)"
      " SELECT gen_random_uuid(), 't', gen_random_uuid(), '', 1, 's', n, false, 'c1', " +
      std::to_string(owner.epoch) + ", 'COMPLETED', '', '', now() FROM generate_series(1, " +
      std::to_string(others) + ") n");
  for (std::uint32_t progress = 1; progress <= batches; ++progress) {
    std::vector<SagaUpdate> updates;
    for (const SagaStart& saga : sagas)
      updates.push_back(state(saga.saga_id, "ORDER_CREATED", "inventory.reserve", progress));
    REQUIRE(await(test.io, test.sagas->record(owner, updates)).value().empty());
  }
  CHECK(test.history(sagas.back().saga_id).size() == 1 + batches);

  // A session tells what it has read at its end.
  test.sagas.reset();
  for (const auto end = Clock::now() + std::chrono::seconds(10);
       test.text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                 " AND application_name = 'txcoord-log-sagas'") != "0";
       std::this_thread::sleep_for(std::chrono::milliseconds(5))) {
    if (Clock::now() > end) throw std::runtime_error("the saga log left a session");
  }
  const auto read_whole = test.text(
      "SELECT seq_tup_read FROM pg_stat_user_tables"
      " WHERE relname = 'saga_instances' AND schemaname = current_schema()");
  CHECK(std::stoi(read_whole) < others);
}

// I11.
TEST_CASE("record_fenced_by_a_raised_epoch_raises_and_writes_nothing") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const std::vector<SagaStart> starts = sagas_on("k", 2);
  test.begin(owner, starts);
  REQUIRE(await(test.io, test.log->raise_epoch("c1")).ok());
  const auto refused = await(test.io, test.sagas->record(owner, {order_created(starts[0].saga_id),
                                                                 completed(starts[1].saga_id)}));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().kind == FailureKind::fenced);
  CHECK_FALSE(refused.failure().outcome_unknown);
  for (const SagaStart& saga : starts) {
    CHECK(test.find(saga.saga_id).status == "STARTED");
    CHECK(test.history(saga.saga_id) == just_started);
  }
  CHECK(test.outcome("k1").value().pending);
  const auto trouble =
      await(test.io, test.sagas->note_trouble(owner, {{starts[0].saga_id, 1, {}, "x", true}}));
  REQUIRE_FALSE(trouble.ok());
  CHECK(trouble.failure().kind == FailureKind::fenced);
  CHECK_FALSE(test.find(starts[0].saga_id).stuck_since.has_value());
}

TEST_CASE("record_of_a_saga_of_another_owner_is_returned_and_not_written_and_the_rest_is") {
  SagaLogTest test;
  const SagaOwner one = test.owner("c1");
  const SagaOwner two = test.owner("c2");
  const SagaStart ours = test.begin(one, "ours");
  const SagaStart theirs = test.begin(two, "theirs");
  const std::string nobodys = uuid_v7();
  const auto not_ours = await(
      test.io, test.sagas->record(
                   one, {completed(theirs.saga_id), completed(ours.saga_id), completed(nobodys)}));
  CHECK(std::set(not_ours.value().begin(), not_ours.value().end()) ==
        std::set{theirs.saga_id, nobodys});
  CHECK(test.find(ours.saga_id).status == "COMPLETED");
  CHECK(test.find(theirs.saga_id).status == "STARTED");
  CHECK(test.history(theirs.saga_id) == just_started);
  CHECK(test.history(nobodys).empty());
  CHECK(test.outcome("ours").value().confirmed);
  CHECK(test.outcome("theirs").value().pending);
}

TEST_CASE("state_recorded_again_or_late_is_counted_as_recorded_and_changes_nothing") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const SagaStart saga = test.begin(owner, "k");
  const std::string& id = saga.saga_id;
  test.record(owner, order_created(id));
  test.record(owner, order_created(id));  // its acknowledgement was lost
  test.record(owner, stock_reserved(id));
  test.record(owner, order_created(id));  // it comes after a later one
  CHECK(test.find(id).status == "STOCK_RESERVED");
  test.record(owner, failed(id, "CARD_DECLINED", ""));
  test.record(owner, stock_reserved(id));
  test.record(owner, failed(id, "CARD_DECLINED", ""));
  SagaUpdate contradicting = completed(id);  // I10: what ended stays as it is
  contradicting.progress = 1000;
  test.record(owner, contradicting);

  CHECK(test.find(id).status == "FAILED");
  CHECK(test.find(id).payload.empty());
  CHECK_FALSE(test.outcome("k").value().confirmed);
  CHECK(test.history(id) == std::vector<std::string>{"STARTED order.create",
                                                     "ORDER_CREATED inventory.reserve",
                                                     "STOCK_RESERVED payment.charge", "FAILED "});
}

// The backend stops inside its COMMIT, its client is cut off at the deadline, and the commit lands
// while the record is being repeated.
TEST_CASE("record_that_lands_after_its_client_gave_up_is_found_by_the_repeated_one") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const SagaStart saga = test.begin(owner, "k");
  test.session()->exec_simple(
      "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      " PERFORM set_config('client_connection_check_interval', '0', true);"
      " PERFORM pg_sleep(0.3); RETURN NULL; END $$;"
      "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON saga_history"
      " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()");
  test.settings.engine.decide_ms_max = 200;
  auto hasty = test.make_saga_log();
  auto recording = start(test.io, hasty->record(owner, {completed(saga.saga_id)}));
  test.hand_over();
  Frozen frozen(test.database.wait_for("wait_event = 'PgSleep'"));
  const auto lost = finish(test.io, recording);
  REQUIRE_FALSE(lost.ok());
  CHECK(lost.failure().outcome_unknown);
  CHECK(test.find(saga.saga_id).status == "STARTED");  // who only reads would record it once more

  auto repeating = start(test.io, test.sagas->record(owner, {completed(saga.saga_id)}));
  test.hand_over();
  test.database.wait_for("wait_event_type = 'Lock' AND application_name = 'txcoord-log-sagas'");
  frozen.thaw();
  const auto repeated = finish(test.io, repeating);
  REQUIRE(repeated.ok());
  CHECK(repeated.value().empty());
  CHECK(test.history(saga.saga_id) ==
        std::vector<std::string>{"STARTED order.create", "COMPLETED "});
  CHECK(test.outcome("k").value().confirmed);
}

TEST_CASE("state_is_flushed_whatever_the_session_was_set_to") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  test.session()->exec_simple(
      "CREATE TABLE seen (what text, setting text);"
      "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      " INSERT INTO seen VALUES (NEW.status, current_setting('synchronous_commit')); RETURN NULL;"
      " END $$;"
      "CREATE CONSTRAINT TRIGGER note AFTER INSERT ON saga_history DEFERRABLE INITIALLY DEFERRED"
      " FOR EACH ROW EXECUTE FUNCTION note()");
  auto session = test.session();
  session->exec_simple("SET synchronous_commit = off");
  const SagaStart saga = saga_on("k");
  saga_sql::start(*session, owner, {saga});
  saga_sql::record(*session, owner, {order_created(saga.saga_id)});
  CHECK(test.text("SELECT string_agg(what || ' ' || setting, ', ' ORDER BY what) FROM seen") ==
        "ORDER_CREATED on, STARTED on");
}

TEST_CASE("trouble_is_shown_until_the_saga_moves_on_and_never_on_one_that_ended_or_is_foreign") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const SagaOwner other = test.owner("c2");
  const SagaStart saga = test.begin(owner, "k");
  const SagaStart foreign = test.begin(other, "f");
  const std::string& id = saga.saga_id;
  const UtcTime retry = now_utc() + 10s;
  const auto note = [&](std::vector<SagaTrouble> troubles) {
    REQUIRE(await(test.io, test.sagas->note_trouble(owner, std::move(troubles))).ok());
  };
  note({{id, 1, retry, "older", false},
        {id, 2, retry, "payment: timeout", false},
        {foreign.saga_id, 7, retry, "x", true}});
  CHECK(test.find(id).attempts == 2);
  CHECK(test.find(id).next_retry_at == retry);
  CHECK(test.find(id).last_error == "payment: timeout");
  CHECK_FALSE(test.find(id).stuck_since.has_value());
  CHECK(test.find(foreign.saga_id).attempts == 0);

  note({{id, 10, retry, "payment: timeout", true}});
  const auto since = test.find(id).stuck_since;
  REQUIRE(since.has_value());
  note({{id, 11, std::nullopt, "payment: timeout", true}});
  CHECK(test.find(id).stuck_since == since);
  CHECK_FALSE(test.find(id).next_retry_at.has_value());
  // A process that was started again counts from one: that helps nobody, and the log still says so.
  note({{id, 1, std::nullopt, "payment: timeout", false}});
  CHECK(test.find(id).stuck_since == since);
  CHECK(await(test.io, test.sagas->count_stuck()).value() == 1);
  CHECK(test.find(id).status == "STARTED");
  CHECK(test.history(id) == just_started);

  test.record(owner, order_created(id));
  CHECK(test.find(id).attempts == 0);
  CHECK(test.find(id).last_error.empty());
  CHECK_FALSE(test.find(id).stuck_since.has_value());
  CHECK(await(test.io, test.sagas->count_stuck()).value() == 0);
  test.record(owner, completed(id));
  note({{id, 3, retry, "late", true}});
  CHECK_FALSE(test.find(id).stuck_since.has_value());
}

TEST_CASE("trouble_waits_for_no_state_that_is_being_recorded") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const SagaStart moving = test.begin(owner, "moving");
  const SagaStart waiting = test.begin(owner, "waiting");
  auto recording = test.session();
  recording->exec_simple("BEGIN; UPDATE saga_instances SET progress = 1 WHERE saga_id = '" +
                         moving.saga_id + "'");
  REQUIRE(await(test.io, test.sagas->note_trouble(owner, {{moving.saga_id, 1, {}, "x", false},
                                                          {waiting.saga_id, 1, {}, "x", false}}))
              .ok());
  CHECK(test.find(moving.saga_id).attempts == 0);
  CHECK(test.find(waiting.saga_id).attempts == 1);
  recording->exec_simple("ROLLBACK");
}

TEST_CASE("states_before_the_end_are_changed_in_place_and_do_not_write_the_payload_again") {
  SagaLogTest test;
  const SagaOwner owner = test.owner("c1");
  const std::size_t payload_bytes = GENERATE(300U, 1500U, 3000U);
  CAPTURE(payload_bytes);
  auto session = test.session();
  for (int batch = 0; batch < 4; ++batch) {
    std::vector<SagaStart> starts = sagas_on("k" + std::to_string(batch) + "-", 100);
    for (SagaStart& saga : starts) saga.payload.assign(payload_bytes, 'x');
    saga_sql::start(*session, owner, starts);
    for (std::uint32_t progress = 1; progress <= 4; ++progress) {
      std::vector<SagaUpdate> updates;
      updates.reserve(starts.size());
      for (const SagaStart& saga : starts)
        updates.push_back(state(saga.saga_id, "STOCK_RESERVED", "payment.charge", progress));
      saga_sql::record(*session, owner, updates);
    }
  }
  session->exec_simple("SELECT pg_stat_force_next_flush()");
  session->exec_simple("SELECT 1");
  const auto counted = test.session()->exec_simple(
      "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'saga_instances'");
  CHECK(counted.at(0).at(0).as<int>() == 1600);
  CHECK(counted.at(0).at(1).as<int>() >= 1500);
  // Pieces of what does not fit into its row: two of each, from the start alone.
  CHECK(test.text("SELECT t.n_tup_ins FROM pg_stat_all_tables t JOIN pg_class c"
                  " ON c.reltoastrelid = t.relid WHERE c.relname = 'saga_instances'") ==
        (payload_bytes > 2000 ? "800" : "0"));
}
