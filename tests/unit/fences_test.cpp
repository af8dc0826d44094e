// Fences as the engine raises them: before what, where, and what it makes of one that is above it.
#include "txcoord/engine/fences.hpp"

#include <catch2/catch_test_macros.hpp>

#include "tests/unit/coordinator_rig.hpp"
#include "txcoord/log/saga_payload.hpp"
#include "txcoord/protocol/saga_plans.hpp"

using namespace txcoord;
using namespace txcoord::engine;
using namespace txcoord::testing;

namespace {

const SubmitOptions as_saga{.protocol = Protocol::saga};

std::string id_of(char last) { return std::string("0190a000-0000-7000-8000-00000000000") + last; }

std::shared_ptr<Operation> order(Rig& rig, char key) {
  auto operation = rig.operation(std::string("key-") + key);
  operation->order_id = id_of(key);
  operation->place.customer_id = "customer-001";
  operation->place.items = {{"book-123", 1, 3500, id_of('f')}};
  operation->place.total_amount = 3500;
  operation->place.payment_id = id_of('d');
  operation->place.shipment_id = id_of('e');
  operation->answer = "{}";
  return operation;
}

// A saga of a coordinator that is gone and fenced: nobody runs it.
void leave_saga(Rig& rig, char key, const LogOwner& owner) {
  auto operation = order(rig, key);
  operation->transaction_id = id_of(key);
  auto row = FakeSagaLog::row_of(owner, {id_of(key), std::string(protocol::place_order_type),
                                         "order.create", to_payload(*operation), operation, true});
  rig.saga_log.rows[id_of(key)] = row;
  rig.saga_log.epochs[owner.coordinator] = owner.epoch + 1;
}

bool ended(const Rig& rig, char key) {
  return rig.saga_log.rows.at(id_of(key)).instance.ended_at.has_value();
}

Settings trimming_at_once() {
  auto settings = quick_settings();
  settings.saga.barriers_keep_s = 0;
  return settings;
}

}  // namespace

TEST_CASE("a coordinator raises its own fence at every participant before it is ready") {
  Rig rig;
  for (const FakeParticipant* participant :
       {&rig.order, &rig.inventory, &rig.payment, &rig.shipping}) {
    REQUIRE(participant->fence_rows.contains("c1"));
    CHECK(participant->fence_rows.at("c1").epoch == rig.log.epochs.at("c1").epoch);
    CHECK_FALSE(participant->fence_rows.at("c1").incarnation.empty());
  }
}

TEST_CASE("the greatest epoch that a reachable participant knows is found, whoever is away") {
  asio::io_context context{1};
  Script script(context.get_executor());
  FakeParticipant one("order", script), two("payment", script), away("shipping", script);
  one.fence_rows["c1"] = {"0a1b2c3d", "c1", 4, "aaaaaaaa"};
  two.fence_rows["c1"] = {"0a1b2c3d", "c1", 9, ""};
  two.fence_rows["c2"] = {"0a1b2c3d", "c2", 70, ""};
  away.away = true;
  FakeLog log(script);
  Health health({"log", "order", "payment", "shipping"});
  Fences fences(context.get_executor(), {&one, &two, &away}, log, health, [](const auto&) {});
  std::uint64_t greatest = 0;
  asio::co_spawn(context, fences.greatest_epoch("0a1b2c3d", "c1"),
                 [&](const std::exception_ptr&, std::uint64_t found) { greatest = found; });
  context.run();
  CHECK(greatest == 9);
}

TEST_CASE("I11: what is adopted is fenced at a participant before its first step there") {
  Rig rig;
  leave_saga(rig, 'a', {"gone", 3});
  REQUIRE(rig.run_until([&] { return ended(rig, 'a'); }));
  const auto& trace = rig.script.trace;
  CHECK(position(trace, "order.raise gone done") < position(trace, "order.create"));
  CHECK(position(trace, "inventory.raise gone done") < position(trace, "inventory.reserve"));
  CHECK(position(trace, "payment.raise gone done") < position(trace, "payment.charge"));
  CHECK(position(trace, "shipping.raise gone done") < position(trace, "shipping.arrange"));
  CHECK(rig.payment.fence_rows.at("gone") == FenceOwner{"0a1b2c3d", "gone", 4, ""});
}

TEST_CASE("I11: a fence that cannot be raised holds up the steps of that participant alone") {
  Rig rig;
  rig.script.hold("payment.raise gone");
  leave_saga(rig, 'a', {"gone", 3});
  REQUIRE(rig.run_until([&] { return rig.inventory.done.size() == 1; }));
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "payment.raise gone") > 0; }));
  CHECK(count(rig.script.trace, "payment.charge") == 0);
  rig.script.let_go("payment.raise gone");
  REQUIRE(rig.run_until([&] { return ended(rig, 'a'); }));
  CHECK(rig.payment.done.size() == 1);
}

TEST_CASE("a fence that a participant's server lost is raised again within a pass") {
  Rig rig;
  leave_saga(rig, 'a', {"gone", 3});
  REQUIRE(rig.run_until([&] { return ended(rig, 'a'); }));
  rig.payment.fence_rows.clear();
  REQUIRE(rig.run_until([&] { return rig.payment.fence_rows.size() == 2; }));
  CHECK(rig.payment.fence_rows.at("gone").epoch == 4);
  CHECK(rig.fatal.empty());
}

