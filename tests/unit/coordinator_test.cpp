// The engine with participants and a log in memory: what is sent when, and what is answered.
#include "txcoord/engine/coordinator.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <map>

#include "tests/unit/coordinator_rig.hpp"

using namespace txcoord;
using namespace txcoord::engine;
using namespace txcoord::testing;
using std::chrono::milliseconds;

namespace {

const std::vector<std::string> names{"order", "inventory", "payment", "shipping"};

}  // namespace

TEST_CASE(
    "I4: no COMMIT PREPARED is sent before the decision is durable, no PREPARE before every vote") {
  Rig rig;
  const auto result = rig.submit(rig.operation("a"), {.wait_applied = true});
  CHECK(result.status == SubmitStatus::confirmed);
  CHECK(result.applied);
  const auto& trace = rig.script.trace;
  for (const auto& name : names) {
    CHECK(position(trace, name + ".commit") > position(trace, "log.decide done"));
    CHECK(position(trace, name + ".prepare done") < position(trace, "log.decide"));
    for (const auto& other : names)
      CHECK(position(trace, name + ".vote done") < position(trace, other + ".prepare"));
    CHECK(position(trace, "log.claim done") < position(trace, name + ".prepare"));
  }
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "log.complete") == 1; }));
  CHECK(position(rig.script.trace, "log.complete") >
        position(rig.script.trace, "shipping.commit done"));
}

TEST_CASE("operations that arrive while a group is under way go together in the next one") {
  Rig rig;
  rig.script.hold("log.decide");
  const auto first = rig.start(rig.operation("a"));
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "log.decide") == 1; }));
  rig.script.hold("inventory.vote");
  const auto second = rig.start(rig.operation("b"));
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "inventory.vote") == 2; }));
  std::vector<std::shared_ptr<std::optional<SubmitResult>>> others;
  for (const char* key : {"c", "d", "e", "f"}) others.push_back(rig.start(rig.operation(key)));
  REQUIRE(rig.run_until([&] { return rig.coordinator.pending("order-f").has_value(); }));
  rig.script.let_go("log.decide");
  rig.script.let_go("inventory.vote");
  for (const auto& other : others) {
    REQUIRE(rig.run_until([&] { return other->has_value(); }));
    CHECK((*other)->status == SubmitStatus::confirmed);
  }
  CHECK(rig.inventory.largest_group == 4);
  CHECK(count(rig.script.trace, "inventory.vote") == 3);
}

TEST_CASE("a refusal is recorded before it is answered, prepares nothing and is replayed") {
  Rig rig;
  rig.inventory.judge_one = [](const Operation&) {
    return protocol::Vote{protocol::Answer::no, true, "OUT_OF_STOCK", "book-456: 0 left"};
  };
  const auto refused = rig.submit(rig.operation("a"));
  CHECK(refused.status == SubmitStatus::refused);
  CHECK(refused.reason == "OUT_OF_STOCK");
  CHECK(count(rig.script.trace, "log.refuse done") == 1);
  for (const auto& name : names) CHECK(count(rig.script.trace, name + ".prepare") == 0);
  REQUIRE(rig.run_until([&] { return rig.idle(); }));

  const auto again = rig.submit(rig.operation("a"));
  CHECK(again.status == SubmitStatus::replayed);
  REQUIRE(again.stored);
  CHECK(again.stored->reason == "OUT_OF_STOCK");
}

TEST_CASE("I5: a key with another body is refused, a key under way is in flight") {
  Rig rig;
  rig.script.hold("log.decide");
  const auto first = rig.start(rig.operation("a"));
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "log.decide") == 1; }));
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::in_flight);
  rig.script.let_go("log.decide");
  REQUIRE(rig.run_until([&] { return first->has_value(); }));
  CHECK((*first)->status == SubmitStatus::confirmed);
  auto other = rig.operation("a");
  other->fingerprint[0] = 1;
  CHECK(rig.submit(other).status == SubmitStatus::key_reused);
}

