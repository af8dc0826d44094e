// What the log says is ours and nobody here runs is found and taken up, and an outcome that is
// unknown stays so whatever later tries say.
#include <catch2/catch_test_macros.hpp>

#include "tests/unit/coordinator_rig.hpp"
#include "txcoord/log/saga_payload.hpp"

using namespace txcoord;
using namespace txcoord::engine;
using namespace txcoord::testing;

namespace {

const SubmitOptions as_saga{.protocol = Protocol::saga};
const SubmitOptions accept_saga{.protocol = Protocol::saga, .accept_now = true};
const Failure lost = unavailable(true);

std::string order_id_of(char last) {
  return std::string("0190a000-0000-7000-8000-00000000000") + last;
}

std::shared_ptr<Operation> order(Rig& rig, char key) {
  auto operation = rig.operation(std::string("key-") + key);
  operation->order_id = order_id_of(key);
  operation->place.customer_id = "customer-001";
  operation->place.items = {{"book-123", 1, 3500, order_id_of('f')}};
  operation->place.total_amount = 3500;
  operation->place.payment_id = order_id_of('d');
  operation->place.shipment_id = order_id_of('e');
  operation->answer = "{}";
  return operation;
}

// A row that nobody here runs, as an unacknowledged adoption of ours leaves it.
FakeSagaLog::Row& put_row(Rig& rig, char key, const SagaOwner& owner) {
  auto operation = order(rig, key);
  auto row = FakeSagaLog::row_of(owner, {order_id_of(key), "place_order", "order.create",
                                         to_payload(*operation), operation, true});
  return rig.saga_log.rows[order_id_of(key)] = row;
}

FakeSagaLog::Row& only_row(Rig& rig) {
  REQUIRE(rig.saga_log.rows.size() == 1);
  return rig.saga_log.rows.begin()->second;
}

bool completed(const FakeSagaLog::Row& row) { return row.instance.status == "COMPLETED"; }

std::uint64_t epoch_of(Rig& rig) { return rig.log.epochs.at("c1").epoch; }

// So many more looks into the log have come to their end.
void look(Rig& rig, std::size_t times) {
  const auto looks = [&] { return count(rig.script.trace, "sagas.unfinished_of done"); };
  const std::size_t before = looks();
  REQUIRE(rig.run_until([&] { return looks() >= before + times; }));
}

asio::awaitable<void> ask_state(Coordinator& coordinator, protocol::Gid gid,
                                std::optional<GlobalState>& state) {
  std::vector<protocol::Gid> gids{gid};
  auto asking = coordinator.global_states(std::move(gids));
  const auto states = co_await std::move(asking);
  state = states.value().at(0);
}

asio::awaitable<void> switch_on(Coordinator& coordinator, std::optional<bool>& switched) {
  auto switching = coordinator.set_degraded("payment", true);
  const auto done = co_await std::move(switching);
  switched = done.ok();
}

bool shows_stuck(const Rig& rig, int sagas) {
  const std::string line = "\ntxcoord_sagas_stuck " + std::to_string(sagas) + "\n";
  return rig.metrics.serialize().find(line) != std::string::npos;
}

}  // namespace

// --- taking up ---------------------------------------------------------------------------------

TEST_CASE("I8: an adoption whose answer was lost leaves rows of ours, which are taken up and run") {
  Rig rig;
  rig.script.fail("sagas.adopt", lost);
  auto& row = put_row(rig, 'a', {"other", 1});
  rig.saga_log.epochs["other"] = 2;
  REQUIRE(rig.run_until([&] { return completed(row); }));
  CHECK(row.instance.coordinator == "c1");
  CHECK(count(rig.script.trace, "sagas.take_up") == 1);
  CHECK(rig.payment.done.size() == 1);
}

TEST_CASE("I8: a start that stands, and whose next try certainly fails, is run all the same") {
  Rig rig;
  rig.script.fail("sagas.start", lost);
  rig.script.fail("sagas.start", of_kind(FailureKind::error));
  const auto result = rig.submit(order(rig, 'a'), as_saga);
  CHECK(result.status == SubmitStatus::unknown);  // not "nothing was done"
  CHECK(result.transaction_id == only_row(rig).instance.saga_id);
  REQUIRE(rig.run_until([&] { return completed(only_row(rig)); }));
  CHECK(rig.payment.done.size() == 1);
  CHECK(rig.submit(order(rig, 'a'), as_saga).status == SubmitStatus::replayed);
}

TEST_CASE("a start that may stand is repeated through an outage, and its client gets the outcome") {
  Rig rig;
  rig.script.fail("sagas.start", lost);
  rig.script.fail("sagas.start", unavailable());  // certain, of this try
  rig.script.fail("sagas.start", unavailable());
  CHECK(rig.submit(order(rig, 'a'), as_saga).status == SubmitStatus::confirmed);
  CHECK(count(rig.script.trace, "sagas.start") == 4);
}

