// Completing and forgetting: what may be deleted when, what is left behind by a process that ended,
// and what the log's word means for a branch of which nothing is left.
#include <catch2/catch_test_macros.hpp>

#include "tests/unit/coordinator_rig.hpp"
#include "txcoord/engine/forgetter.hpp"

using namespace txcoord;
using namespace txcoord::engine;
using namespace txcoord::testing;
using namespace std::chrono_literals;

namespace {

constexpr std::chrono::seconds keep{60};

// The forgetter alone, over two participants and a log.
struct Forgetting {
  asio::io_context context{1};
  Script script{context.get_executor()};
  FakeParticipant order{"order", script}, payment{"payment", script};
  FakeLog log{script};
  Health health{{"log", "order", "payment"}};
  CrashPoints crash;
  Metrics metrics;
  Fences fences{context.get_executor(), {&order, &payment}, log, health, [](const std::string&) {}};
  Forgetter forgetter{
      context.get_executor(), {&order, &payment}, log, health, fences, crash, metrics, true};

  Forgetting() {
    fences.own({"0a1b2c3d", "c1", 1, "00ff00ff"});
    log.epochs["c1"].epoch = 1;
    for (const char* name : {"log", "order", "payment"}) health.wrote(name);
  }
  void run(asio::awaitable<void> work) {
    bool done = false;
    asio::co_spawn(context, std::move(work), [&](const std::exception_ptr&) { done = true; });
    context.restart();
    context.run_for(5s);
    REQUIRE(done);
  }
  // A group that was decided and committed everywhere, by whoever it was.
  protocol::Gid committed(std::uint64_t seq, std::vector<std::string> participants, bool complete) {
    const protocol::Gid gid{"0a1b2c3d", "c1", 1, "00ff00ff", seq};
    Decision decision;
    decision.gid = gid;
    decision.participants = participants;
    decision.complete = complete;
    log.decided.emplace(gid, decision);
    for (FakeParticipant* one : {&order, &payment})
      if (std::ranges::find(participants, one->name()) != participants.end())
        one->witnesses.insert(gid);
    return gid;
  }
};

}  // namespace

TEST_CASE("a completion that failed deletes no witness: it is tried again, and then they go") {
  Forgetting rig;
  const auto gid = rig.committed(1, {"order", "payment"}, false);
  rig.forgetter.applied(gid, {"order", "payment"});
  SECTION("refused") { rig.script.fail("log.complete", unavailable()); }
  SECTION("unanswered") { rig.script.fail("log.complete", unavailable(true)); }
  rig.run(rig.forgetter.flush_completions());
  rig.run(rig.forgetter.trim_witnesses());
  CHECK(rig.order.witnesses.contains(gid));
  CHECK(rig.payment.witnesses.contains(gid));
  CHECK(rig.forgetter.completing(gid));

  rig.run(rig.forgetter.flush_completions());
  rig.run(rig.forgetter.trim_witnesses());
  CHECK(rig.log.decided.at(gid).complete);
  CHECK(rig.order.witnesses.empty());
  CHECK(rig.payment.witnesses.empty());
}

TEST_CASE("a group that is committed everywhere, and aborted in the log, is a heuristic outcome") {
  Forgetting rig;
  const auto gid = rig.committed(1, {"order", "payment"}, true);
  rig.log.decided.at(gid).outcome = DecisionOutcome::abort;  // a tombstone: complete from its birth
  rig.forgetter.applied(gid, {"order", "payment"});
  rig.run(rig.forgetter.flush_completions());
  rig.run(rig.forgetter.trim_witnesses());
  CHECK(rig.log.heuristics == std::set<std::string>{"order", "payment"});
  CHECK(rig.metrics.serialize().find("txcoord_heuristic_outcomes_total 2") != std::string::npos);
  CHECK(rig.order.witnesses.contains(gid));  // evidence
  CHECK(rig.forgetter.idle());
}

TEST_CASE("witnesses that a process left behind when it ended go before their decision does") {
  Forgetting rig;  // it remembers nothing
  rig.log.old = true;
  const auto gid = rig.committed(1, {"order", "payment"}, true);
  const auto open = rig.committed(2, {"order", "payment"}, false);
  rig.run(rig.forgetter.forget_old(keep));
  CHECK(rig.order.witnesses == std::set{open});
  CHECK(rig.payment.witnesses == std::set{open});
  CHECK_FALSE(rig.log.decided.contains(gid));
  CHECK(rig.log.decided.contains(open));
  CHECK(position(rig.script.trace, "payment.trim done") < position(rig.script.trace, "log.forget"));
}

