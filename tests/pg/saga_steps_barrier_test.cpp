// The barrier of a saga's steps on a real server, through inventory: once, never after its
// compensation, whoever repeats and whoever dies.
#include <algorithm>
#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>
#include <map>
#include <random>

#include "participants/faulty_participant.hpp"
#include "tests/pg/gate.hpp"
#include "tests/pg/saga_steps_inventory_rig.hpp"

namespace txcoord {
namespace {

using test::barrier;
using test::Gate;
using test::InventoryStepRig;
using test::TestSaga;

TEST_CASE("saga step: repeated, it is answered the same and done once", "[saga_steps][I8]") {
  InventoryStepRig rig;
  const TestSaga saga = rig.saga(3);
  for (int i = 0; i < 3; ++i) CHECK(rig.reserve(saga).status == StepStatus::done);
  CHECK(rig.quantities() == "97 3 0");
  CHECK(barrier(rig.database, saga, "reserve") == "done");
  for (int i = 0; i < 3; ++i) CHECK(rig.release(saga).status == StepStatus::done);
  CHECK(rig.quantities() == "100 0 0");
  CHECK(rig.reserve(saga).status == StepStatus::done);  // by the first try, and not again
  CHECK(rig.quantities() == "100 0 0");
  CHECK(rig.database.value("SELECT string_agg(type, ' ' ORDER BY event_id) FROM events") ==
        "StockReserved StockReleased");
  rig.check_conserved();
}

TEST_CASE("saga step: a refusal keeps its reason though the stock came meanwhile",
          "[saga_steps][I10]") {
  InventoryStepRig rig(2);
  const TestSaga saga = rig.saga(3);
  const StepReply first = rig.reserve(saga);
  CHECK(first.status == StepStatus::refused);
  CHECK(first.reason == "OUT_OF_STOCK");
  rig.stock("a", 50);
  const StepReply again = rig.reserve(saga);
  CHECK(again.status == StepStatus::refused);
  CHECK(again.reason == first.reason);
  CHECK(again.detail == first.detail);
  CHECK(rig.release(saga).status == StepStatus::done);  // it did nothing: nothing to undo
  CHECK(barrier(rig.database, saga, "reserve") == "refused");
  CHECK(rig.quantities() == "50 0 0");
}

TEST_CASE("saga step: a step that arrives after its compensation does nothing",
          "[saga_steps][I8]") {
  InventoryStepRig rig;
  const TestSaga saga = rig.saga(3);
  CHECK(rig.release(saga).status == StepStatus::done);
  CHECK(barrier(rig.database, saga, "reserve") == "skipped");
  for (int i = 0; i < 2; ++i) {
    CHECK(rig.reserve(saga).status == StepStatus::barred);
    CHECK(rig.release(saga).status == StepStatus::done);
  }
  CHECK(rig.quantities() == "100 0 0");
  CHECK(rig.database.value("SELECT count(*) FROM reservations") == "0");
}

TEST_CASE("saga step: rows that are to come are waited for, and nothing is recorded",
          "[saga_steps][I9]") {
  InventoryStepRig rig;
  const auto order = test::place_order({{"a", 2, 100, ""}});
  const auto gid = rig.branch.prepared({order});  // decided, say, and not applied yet
  const TestSaga cancel = test::saga_of(*order);
  const auto release = [&] {
    return rig.steps.run_one("release", cancel.call(OperationKind::cancel)).status;
  };
  CHECK(release() == StepStatus::retry);
  CHECK(rig.rows() == "0");
  REQUIRE(rig.branch.commit(gid).ok());
  CHECK(release() == StepStatus::done);
  CHECK(rig.quantities() == "100 0 0");
}

TEST_CASE("saga step: of a batch of fifty, the three that find too little are refused",
          "[saga_steps][I8]") {
  InventoryStepRig rig(94);
  StepRequest request{.step = "reserve"};
  std::vector<TestSaga> sagas;
  for (int i = 0; i < 50; ++i) {
    sagas.push_back(rig.saga(2));
    request.calls.push_back(sagas.back().call(OperationKind::place));
  }
  const auto replies = rig.steps.run(request);
  for (std::size_t i = 0; i < sagas.size(); ++i) {
    CHECK(replies[i].status == (i < 47 ? StepStatus::done : StepStatus::refused));
    CHECK(barrier(rig.database, sagas[i], "reserve") == (i < 47 ? "done" : "refused"));
  }
  CHECK(replies[49].reason == "OUT_OF_STOCK");
  CHECK(rig.quantities() == "0 94 0");
  // The same batch again, and one that is new in the middle of it.
  rig.stock("a", 2);
  request.calls.insert(request.calls.begin() + 25, rig.saga(2).call(OperationKind::place));
  const auto again = rig.steps.run(request);
  CHECK(again[25].status == StepStatus::done);
  CHECK(again[50].status == StepStatus::refused);
  CHECK(rig.quantities() == "0 96 0");
  rig.check_conserved();
}

TEST_CASE("saga step: a poison call fails its batch and leaves nothing, its neighbours alone pass",
          "[saga_steps]") {
  InventoryStepRig rig;
  const TestSaga good = rig.saga();
  auto bad = *rig.saga().operation;
  bad.place.items[0].reservation_id = "not a uuid";
  const StepCall poison = test::saga_of(bad).call(OperationKind::place);
  const auto replies =
      rig.steps.try_run({.step = "reserve", .calls = {good.call(OperationKind::place), poison}});
  REQUIRE_FALSE(replies.ok());
  CHECK(replies.failure().kind == FailureKind::poison);
  CHECK_FALSE(replies.failure().outcome_unknown);
  CHECK(rig.rows() == "0");
  CHECK(rig.quantities() == "100 0 0");
  CHECK(rig.reserve(good).status == StepStatus::done);
}

// A session that has claimed a saga's step and not ended.
struct Twin {
  std::unique_ptr<pg::Session> session;
  Twin(test::ServiceDatabase& database, const TestSaga& saga)
      : session(test::connect(database.dsn())) {
    session->exec_simple("BEGIN; INSERT INTO txc_saga_steps VALUES ('" + saga.id +
                         "', 'reserve', 'done')");
  }
};

// How soon a claim's wait ends is not what is looked at here, and a busy machine would be too slow
// for it: see held_rows_test.cpp.
void let_claims_wait(test::ServiceDatabase& database) {
  database.run(
      "CREATE FUNCTION let_wait() RETURNS trigger LANGUAGE plpgsql AS "
      "$$ BEGIN PERFORM set_config('lock_timeout', '3s', true); RETURN NULL; END $$;"
      "CREATE TRIGGER let_wait BEFORE INSERT ON txc_saga_steps "
      "FOR EACH STATEMENT EXECUTE FUNCTION let_wait()");
}

TEST_CASE("saga step: an earlier try in flight is waited for, and its commit is the answer",
          "[saga_steps][I8]") {
  InventoryStepRig rig;
  const TestSaga saga = rig.saga();
  let_claims_wait(rig.database);
  Twin twin(rig.database, saga);
  const auto running =
      rig.steps.start({.step = "reserve", .calls = {saga.call(OperationKind::place)}});
  test::drive(rig.io, std::chrono::milliseconds(50));
  rig.database.server().wait_for("wait_event_type = 'Lock'");
  CHECK_FALSE(running->done());
  twin.session->exec_simple("COMMIT");
  CHECK(test::finish(rig.io, running).value().at(0).status == StepStatus::done);
  CHECK(rig.quantities() == "100 0 0");  // the twin's work was its own
}

TEST_CASE("saga step: an earlier try that is killed leaves the step to the later one",
          "[saga_steps][I8]") {
  InventoryStepRig rig;
  const TestSaga saga = rig.saga();
  let_claims_wait(rig.database);
  Twin twin(rig.database, saga);
  const auto running =
      rig.steps.start({.step = "reserve", .calls = {saga.call(OperationKind::place)}});
  test::drive(rig.io, std::chrono::milliseconds(50));
  rig.database.server().wait_for("wait_event_type = 'Lock'");
  rig.database.server().terminate(twin.session->backend_pid());
  CHECK(test::finish(rig.io, running).value().at(0).status == StepStatus::done);
  CHECK(rig.quantities() == "99 1 0");
}

TEST_CASE("saga step: a compensation waits for its step in flight, and undoes what it did",
          "[saga_steps][I8]") {
  InventoryStepRig rig;
  const TestSaga saga = rig.saga(5);
  // Else the step's first COMMIT is refused, and the release may come before its second try.
  const FenceOwner owner = fence_owner(test::gid_number(1));
  REQUIRE(test::await(rig.io, rig.parts.participant->raise_fence(owner, "")).value() == owner);
  let_claims_wait(rig.database);
  Gate gate(rig.database, "reservations", Gate::At::work);
  const auto reserving =
      rig.steps.start({.step = "reserve", .calls = {saga.call(OperationKind::place)}});
  gate.reached(rig.io);
  const auto releasing = rig.steps.start(
      {.step = "release", .undoes = "reserve", .calls = {saga.call(OperationKind::cancel)}});
  test::drive_until(rig.io, rig.database, "wait_event_type = 'Lock'");
  CHECK_FALSE(reserving->done());
  CHECK_FALSE(releasing->done());
  gate.open();
  CHECK(test::finish(rig.io, reserving).value().at(0).status == StepStatus::done);
  CHECK(test::finish(rig.io, releasing).value().at(0).status == StepStatus::done);
  CHECK(rig.quantities() == "100 0 0");
  CHECK(rig.database.value("SELECT status FROM reservations") == "RELEASED");
}

TEST_CASE("saga step: a backend that dies before COMMIT did nothing, and that is known",
          "[saga_steps]") {
  InventoryStepRig rig;
  const TestSaga saga = rig.saga();
  Gate gate(rig.database, "reservations", Gate::At::work);
  const auto running =
      rig.steps.start({.step = "reserve", .calls = {saga.call(OperationKind::place)}});
  rig.database.server().terminate(gate.reached(rig.io));
  const auto replies = test::finish(rig.io, running);
  REQUIRE_FALSE(replies.ok());
  CHECK(replies.failure().kind == FailureKind::unavailable);
  CHECK_FALSE(replies.failure().outcome_unknown);
  CHECK(rig.rows() == "0");
}

TEST_CASE("saga step: a COMMIT that is not answered leaves the outcome unknown, either way",
          "[saga_steps][I8]") {
  InventoryStepRig rig;
  Gate gate(rig.database, "txc_saga_steps", Gate::At::commit);
  const TestSaga saga = rig.saga();
  const auto running =
      rig.steps.start({.step = "reserve", .calls = {saga.call(OperationKind::place)}});
  rig.database.server().terminate(gate.reached(rig.io));
  const auto replies = test::finish(rig.io, running);
  REQUIRE_FALSE(replies.ok());
  CHECK(replies.failure().outcome_unknown);
  gate.open();
  CHECK(rig.reserve(saga).status == StepStatus::done);
  CHECK(rig.quantities() == "99 1 0");
}

TEST_CASE("saga step: what the engine must never ask for is refused before anything is sent",
          "[saga_steps]") {
  InventoryStepRig rig;
  const TestSaga one = rig.saga(), other = rig.saga();
  const std::vector<StepRequest> wrong{
      {.step = "reserve",
       .calls = {one.call(OperationKind::place), one.call(OperationKind::place)}},
      {.step = "reserve",
       .calls = {one.call(OperationKind::place), other.call(OperationKind::cancel)}},
      {.step = "confirm", .calls = {one.call(OperationKind::confirm)}}};
  for (const StepRequest& request : wrong) {
    const auto replies = rig.steps.try_run(request);
    REQUIRE_FALSE(replies.ok());
    CHECK(replies.failure().kind == FailureKind::error);
    CHECK_FALSE(replies.failure().outcome_unknown);
  }
  CHECK(rig.rows() == "0");
  CHECK(rig.steps.run({.step = "reserve"}).empty());
}

TEST_CASE(
    "saga step: a refusal on demand goes through the barrier and denies nothing that was done",
    "[saga_steps][I8]") {
  InventoryStepRig rig;
  const TestSaga done = rig.saga(), fresh = rig.saga();
  CHECK(rig.reserve(done).status == StepStatus::done);
  StepRequest request{.step = "reserve"};
  for (const TestSaga& saga : {done, fresh}) {
    request.calls.push_back(saga.call(OperationKind::place));
    request.calls.back().refuse_as = "OUT_OF_STOCK";
  }
  const auto replies = rig.steps.run(request);
  CHECK(replies[0].status == StepStatus::done);
  CHECK(replies[1].status == StepStatus::refused);
  CHECK(replies[1].reason == "OUT_OF_STOCK");
  CHECK(rig.reserve(fresh).reason == "OUT_OF_STOCK");
  CHECK(rig.quantities() == "99 1 0");
}

TEST_CASE("saga step: a lost answer is a step that is done; tried again under a fault, done it is",
          "[saga_steps][faults][I8]") {
  InventoryStepRig rig;
  FaultyParticipant faulty(*rig.parts.participant, 1);
  test::StepDriver steps(rig.io, faulty);
  const TestSaga saga = rig.saga();
  faulty.set(ParticipantFaults{1, {}, FaultMode::lost_answer});
  const auto lost = steps.try_run({.step = "reserve", .calls = {saga.call(OperationKind::place)}});
  REQUIRE_FALSE(lost.ok());
  CHECK(lost.failure().outcome_unknown);
  faulty.set(ParticipantFaults{1, {}, FaultMode::refuse});
  CHECK(steps.run_one("reserve", saga.call(OperationKind::place)).status == StepStatus::done);
  CHECK(steps.run_one("reserve", rig.saga().call(OperationKind::place)).reason == "OUT_OF_STOCK");
  CHECK(rig.quantities() == "99 1 0");
}

TEST_CASE("saga step: a compensation that cannot be done is refused, and asked again",
          "[saga_steps][I8]") {
  InventoryStepRig rig;
  const TestSaga saga = rig.saga();
  CHECK(rig.reserve(saga).status == StepStatus::done);
  rig.database.run("UPDATE reservations SET status = 'SHIPPED'");
  CHECK(rig.release(saga).reason == "ILLEGAL_STATE");
  CHECK(barrier(rig.database, saga, "release").empty());
  rig.database.run("UPDATE reservations SET status = 'RESERVED'");  // a person put it right
  CHECK(rig.release(saga).status == StepStatus::done);
  CHECK(rig.quantities() == "100 0 0");
}

TEST_CASE("saga step: a step that must succeed is refused, and asked again", "[saga_steps][I8]") {
  InventoryStepRig rig;
  const auto order = test::place_order({{"a", 2, 100, ""}});
  rig.branch.committed({order});
  rig.database.run("UPDATE reservations SET status = 'SHIPPED'");
  const TestSaga saga = test::saga_of(*order);
  StepRequest request{.step = "release", .must_succeed = true};
  request.calls.push_back(saga.call(OperationKind::cancel));
  CHECK(rig.steps.run(request)[0].reason == "ILLEGAL_STATE");
  CHECK(barrier(rig.database, saga, "release").empty());
  rig.database.run("UPDATE reservations SET status = 'RESERVED'");  // a person put it right
  CHECK(rig.steps.run(request)[0].status == StepStatus::done);
  CHECK(rig.quantities() == "100 0 0");
}

TEST_CASE("saga step: trimming forgets the sagas that are named, and no others", "[saga_steps]") {
  InventoryStepRig rig;
  const TestSaga ended = rig.saga(), running = rig.saga();
  rig.reserve(ended);
  rig.release(ended);
  rig.reserve(running);
  REQUIRE(
      test::await(rig.io, rig.parts.participant->trim_steps({ended.id, uuid_v7()}, std::nullopt))
          .ok());
  REQUIRE(test::await(rig.io, rig.parts.participant->trim_steps({}, std::nullopt)).ok());
  CHECK(rig.rows() == "1");
  CHECK(barrier(rig.database, running, "reserve") == "done");
}

TEST_CASE("saga step: random batches of steps and compensations, repeated at will, keep the stock",
          "[saga_steps][I6][I8]") {
  InventoryStepRig rig(40);
  rig.stock("b", 40);
  const auto seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto upto = [&](std::size_t most) {
    return std::uniform_int_distribution<std::size_t>(0, most)(random);
  };
  std::vector<TestSaga> sagas;
  sagas.reserve(40);
  for (int i = 0; i < 40; ++i) {
    sagas.push_back(rig.saga(1 + static_cast<std::int64_t>(upto(3)), upto(1) == 0 ? "a" : "b"));
  }
  std::map<std::size_t, StepReply> answers;  // the first of each saga's step
  std::map<std::size_t, bool> undone;
  for (int round = 0; round < 60; ++round) {
    const bool undo = upto(2) == 0;
    StepRequest request{.step = undo ? "release" : "reserve", .undoes = undo ? "reserve" : ""};
    std::vector<std::size_t> who;
    for (std::size_t i = 0; i < sagas.size(); ++i) {
      if (upto(7) == 0) who.push_back(i);
    }
    std::shuffle(who.begin(), who.end(), random);
    for (const std::size_t i : who) {
      request.calls.push_back(sagas[i].call(undo ? OperationKind::cancel : OperationKind::place));
    }
    const auto replies = rig.steps.run(request);
    REQUIRE(replies.size() == who.size());
    for (std::size_t k = 0; k < who.size(); ++k) {
      if (undo) {
        CHECK(replies[k].status == StepStatus::done);
        undone[who[k]] = true;
      } else if (answers.contains(who[k])) {
        CHECK(replies[k].status == answers[who[k]].status);
      } else {
        CHECK((replies[k].status == StepStatus::barred) == undone.contains(who[k]));
        answers[who[k]] = replies[k];
      }
    }
    rig.check_conserved();
  }
  for (std::size_t i = 0; i < sagas.size(); ++i) {
    const bool holds = answers.contains(i) && answers[i].status == StepStatus::done;
    CHECK(rig.database.value("SELECT count(*) FROM reservations WHERE status = 'RESERVED' AND "
                             "order_id = '" +
                             sagas[i].operation->order_id + "'") ==
          (holds && !undone.contains(i) ? "1" : "0"));
  }
}

}  // namespace
}  // namespace txcoord
