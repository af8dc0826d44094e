// Adoption: whose owner is fenced gets a new one, exactly one, who goes on from what is durable.
#include "saga_log_support.hpp"

using namespace txcoord;
using namespace txcoord::test;

namespace {

std::vector<std::string> ids_of(const std::vector<SagaInstance>& instances) {
  std::vector<std::string> ids;
  for (const SagaInstance& saga : instances) ids.push_back(saga.saga_id);
  return ids;
}

// Adopts a few at a time until there are none.
asio::awaitable<std::vector<std::string>> adopt_all(SagaLog& log, SagaOwner owner) {
  std::vector<std::string> adopted;
  for (;;) {
    auto adopting = log.adopt(owner, 7);
    const auto some = co_await std::move(adopting);
    if (!some.ok() || some.value().empty()) co_return adopted;
    for (const SagaInstance& saga : some.value()) adopted.push_back(saga.saga_id);
  }
}

}  // namespace

TEST_CASE("unfinished_sagas_of_an_earlier_epoch_are_adopted_oldest_first_with_all_they_need") {
  SagaLogTest test;
  const SagaOwner before = test.owner("c1");
  std::vector<SagaStart> starts;
  for (const char* key : {"a", "b", "c", "ended"}) starts.push_back(test.begin(before, key));
  SagaUpdate turned = state(starts[1].saga_id, "COMPENSATION_STARTED", "order.create", 10);
  turned.reason = "CARD_DECLINED";
  test.record(before, turned);
  test.record(before, completed(starts[3].saga_id));

  const SagaOwner now = test.owner("c1");
  const auto first = await(test.io, test.sagas->adopt(now, 2)).value();
  CHECK(ids_of(first) == std::vector{starts[0].saga_id, starts[1].saga_id});
  CHECK(first[1].status == "COMPENSATION_STARTED");
  CHECK(first[1].current_step == "order.create");
  CHECK(first[1].reason == "CARD_DECLINED");
  CHECK(first[1].payload == starts[1].payload);
  CHECK(first[1].type == "place_order");
  CHECK(first[1].order_id == starts[1].operation->order_id);
  CHECK(first[1].coordinator == "c1");
  CHECK(ids_of(await(test.io, test.sagas->adopt(now, 2)).value()) ==
        std::vector{starts[2].saga_id});
  CHECK(await(test.io, test.sagas->adopt(now, 2)).value().empty());
  // Ours from then on.
  test.record(now, failed(starts[1].saga_id, "CARD_DECLINED", ""));
  CHECK(test.find(starts[1].saga_id).status == "FAILED");
}

TEST_CASE("sagas_of_a_live_coordinator_are_left_alone_and_adopted_after_it_was_taken_over") {
  SagaLogTest test;
  const SagaOwner silent = test.owner("c1");
  const SagaOwner other = test.owner("c2");
  const SagaStart saga = test.begin(silent, "k");
  CHECK(await(test.io, test.sagas->owners()).value() == std::vector<std::string>{"c1"});
  CHECK(await(test.io, test.sagas->adopt(other, 10)).value().empty());

  REQUIRE(await(test.io, test.log->end_lease("c1")).ok());
  REQUIRE(test.take_over(*test.log, {"c1"}).size() == 1);
  CHECK(ids_of(await(test.io, test.sagas->adopt(other, 10)).value()) == std::vector{saga.saga_id});
  CHECK(test.find(saga.saga_id).coordinator == "c2");
  CHECK(await(test.io, test.sagas->owners()).value() == std::vector<std::string>{"c2"});

  // I11: the old owner comes back.
  const auto late = await(test.io, test.sagas->record(silent, {completed(saga.saga_id)}));
  REQUIRE_FALSE(late.ok());
  CHECK(late.failure().kind == FailureKind::fenced);
  CHECK(test.history(saga.saga_id) == just_started);
  // And its next incarnation is told whose the saga is.
  const SagaOwner again = test.owner("c1");
  CHECK(await(test.io, test.sagas->adopt(again, 10)).value().empty());
  CHECK(await(test.io, test.sagas->record(again, {completed(saga.saga_id)})).value() ==
        std::vector{saga.saga_id});
  test.record(other, completed(saga.saga_id));
  CHECK(await(test.io, test.sagas->owners()).value().empty());
}