TEST_CASE("a start that every try certainly refused is answered: nothing was done") {
  Rig rig;
  rig.script.fail("sagas.start", unavailable());
  CHECK(rig.submit(order(rig, 'a'), as_saga).status == SubmitStatus::unavailable);
  CHECK(rig.saga_log.rows.empty());
}

TEST_CASE("a start that nobody acknowledges for long is left to the look into the log") {
  Rig rig;
  for (int i = 0; i < 10; ++i) rig.script.fail("sagas.start", lost);
  const auto result = rig.submit(order(rig, 'a'), accept_saga);
  CHECK(result.status == SubmitStatus::unknown);
  REQUIRE(rig.run_until([&] { return completed(only_row(rig)); }));
  CHECK(count(rig.script.trace, "sagas.start") == 10);
}

TEST_CASE("starts that fail together are tried one by one: one of them fails alone") {
  Rig rig;
  rig.script.hold("sagas.start");
  std::vector<std::shared_ptr<std::optional<SubmitResult>>> results;
  for (const char key : {'1', '2', '3', '4'})
    results.push_back(rig.start(order(rig, key), as_saga));
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "sagas.start") == 1; }));
  // The first goes alone, the other three in one batch: it fails, and of them one once more.
  rig.script.fail("sagas.start", of_kind(FailureKind::lock_timeout));
  rig.script.fail("sagas.start", of_kind(FailureKind::lock_timeout));
  rig.script.fail("sagas.start", of_kind(FailureKind::lock_timeout));
  rig.script.let_go("sagas.start");
  std::map<SubmitStatus, int> seen;
  for (const auto& result : results) {
    REQUIRE(rig.run_until([&] { return result->has_value(); }));
    ++seen[(*result)->status];
  }
  CHECK(seen[SubmitStatus::unavailable] == 2);  // the first, and one of the three
  CHECK(seen[SubmitStatus::confirmed] == 2);
}

TEST_CASE("a saga that is at work, or ended while the log was read, is never taken up") {
  Rig rig;
  rig.script.hold("payment.charge");
  const auto result = rig.start(order(rig, 'a'), as_saga);
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "payment.charge") == 1; }));
  look(rig, 2);
  // What is read now says that it is unfinished; it ends before the answer is there.
  rig.script.hold("sagas.unfinished_of");
  const std::size_t looks = count(rig.script.trace, "sagas.unfinished_of");
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "sagas.unfinished_of") > looks; }));
  rig.script.let_go("payment.charge");
  REQUIRE(rig.run_until([&] { return result->has_value(); }));
  CHECK((*result)->status == SubmitStatus::confirmed);
  rig.script.let_go("sagas.unfinished_of");
  look(rig, 2);
  CHECK(count(rig.script.trace, "sagas.take_up") == 0);
  CHECK(rig.payment.done.size() == 1);
}

TEST_CASE("a saga of ours that ended between the two readings is left alone") {
  Rig rig;
  rig.script.hold("sagas.take_up");
  auto& row = put_row(rig, 'a', {"c1", epoch_of(rig)});
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "sagas.take_up") == 1; }));
  row.instance.status = "COMPLETED";
  row.instance.ended_at = row.instance.updated_at;
  rig.script.let_go("sagas.take_up");
  look(rig, 2);
  CHECK(rig.order.done.empty());
}

TEST_CASE("what is beyond running_max is taken up in later rounds, and all of it comes to an end") {
  auto settings = quick_settings();
  settings.saga.running_max = 2;
  Rig rig(settings);
  for (const char key : {'1', '2', '3', '4', '5', '6', '7'})
    put_row(rig, key, {"c1", epoch_of(rig)});
  REQUIRE(rig.run_until([&] {
    return std::ranges::all_of(rig.saga_log.rows,
                               [](const auto& row) { return completed(row.second); });
  }));
  CHECK(rig.payment.done.size() == 7);
  CHECK(rig.payment.largest_step <= 2);
}

TEST_CASE("a stopping coordinator takes nothing up") {
  Rig rig;
  rig.script.hold("sagas.take_up");
  put_row(rig, 'a', {"c1", epoch_of(rig)});
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "sagas.take_up") == 1; }));
  bool drained = false;
  asio::co_spawn(rig.context, rig.coordinator.drain(milliseconds(1000)),
                 [&](const std::exception_ptr&) { drained = true; });
  REQUIRE(rig.run_until([&] { return drained; }));
  rig.script.let_go("sagas.take_up");
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "sagas.take_up done") == 1; }));
  CHECK(rig.order.done.empty());
}