TEST_CASE("I11: a coordinator whose fence was raised by a later process stops, and does nothing") {
  Rig rig;
  rig.script.hold("payment.charge");
  const auto result = rig.start(order(rig, 'a'), as_saga);
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "payment.charge") == 1; }));
  auto& fence = rig.payment.fence_rows.at("c1");
  fence = {fence.installation, "c1", fence.epoch + 1, ""};
  rig.script.let_go("payment.charge");
  REQUIRE(rig.run_until([&] { return !rig.fatal.empty(); }));
  CHECK(rig.payment.done.empty());
  CHECK(rig.payment.barriers.empty());
}

TEST_CASE("a settle that is fenced answers nothing, and never aborts") {
  Rig rig;
  rig.log.lands_late = true;
  rig.script.fail("log.decide", unavailable(true));
  rig.script.hold("log.settle");
  const auto result = rig.start(rig.operation("a"));
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "log.settle") == 1; }));
  // Whoever took over has finished and trimmed it meanwhile.
  rig.log.decided.clear();
  ++rig.log.epochs.at("c1").epoch;
  rig.script.let_go("log.settle");
  REQUIRE(rig.run_until([&] { return !rig.fatal.empty(); }));
  CHECK(rig.log.decided.empty());
  CHECK(count(rig.script.trace, "payment.rollback") == 0);
  if (result->has_value()) CHECK((*result)->status == SubmitStatus::unknown);
}

TEST_CASE("barriers stay until every coordinator is fenced at every participant") {
  Rig rig(trimming_at_once());
  rig.script.hold("shipping.raise idle");
  rig.log.epochs["idle"] = {7, false};
  CHECK(rig.submit(order(rig, 'a'), as_saga).status == SubmitStatus::confirmed);
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "shipping.raise idle") > 0; }));
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "sagas.adopt done") > 12; }));
  CHECK_FALSE(rig.payment.barriers.empty());
  rig.script.let_go("shipping.raise idle");
  REQUIRE(rig.run_until([&] { return rig.payment.barriers.empty(); }));
  for (const FakeParticipant* participant : {&rig.order, &rig.inventory, &rig.payment})
    CHECK(participant->fence_rows.at("idle") == FenceOwner{"0a1b2c3d", "idle", 7, ""});
}

TEST_CASE("a try that was not answered is fenced by a new generation before its barriers go") {
  Rig rig(trimming_at_once());
  const FenceOwner before = rig.payment.fence_rows.at("c1");
  Failure lost = unavailable(true);
  lost.kind = FailureKind::error;
  rig.script.fail("payment.charge", lost);
  CHECK(rig.submit(order(rig, 'a'), as_saga).status == SubmitStatus::confirmed);
  REQUIRE(rig.run_until([&] { return rig.shipping.barriers.empty(); }));
  const auto& trace = rig.script.trace;
  for (const char* name : {"order", "inventory", "payment", "shipping"})
    CHECK(position(trace, std::string(name) + ".raise c1 done") <
          position(trace, "order.trim_steps"));
  const FenceOwner after = rig.payment.fence_rows.at("c1");
  CHECK(after.epoch == before.epoch);
  CHECK(after.incarnation != before.incarnation);
  // And the process goes on under it.
  CHECK(rig.submit(order(rig, 'b'), as_saga).status == SubmitStatus::confirmed);
  CHECK(rig.fatal.empty());
}

TEST_CASE("I8: a batch that is taken apart unanswered is fenced by a new generation as well") {
  Rig rig(trimming_at_once());
  const FenceOwner before = rig.payment.fence_rows.at("c1");
  rig.script.hold("payment.charge");
  std::vector<std::shared_ptr<std::optional<SubmitResult>>> results;
  for (const char key : {'a', 'b', 'c'}) results.push_back(rig.start(order(rig, key), as_saga));
  REQUIRE(rig.run_until([&] {
    return std::ranges::all_of(
               rig.saga_log.rows,
               [](const auto& row) { return row.second.instance.status == "STOCK_RESERVED"; }) &&
           rig.saga_log.rows.size() == 3 && count(rig.script.trace, "payment.charge") == 1;
  }));
  // Of the one that is held, a certain failure; of the two that come after it, no answer.
  rig.script.fail("payment.charge", of_kind(FailureKind::deadlock));
  rig.script.fail("payment.charge", {FailureKind::unreadable, true, "", "a reply too few"});
  rig.script.let_go("payment.charge");
  for (const auto& result : results) REQUIRE(rig.run_until([&] { return result->has_value(); }));
  CHECK(rig.payment.largest_step == 2);
  REQUIRE(rig.run_until([&] { return rig.shipping.barriers.empty(); }));
  CHECK(rig.payment.fence_rows.at("c1").incarnation != before.incarnation);
  CHECK(rig.fatal.empty());
}

TEST_CASE("while every try is answered the generation stays, and barriers go") {
  Rig rig(trimming_at_once());
  const FenceOwner before = rig.payment.fence_rows.at("c1");
  CHECK(rig.submit(order(rig, 'a'), as_saga).status == SubmitStatus::confirmed);
  REQUIRE(rig.run_until([&] { return rig.shipping.barriers.empty(); }));
  CHECK(rig.payment.fence_rows.at("c1") == before);
}

TEST_CASE("a participant of a version without fences is worked with as before") {
  Rig rig;
  rig.payment.has_no_fences = true;
  rig.payment.fence_rows.clear();
  leave_saga(rig, 'a', {"gone", 3});
  REQUIRE(rig.run_until([&] { return ended(rig, 'a'); }));
  CHECK(rig.submit(order(rig, 'b'), as_saga).status == SubmitStatus::confirmed);
  CHECK(rig.fatal.empty());
}