TEST_CASE(
    "a participant that fails at its vote: nothing prepared, 503, and orders flow when it is "
    "back") {
  Rig rig;
  rig.payment.away = true;
  rig.script.fail("payment.vote", unavailable());
  const auto failed = rig.submit(rig.operation("a"));
  CHECK(failed.status == SubmitStatus::unavailable);
  CHECK(rig.log.stored.empty());
  CHECK(rig.log.decided.empty());
  CHECK(rig.submit(rig.operation("b")).status == SubmitStatus::unavailable);
  CHECK(count(rig.script.trace, "payment.vote") == 1);  // refused at the door, without asking
  rig.payment.away = false;
  REQUIRE(rig.run_until([&] { return rig.coordinator.ready(); }));
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::confirmed);
}

TEST_CASE("a PREPARE that fails rolls the other branches back, and decides nothing") {
  Rig rig;
  rig.script.fail("shipping.prepare", of_kind(FailureKind::error));
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::unavailable);
  REQUIRE(rig.run_until([&] { return rig.idle(); }));
  for (const char* name : {"order", "inventory", "payment"})
    CHECK(count(rig.script.trace, std::string(name) + ".rollback done") == 1);
  CHECK(count(rig.script.trace, "log.decide") == 0);
  CHECK(rig.order.prepared.empty());
}

TEST_CASE("I7: a PREPARE that lands after its group was aborted is found and rolled back") {
  Rig rig;
  rig.script.fail("shipping.prepare", unavailable(true));
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::unavailable);
  REQUIRE(rig.run_until([&] { return rig.idle(); }));
  CHECK(count(rig.script.trace, "log.settle done") ==
        1);  // buried before the gid left the active set
  rig.shipping.land_late_prepare();
  CHECK(rig.shipping.prepared.size() == 1);
  CHECK(rig.run_until([&] { return rig.shipping.prepared.empty(); }));
  CHECK(rig.shipping.witnesses.empty());
}

TEST_CASE("I3: a decision whose acknowledgement was lost is found, and committed") {
  Rig rig;
  rig.log.lands_late = true;
  rig.script.fail("log.decide", unavailable(true));
  CHECK(rig.submit(rig.operation("a"), {.wait_applied = true}).status == SubmitStatus::confirmed);
  CHECK(count(rig.script.trace, "log.settle done") == 1);
  CHECK(position(rig.script.trace, "inventory.commit") >
        position(rig.script.trace, "log.settle done"));
}

TEST_CASE("I3: a decision that never landed is proven absent before anything is rolled back") {
  Rig rig;
  rig.script.fail("log.decide", unavailable(true));
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::unavailable);
  REQUIRE(rig.run_until([&] { return rig.idle(); }));
  CHECK(position(rig.script.trace, "inventory.rollback") >
        position(rig.script.trace, "log.settle done"));
  REQUIRE(rig.log.decided.size() == 1);
  CHECK(rig.log.decided.begin()->second.outcome == DecisionOutcome::abort);
}

TEST_CASE("a deadlock is retried whole, under another gid, and answered once") {
  Rig rig;
  rig.script.fail("inventory.vote", of_kind(FailureKind::deadlock));
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::confirmed);
  CHECK(count(rig.script.trace, "inventory.vote") == 2);
  CHECK(rig.log.decided.size() == 1);
}

TEST_CASE("a poison operation is found by halving, refused alone, and the others are confirmed") {
  Rig rig;
  rig.payment.poison_key = "c";
  // A code that every trigger may raise proves nothing about the values: nothing is recorded.
  // Nor does an answer that nobody understands.
  const auto poison = GENERATE(Failure{FailureKind::poison, false, "22003", "too large"},
                               Failure{FailureKind::error, false, "ZZ999", "raised by a trigger"},
                               Failure{FailureKind::unreadable, false, "", "a vote too few"});
  const bool of_its_values = poison.kind == FailureKind::poison;
  rig.payment.poison_failure = poison;
  rig.script.hold("log.decide");
  const auto first = rig.start(rig.operation("first"));
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "log.decide") == 1; }));
  rig.script.hold("order.vote");
  const auto second = rig.start(rig.operation("second"));
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "order.vote") == 2; }));
  std::map<std::string, std::shared_ptr<std::optional<SubmitResult>>> four;
  for (const char* key : {"a", "b", "c", "d"}) four[key] = rig.start(rig.operation(key));
  REQUIRE(rig.run_until([&] { return rig.coordinator.pending("order-d").has_value(); }));
  rig.script.let_go("log.decide");
  rig.script.let_go("order.vote");
  for (const auto& [key, result] : four) {
    REQUIRE(rig.run_until([&] { return result->has_value(); }));
    const auto refused = of_its_values ? SubmitStatus::invalid : SubmitStatus::unavailable;
    CHECK((*result)->status == (key == "c" ? refused : SubmitStatus::confirmed));
  }
  CHECK(rig.inventory.largest_group == 4);
  if (!of_its_values) {
    CHECK(rig.log.stored.size() == 5);
    return;
  }
  CHECK(rig.log.stored.size() == 6);  // the refusal is recorded under its key too
  CHECK(rig.submit(rig.operation("c")).status == SubmitStatus::replayed);
}