TEST_CASE("a decision of our own epoch that nobody here runs is finished") {
  Rig rig;
  Decision decision;
  decision.gid = {"0a1b2c3d", "c1", epoch_of(rig), "0123abcd", 7};
  decision.participants = {"order", "payment"};
  rig.log.decided.emplace(decision.gid, decision);
  rig.order.prepared.insert(decision.gid);
  rig.payment.witnesses.insert(decision.gid);
  REQUIRE(rig.run_until([&] { return rig.log.decided.at(decision.gid).complete; }));
  CHECK(rig.order.prepared.empty());
  CHECK(rig.log.heuristics.empty());
}

// --- one that fails ----------------------------------------------------------------------------

TEST_CASE("a row that cannot be adopted keeps no other from it, and is shown as stuck") {
  Rig rig;
  rig.saga_log.refuses = order_id_of('1');
  rig.saga_log.epochs["other"] = 2;
  auto& poison = put_row(rig, '1', {"other", 1});
  auto& good = put_row(rig, '2', {"other", 1});
  REQUIRE(rig.run_until([&] { return completed(good); }));
  CHECK(poison.instance.status == "STARTED");
  CHECK(shows_stuck(rig, 1));
}

TEST_CASE("what the log calls stuck is counted, whoever ran it last, until it moves on") {
  Rig rig;
  rig.saga_log.epochs["other"] = 1;  // it lives, and its saga is not ours
  auto& row = put_row(rig, '1', {"other", 1});
  row.instance.stuck_since = now_utc();
  CHECK(rig.run_until([&] { return shows_stuck(rig, 1); }));
  row.instance.stuck_since.reset();
  CHECK(rig.run_until([&] { return shows_stuck(rig, 0); }));
}

TEST_CASE("a state that the log refuses is split off, shown as stuck, and tried on") {
  Rig rig;
  rig.script.hold("sagas.record");
  std::vector<std::shared_ptr<std::optional<SubmitResult>>> results;
  for (const char key : {'1', '2', '3', '4'})
    results.push_back(rig.start(order(rig, key), as_saga));
  REQUIRE(rig.run_until([&] { return rig.saga_log.rows.size() == 4; }));
  const auto poison = std::ranges::find_if(rig.saga_log.rows, [](const auto& row) {
    return row.second.instance.order_id == order_id_of('3');
  });
  rig.saga_log.refuses = poison->first;
  rig.script.let_go("sagas.record");
  for (const std::size_t good : {0U, 1U, 3U}) {
    REQUIRE(rig.run_until([&] { return results[good]->has_value(); }));
    CHECK((*results[good])->status == SubmitStatus::confirmed);
  }
  REQUIRE(rig.run_until([&] { return poison->second.instance.stuck_since.has_value(); }));
  CHECK(poison->second.instance.last_error == "log.record: poison");
  CHECK(shows_stuck(rig, 1));
  CHECK(rig.saga_log.largest_record > 1);
  // Whoever mended it sees it go on.
  rig.saga_log.refuses.clear();
  REQUIRE(rig.run_until([&] { return results[2]->has_value(); }));
  CHECK((*results[2])->status == SubmitStatus::confirmed);
  CHECK_FALSE(poison->second.instance.stuck_since);
  CHECK(shows_stuck(rig, 0));
}

TEST_CASE(
    "a row that somebody holds delays its own saga alone, and is no reason to call a person") {
  Rig rig;
  rig.script.hold("order.create");
  const auto one = rig.start(order(rig, '1'), as_saga);
  const auto two = rig.start(order(rig, '2'), as_saga);
  REQUIRE(rig.run_until([&] { return rig.saga_log.rows.size() == 2; }));
  for (int i = 0; i < 4; ++i) rig.script.fail("sagas.record", of_kind(FailureKind::lock_timeout));
  rig.script.let_go("order.create");
  for (const auto& result : {one, two}) {
    REQUIRE(rig.run_until([&] { return result->has_value(); }));
    CHECK((*result)->status == SubmitStatus::confirmed);
  }
  CHECK(shows_stuck(rig, 0));
}

TEST_CASE("trouble that cannot be shown of one saga is shown of the others") {
  auto settings = quick_settings();
  settings.saga.retry_ms_min = settings.saga.retry_ms_max = 60'000;
  Rig rig(settings);
  rig.script.hold("order.create");
  for (const char key : {'1', '2', '3'}) rig.start(order(rig, key), accept_saga);
  REQUIRE(rig.run_until([&] { return rig.saga_log.rows.size() == 3; }));
  rig.saga_log.refuses_trouble = rig.saga_log.rows.begin()->first;
  rig.script.fail("order.create", of_kind(FailureKind::error));
  rig.script.fail("order.create", of_kind(FailureKind::error));
  rig.script.let_go("order.create");
  REQUIRE(rig.run_until([&] {
    return std::ranges::count_if(rig.saga_log.rows, [](const auto& row) {
             return row.second.instance.attempts == 1;
           }) == 2;
  }));
}