TEST_CASE("two_that_adopt_at_once_never_both_get_one_and_together_get_all") {
  SagaLogTest test;
  auto other = test.make_saga_log();
  const SagaOwner before = test.owner("c1");
  const std::vector<SagaStart> starts = sagas_on("k", 300);
  test.begin(before, starts);
  REQUIRE(await(test.io, test.log->raise_epoch("c1")).ok());
  const SagaOwner two = test.owner("c2");
  const SagaOwner three = test.owner("c3");
  std::vector<std::shared_ptr<Running<std::vector<std::string>>>> adopting;
  for (int i = 0; i < 4; ++i)
    adopting.push_back(
        start(test.io, i % 2 == 0 ? adopt_all(*test.sagas, two) : adopt_all(*other, three)));
  std::multiset<std::string> adopted;
  for (const auto& one : adopting)
    for (const std::string& id : finish(test.io, one)) adopted.insert(id);
  // Who finds all that is left locked by another stops early: adopt() is repeated on a timer.
  for (const std::string& id : await(test.io, adopt_all(*test.sagas, two))) adopted.insert(id);
  std::multiset<std::string> all;
  for (const SagaStart& saga : starts) all.insert(saga.saga_id);
  CHECK(adopted == all);
}

TEST_CASE("saga_locked_by_another_that_adopts_is_skipped_at_once") {
  SagaLogTest test;
  const SagaOwner before = test.owner("c1");
  const SagaStart locked = test.begin(before, "locked");
  const SagaStart open = test.begin(before, "open");
  const SagaOwner now = test.owner("c1");
  auto other = test.session();
  other->exec_simple("BEGIN; SELECT 1 FROM saga_instances WHERE saga_id = '" + locked.saga_id +
                     "' FOR UPDATE");
  CHECK(ids_of(await(test.io, test.sagas->adopt(now, 10)).value()) == std::vector{open.saga_id});
  other->exec_simple("COMMIT");
  CHECK(ids_of(await(test.io, test.sagas->adopt(now, 10)).value()) == std::vector{locked.saga_id});
}

TEST_CASE("adoption_by_a_fenced_owner_raises_and_takes_nothing") {
  SagaLogTest test;
  const SagaOwner before = test.owner("c1");
  const SagaStart saga = test.begin(before, "k");
  const SagaOwner fenced = test.owner("c1");
  REQUIRE(await(test.io, test.log->raise_epoch("c1")).ok());
  const auto refused = await(test.io, test.sagas->adopt(fenced, 10));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().kind == FailureKind::fenced);
  CHECK(test.text("SELECT epoch FROM saga_instances") == std::to_string(before.epoch));
}

// The epoch is raised while a state is being committed: the raise waits, so that whoever adopts
// finds the state, and not the one before it.
TEST_CASE("state_in_flight_is_durable_before_its_saga_can_be_adopted") {
  SagaLogTest test;
  const SagaOwner before = test.owner("c1");
  const SagaStart saga = test.begin(before, "k");
  test.session()->exec_simple(
      "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      " PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$;"
      "CREATE TRIGGER wait AFTER INSERT ON saga_history FOR EACH ROW EXECUTE FUNCTION wait()");
  auto gate = test.session();
  gate->exec_simple("SELECT pg_advisory_lock(4711)");
  auto recording = start(test.io, test.sagas->record(before, {order_created(saga.saga_id)}));
  test.hand_over();
  test.database.wait_for("wait_event = 'advisory'");
  auto raising = start(test.io, test.log->raise_epoch("c1"));
  test.hand_over();
  test.database.wait_for("wait_event_type = 'Lock' AND application_name = 'txcoord-log-side'");
  CHECK_FALSE(raising->done());
  gate->exec_simple("SELECT pg_advisory_unlock(4711)");
  CHECK(finish(test.io, recording).value().empty());
  const SagaOwner now{"c1", finish(test.io, raising).value()};
  const auto adopted = await(test.io, test.sagas->adopt(now, 10)).value();
  REQUIRE(adopted.size() == 1);
  CHECK(adopted[0].status == "ORDER_CREATED");
  CHECK(adopted[0].current_step == "inventory.reserve");
}