TEST_CASE("rows of a confirmed order that stay missing need a person, and are not called load") {
  Settings settings = quick_settings();
  settings.engine.queue_wait_ms_max = 300;
  Rig rig(settings);
  rig.inventory.judge_one = [](const Operation&) {
    protocol::Vote vote;
    vote.answer = protocol::Answer::retry;
    vote.detail = "inventory has no reservation of this order";
    return vote;
  };
  const auto result = rig.submit(rig.operation("a", OperationKind::cancel));
  CHECK(result.status == SubmitStatus::refused);
  CHECK(result.reason == "ROWS_MISSING");
  CHECK(result.detail.starts_with(
      "inventory has no reservation of this order, although the order was confirmed"));
  CHECK(count(rig.script.trace, "log.refuse") == 0);
  CHECK(rig.log.stored.empty());
}

TEST_CASE("I9: a cancel waits until the order it cancels is applied everywhere") {
  Rig rig;
  rig.script.hold("shipping.commit");
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::confirmed);
  auto cancel = rig.operation("cancel", OperationKind::cancel);
  cancel->order_id = "order-a";
  const auto cancelled = rig.start(cancel, {.wait_max = milliseconds(4000)});
  CHECK(rig.submit(rig.operation("b"), {.wait_applied = false}).status == SubmitStatus::confirmed);
  CHECK(rig.coordinator.pending("order-a")->decided);
  CHECK(rig.coordinator.pending("order-a")->waiting_for == std::vector<std::string>{"shipping"});
  CHECK(count(rig.script.trace, "inventory.vote") == 2);
  rig.script.let_go("shipping.commit");
  REQUIRE(rig.run_until([&] { return cancelled->has_value(); }));
  CHECK((*cancelled)->status == SubmitStatus::confirmed);
  CHECK(count(rig.script.trace, "inventory.vote") == 3);
}

TEST_CASE(
    "a decided branch that was lost becomes a heuristic outcome, recorded and not completed") {
  Rig rig;
  rig.script.hold("payment.commit");
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::confirmed);
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "payment.commit") == 1; }));
  rig.payment.prepared.clear();
  rig.script.let_go("payment.commit");
  REQUIRE(rig.run_until([&] { return rig.idle(); }));
  CHECK(rig.log.heuristics == std::set<std::string>{"payment"});
  CHECK(count(rig.script.trace, "log.complete") == 0);
}

TEST_CASE("a lost branch is shown by the log's count, and a repair by hand needs no restart") {
  Rig rig;
  rig.script.hold("payment.commit");
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::confirmed);
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "payment.commit") == 1; }));
  const protocol::Gid gid = *rig.payment.prepared.begin();
  rig.payment.prepared.clear();
  rig.script.let_go("payment.commit");
  REQUIRE(rig.run_until([&] { return rig.idle(); }));
  CHECK(rig.run_until([&] {
    return rig.metrics.serialize().find("txcoord_heuristic_open{participant=\"payment\"} 1\n") !=
           std::string::npos;
  }));
  CHECK_FALSE(rig.log.decided.at(gid).complete);
  rig.payment.witnesses.insert(gid);
  CHECK(rig.run_until([&] { return rig.log.decided.at(gid).complete; }));
}