TEST_CASE("words of a participant are stored as every database takes them") {
  Rig rig;
  rig.payment.answer_step = [](const auto&, const auto& request) {
    if (request.step != "charge") return StepReply{};
    return StepReply{StepStatus::refused, std::string("CARD\0DECLINED", 13),
                     std::string("a\0b\xff", 4) + std::string(2000, 'x')};
  };
  CHECK(rig.submit(order(rig, 'a'), as_saga).status == SubmitStatus::refused);
  CHECK(only_row(rig).instance.reason == "CARD DECLINED");
  CHECK(only_row(rig).instance.detail.starts_with("a b?xxx"));
  CHECK(only_row(rig).instance.detail.size() == 500);
}

TEST_CASE("a decision whose row somebody holds keeps no other from being completed") {
  Rig rig;
  rig.script.hold("shipping.commit");
  for (const char* key : {"a", "b"}) {
    CHECK(rig.submit(rig.operation(key)).status == SubmitStatus::confirmed);
  }
  REQUIRE(rig.log.decided.size() == 2);
  const protocol::Gid held = rig.log.decided.begin()->first;
  rig.log.held = held;
  rig.script.let_go("shipping.commit");
  const auto complete = [&] {
    return std::ranges::count_if(rig.log.decided,
                                 [](const auto& entry) { return entry.second.complete; });
  };
  REQUIRE(rig.run_until([&] { return complete() == 1; }));
  CHECK_FALSE(rig.log.decided.at(held).complete);
  rig.log.held.reset();
  CHECK(rig.run_until([&] { return complete() == 2; }));
}

// --- unknown stays unknown -----------------------------------------------------------------------

TEST_CASE("a step that may be done, and is then refused for its values, is undone too") {
  Rig rig;
  rig.script.fail("payment.charge", lost);
  rig.script.fail("payment.charge", of_kind(FailureKind::poison));
  const auto result = rig.submit(order(rig, 'a'), as_saga);
  CHECK(result.status == SubmitStatus::refused);
  CHECK(result.reason == "VALIDATION_FAILED");
  CHECK(count(rig.script.trace, "payment.refund") == 1);
}

TEST_CASE("a confirmation that may be done is never given up, whatever a later try says") {
  Rig rig;
  rig.script.fail("order.confirm", lost);
  rig.script.fail("order.confirm", of_kind(FailureKind::poison));
  CHECK(rig.submit(order(rig, 'a'), as_saga).status == SubmitStatus::confirmed);
  CHECK(count(rig.script.trace, "payment.refund") == 0);
}

TEST_CASE("I11: a saga whose record says \"not yours\" is dropped: no further step, no answer") {
  Rig rig;
  rig.script.hold("shipping.arrange");
  const auto result = rig.start(order(rig, 'a'), as_saga);
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "shipping.arrange") == 1; }));
  only_row(rig).instance.coordinator = "other";  // who lives
  const std::size_t records = count(rig.script.trace, "sagas.record done");
  rig.script.let_go("shipping.arrange");
  REQUIRE(
      rig.run_until([&] { return count(rig.script.trace, "sagas.record done") == records + 1; }));
  look(rig, 2);
  CHECK(count(rig.script.trace, "order.confirm") == 0);
  CHECK_FALSE(result->has_value());
  CHECK_FALSE(rig.coordinator.pending(order_id_of('a')));
}

TEST_CASE("the gid of a saga's step is active until the step is answered: its card is not voided") {
  Rig rig;
  rig.script.hold("payment.charge");
  const auto result = rig.start(order(rig, 'a'), as_saga);
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "payment.charge") == 1; }));
  const protocol::Gid gid = rig.payment.step_gids.back();
  const auto state_now = [&] {
    std::optional<GlobalState> state;
    asio::co_spawn(rig.context, ask_state(rig.coordinator, gid, state), asio::detached);
    REQUIRE(rig.run_until([&] { return state.has_value(); }));
    return *state;
  };
  CHECK(state_now() == GlobalState::active);
  rig.script.let_go("payment.charge");
  REQUIRE(rig.run_until([&] { return result->has_value(); }));
  CHECK(state_now() == GlobalState::aborted);  // at rest
}

TEST_CASE("a switch of a mode whose answer was lost is read back at once") {
  auto settings = quick_settings();
  settings.engine.lease_ms = 60'000;  // the next renewal is far away
  Rig rig(settings);
  rig.log.modes.set("payment", true);  // it landed
  rig.script.fail("log.set_degraded_mode", lost);
  std::optional<bool> switched;
  asio::co_spawn(rig.context, switch_on(rig.coordinator, switched), asio::detached);
  REQUIRE(rig.run_until([&] { return switched.has_value(); }));
  CHECK_FALSE(*switched);
  CHECK(rig.run_until([&] { return rig.coordinator.degraded().spares("payment"); }));
}