TEST_CASE("a decision stays as long as a participant that it names cannot delete its witness") {
  Forgetting rig;
  rig.log.old = true;
  const auto both = rig.committed(1, {"order", "payment"}, true);
  const auto order_alone = rig.committed(2, {"order"}, true);
  SECTION("it is away") { rig.health.failed("payment", unavailable()); }
  SECTION("it fails") { rig.script.fail("payment.trim", unavailable()); }
  rig.run(rig.forgetter.forget_old(keep));
  CHECK(rig.log.decided.contains(both));
  CHECK(rig.payment.witnesses.contains(both));
  // What payment has no part in does not wait for it.
  CHECK_FALSE(rig.log.decided.contains(order_alone));

  rig.health.wrote("payment");
  rig.run(rig.forgetter.forget_old(keep));
  CHECK(rig.log.decided.empty());
  CHECK(rig.payment.witnesses.empty());
}

// --- a decided branch of which nothing is left (rules 9 to 12 of recovery_plan.hpp)
// ---------------

namespace {

// Payment's branch ends in some way while its COMMIT PREPARED is under way; then it is answered.
// Runs until the group is over, or the process is fenced.
protocol::Gid while_payment_commits(Rig& rig, const std::function<void(protocol::Gid)>& befalls) {
  rig.script.hold("payment.commit");
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::confirmed);
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "payment.commit") == 1; }));
  const auto gid = rig.log.decided.begin()->first;
  rig.payment.prepared.clear();
  befalls(gid);
  rig.script.let_go("payment.commit");
  REQUIRE(rig.run_until([&] { return rig.idle() || !rig.fatal.empty(); }));
  return gid;
}

}  // namespace

TEST_CASE("a branch that an adopter committed, completed and forgot is no heuristic outcome") {
  Rig rig;
  while_payment_commits(rig, [&](auto gid) {
    ++rig.log.epochs["c1"].epoch;
    SECTION("its decision is complete") { rig.log.decided.at(gid).complete = true; }
    SECTION("its decision is complete and deleted") { rig.log.decided.erase(gid); }
  });
  CHECK(rig.log.heuristics.empty());
}

TEST_CASE("a decision that is complete is not asked for more than that: no heuristic outcome") {
  Rig rig;
  while_payment_commits(rig, [&](auto gid) { rig.log.decided.at(gid).complete = true; });
  CHECK(rig.log.heuristics.empty());
}

TEST_CASE(
    "after a log failover a tombstone under a committed group is shown, not called complete") {
  Rig rig;
  const auto gid = while_payment_commits(rig, [&](auto aborted) {
    ++rig.log.now.timeline;
    rig.log.decided.at(aborted).outcome = DecisionOutcome::abort;
    rig.log.decided.at(aborted).complete = true;
  });
  CHECK(rig.log.heuristics == std::set<std::string>{"payment"});
  CHECK(rig.log.decided.at(gid).heuristic);
  CHECK(rig.metrics.serialize().find("txcoord_heuristic_outcomes_total 1") != std::string::npos);
}

TEST_CASE("a decision that the log lost is not taken for completed and trimmed") {
  Rig rig;
  const auto gid = while_payment_commits(rig, [&](auto lost) {
    // Nobody took its owner over, so nobody can have completed it.
    rig.log.decided.erase(lost);
  });
  CHECK(rig.log.heuristics == std::set<std::string>{"payment"});
  // It is in the log again, so that the outcome is shown with its decision.
  REQUIRE(rig.log.decided.contains(gid));
  CHECK(rig.log.decided.at(gid).outcome == DecisionOutcome::commit);
  CHECK(rig.log.decided.at(gid).heuristic);
}

TEST_CASE("a fenced process says nothing of a decision that a log which went back has lost") {
  Rig rig;
  while_payment_commits(rig, [&](auto lost) {
    rig.log.decided.erase(lost);
    ++rig.log.epochs["c1"].epoch;
    SECTION("the log failed over") { ++rig.log.now.timeline; }
    SECTION("the log is another one") { rig.log.now.system_identifier = "7000000000000000002"; }
    SECTION("there is less of the log than there was") { rig.log.now.lsn -= 1; }
  });
  CHECK_FALSE(rig.fatal.empty());
  CHECK(rig.log.heuristics.empty());
  CHECK(rig.log.decided.empty());
  CHECK_FALSE(rig.idle());  // not taken for completed
}