TEST_CASE("I11: a coordinator that finds its epoch raised stops, and confirms nothing") {
  Rig rig;
  ++rig.log.epochs["c1"].epoch;
  REQUIRE(rig.run_until([&] { return !rig.fatal.empty(); }));
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::unavailable);
  CHECK(rig.log.decided.empty());
}

TEST_CASE("where rows are waited for, those who lock some vote one after the other, if not alone") {
  Rig rig;
  const bool alone = GENERATE(true, false);
  if (!alone) {
    rig.log.epochs["c2"] = {1, true};
    REQUIRE(rig.run_until([&] { return rig.log.epochs["c2"].renewals > 3; }));  // it learns of it
  }
  rig.payment.judge_one = [](const Operation&) {
    protocol::Vote vote;
    vote.answer = protocol::Answer::retry;
    vote.busy = "payment/held";
    return vote;
  };
  auto operation = rig.operation("a");
  operation->place.items = {{"book", 1, 100}};
  operation->place.customer_id = "held";
  const auto waiting = rig.start(operation);
  REQUIRE(rig.run_until([&] { return rig.payment.last_lock_mode == LockMode::wait; }));
  rig.script.hold("inventory.vote");
  rig.script.trace.clear();
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "inventory.vote") == 1; }));
  rig.context.restart();
  rig.context.run_for(milliseconds(5));
  // What came after the call that is held; the group before it may still have been in the trace.
  std::vector<std::string> meanwhile(
      rig.script.trace.begin() +
          static_cast<std::ptrdiff_t>(position(rig.script.trace, "inventory.vote")),
      rig.script.trace.end());
  CHECK(count(meanwhile, "payment.vote") == (alone ? 1 : 0));
  CHECK(count(meanwhile, "shipping.vote") == (alone ? 1 : 0));
  rig.payment.judge_one = [](const Operation&) { return protocol::Vote{}; };
  rig.script.let_go("inventory.vote");
  REQUIRE(rig.run_until([&] { return waiting->has_value(); }));
  CHECK((*waiting)->status == SubmitStatus::confirmed);
}

TEST_CASE("I9: an order stays busy while its group is aborted and goes again") {
  Rig rig;
  rig.submit(rig.operation("a"), {.wait_applied = true});
  rig.script.trace.clear();
  rig.script.hold("order.vote");
  rig.script.fail("inventory.vote", of_kind(FailureKind::deadlock));
  auto cancel = rig.operation("cancel", OperationKind::cancel);
  auto ship = rig.operation("ship", OperationKind::ship);
  cancel->order_id = ship->order_id = "order-a";
  const auto cancelled = rig.start(cancel);
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "order.vote") == 1; }));
  std::vector<std::string> voted;
  rig.order.judge_one = [&voted](const Operation& operation) {
    voted.push_back(operation.idempotency_key);
    return protocol::Vote{};
  };
  const auto shipped = rig.start(ship);
  rig.script.let_go("order.vote");
  REQUIRE(rig.run_until([&] { return cancelled->has_value() && shipped->has_value(); }));
  CHECK(voted == std::vector<std::string>{"cancel", "cancel", "ship"});
}

TEST_CASE("I9: a cancel as a saga waits until the order it cancels is applied everywhere") {
  Rig rig;
  rig.script.hold("shipping.commit");
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::confirmed);
  auto cancel = rig.operation("cancel", OperationKind::cancel);
  cancel->order_id = "order-a";
  cancel->mode = "saga";
  const auto cancelled = rig.start(cancel, {.protocol = Protocol::saga});
  // The group still holds the order busy in the queue; a saga does not go through it.
  CHECK(rig.submit(rig.operation("b"), {.wait_applied = false}).status == SubmitStatus::confirmed);
  rig.context.restart();
  rig.context.run_for(milliseconds(50));
  CHECK(count(rig.script.trace, "sagas.start") == 0);
  rig.script.let_go("shipping.commit");
  REQUIRE(rig.run_until([&] { return cancelled->has_value(); }));
  CHECK(count(rig.script.trace, "sagas.start") == 1);
}

TEST_CASE(
    "I7: a dead coordinator's branches are finished after its lease has run out, not before") {
  Rig rig;
  const protocol::Gid gid{"0a1b2c3d", "c2", 1, "00000000", 7};
  rig.log.epochs["c2"] = {1, true};
  rig.payment.prepared.insert(gid);
  REQUIRE(rig.run_until([&] { return rig.coordinator.health().at("payment").recovered; }));
  const auto looked = std::chrono::steady_clock::now();
  REQUIRE(
      rig.run_until([&] { return std::chrono::steady_clock::now() - looked > milliseconds(100); }));
  CHECK(rig.payment.prepared.contains(gid));
  rig.log.epochs["c2"].lease_live = false;
  CHECK(rig.run_until([&] { return rig.payment.prepared.empty(); }));
  CHECK(rig.log.epochs["c2"].epoch == 2);
  CHECK(rig.log.decided.at(gid).outcome == DecisionOutcome::abort);
}

TEST_CASE("a log that can be read and not written proves nothing: nobody is taken over meanwhile") {
  Rig rig;
  const protocol::Gid gid{"0a1b2c3d", "c2", 1, "00000000", 7};
  rig.log.read_only = true;
  rig.log.epochs["c2"] = {1, false};  // it cannot renew either
  rig.payment.prepared.insert(gid);
  const auto began = std::chrono::steady_clock::now();
  const milliseconds long_for(3 * rig.settings.engine.lease_ms);
  REQUIRE(rig.run_until([&] { return std::chrono::steady_clock::now() - began > long_for; }));
  CHECK(rig.log.epochs["c2"].epoch == 1);
  SECTION("it is back with the log") {
    rig.log.epochs["c2"].lease_live = true;
    rig.log.read_only = false;
    const auto back = std::chrono::steady_clock::now();
    REQUIRE(rig.run_until([&] { return std::chrono::steady_clock::now() - back > long_for; }));
    CHECK(rig.log.epochs["c2"].epoch == 1);
    CHECK(rig.payment.prepared.contains(gid));
  }
  SECTION("it was dead") {
    rig.log.read_only = false;
    CHECK(rig.run_until([&] { return rig.payment.prepared.empty(); }));
    CHECK(rig.log.epochs["c2"].epoch == 2);
  }
  CHECK(rig.fatal.empty());
}

TEST_CASE("a coordinator that gave its lease back is taken over at once") {
  Settings settings = quick_settings();
  settings.engine.lease_ms = 60000;
  Rig rig(settings);
  const protocol::Gid gid{"0a1b2c3d", "c2", 1, "00000000", 7};
  rig.log.epochs["c2"] = {1, false, 5, true};
  rig.payment.prepared.insert(gid);
  CHECK(rig.run_until([&] { return rig.payment.prepared.empty(); }));
  CHECK(rig.log.epochs["c2"].epoch == 2);
}

TEST_CASE(
    "a coordinator that leaves is not ready and says so, and still takes work until it drains") {
  Rig rig;
  REQUIRE(rig.run_until([&] { return rig.coordinator.ready(); }));
  rig.coordinator.leave();
  CHECK_FALSE(rig.coordinator.ready());
  CHECK(rig.coordinator.draining());
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::confirmed);
}

TEST_CASE("a clean stop finishes what is under way, records completion and gives the lease up") {
  Rig rig;
  rig.script.hold("log.decide");
  const auto last = rig.start(rig.operation("a"));
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "log.decide") == 1; }));
  bool drained = false;
  asio::co_spawn(rig.context, rig.coordinator.drain(milliseconds(3000)),
                 [&](const std::exception_ptr&) { drained = true; });
  REQUIRE(rig.run_until([&] { return rig.coordinator.draining(); }));
  CHECK(rig.submit(rig.operation("b")).status == SubmitStatus::unavailable);
  rig.script.let_go("log.decide");
  REQUIRE(rig.run_until([&] { return drained; }));
  REQUIRE(rig.run_until([&] { return last->has_value(); }));
  CHECK((*last)->status == SubmitStatus::confirmed);
  CHECK(rig.log.decided.begin()->second.complete);
  CHECK_FALSE(rig.log.epochs["c1"].lease_live);
}