TEST_CASE("an undecided branch committed by hand while its group aborts is shown") {
  Rig rig;
  rig.script.hold("log.decide");
  rig.script.fail("log.decide", of_kind(FailureKind::error));
  const auto answer = rig.start(rig.operation("a"));
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "log.decide") == 1; }));
  bool by_hand = true;
  SECTION("committed") { rig.payment.witnesses = rig.payment.prepared; }
  SECTION("rolled back") { by_hand = false; }
  rig.payment.prepared.clear();
  rig.script.let_go("log.decide");
  REQUIRE(rig.run_until([&] { return answer->has_value() && rig.idle(); }));
  CHECK((*answer)->status == SubmitStatus::unavailable);
  CHECK(rig.log.heuristics ==
        (by_hand ? std::set<std::string>{"payment"} : std::set<std::string>{}));
}

namespace {

// A decision of a fenced epoch, whose branch at payment somebody else is at work on.
protocol::Gid leave_decided(Rig& rig) {
  const protocol::Gid gid{"0a1b2c3d", "gone", 1, "00ff00ff", 7};
  rig.log.epochs["gone"] = {2, false};
  Decision decision;
  decision.gid = gid;
  decision.participants = {"payment"};
  for (int i = 0; i < 1000; ++i) rig.script.fail("payment.commit", of_kind(FailureKind::busy));
  rig.payment.prepared.insert(gid);
  rig.log.decided.emplace(gid, decision);
  return gid;
}

}  // namespace

TEST_CASE(
    "recovery looks for the witness twice: a branch committed between its looks is not lost") {
  Rig rig;
  rig.payment.on_list = [&] {  // after the first look, which found none
    if (count(rig.script.trace, "payment.witness done") != 1) return;
    rig.payment.witnesses.insert(rig.payment.prepared.begin(), rig.payment.prepared.end());
    rig.payment.prepared.clear();
  };
  const auto gid = leave_decided(rig);
  REQUIRE(rig.run_until([&] { return rig.log.decided.at(gid).complete; }));
  CHECK(rig.log.heuristics.empty());
}

TEST_CASE("recovery finds a tombstone where it had read a decision: a heuristic outcome") {
  Rig rig;
  protocol::Gid gid;
  rig.payment.on_list = [&] {
    if (count(rig.script.trace, "payment.witness done") == 0) return;
    rig.payment.prepared.clear();
    rig.log.decided.at(gid).outcome = DecisionOutcome::abort;
    rig.log.decided.at(gid).complete = true;
  };
  gid = leave_decided(rig);
  REQUIRE(rig.run_until([&] { return !rig.log.heuristics.empty(); }));
  CHECK(rig.log.heuristics == std::set<std::string>{"payment"});
  CHECK(rig.log.decided.at(gid).heuristic);
}

TEST_CASE("recovery finds the decision completed by somebody else meanwhile: nothing is lost") {
  Rig rig;
  protocol::Gid gid;
  rig.payment.on_list = [&] {
    if (count(rig.script.trace, "payment.witness done") == 0) return;
    rig.payment.prepared.clear();
    rig.log.decided.at(gid).complete = true;
  };
  gid = leave_decided(rig);
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "payment.witness done") >= 2; }));
  REQUIRE(rig.run_until([&] { return rig.log.decided.at(gid).complete; }));
  const auto looked = std::chrono::steady_clock::now();
  REQUIRE(rig.run_until([&] { return std::chrono::steady_clock::now() - looked > 100ms; }));
  CHECK(rig.log.heuristics.empty());
}

TEST_CASE("a branch rolled back under a tombstone, and a sibling committed: shown, once") {
  Rig rig;
  const protocol::Gid gid{"0a1b2c3d", "gone", 1, "00ff00ff", 8};
  rig.payment.witnesses.insert(gid);
  rig.log.epochs["gone"] = {2, false};
  rig.inventory.prepared.insert(gid);
  rig.shipping.prepared.insert(gid);
  REQUIRE(rig.run_until([&] {
    return rig.inventory.prepared.empty() && rig.shipping.prepared.empty() &&
           !rig.log.heuristics.empty();
  }));
  const auto looked = std::chrono::steady_clock::now();
  REQUIRE(rig.run_until([&] { return std::chrono::steady_clock::now() - looked > 50ms; }));
  CHECK(rig.log.heuristics == std::set<std::string>{"payment"});
  CHECK(rig.log.decided.at(gid).outcome == DecisionOutcome::abort);  // I3: what the log says stands
  CHECK(rig.metrics.serialize().find("txcoord_heuristic_outcomes_total 1") != std::string::npos);
}
