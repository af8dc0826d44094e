// Group two-phase commit beside its table (two_phase_transitions_test.cpp): how an abort ends,
// which plans are refused, what is seen from outside.
#include <catch2/catch_test_macros.hpp>
#include <set>
#include <stdexcept>

#include "tests/scenarios/script.hpp"

namespace txcoord::protocol {
namespace {

using Lines = std::vector<std::string>;

const Lines two = {"participants order inventory", "operation order inventory",
                   "operation order inventory", "commit_order inventory order"};
const Lines voted_yes = {"start", "voted log yes,yes", "voted order yes,yes",
                         "voted inventory yes,yes"};

Lines plus(Lines first, const Lines& more) {
  first.insert(first.end(), more.begin(), more.end());
  return first;
}

// --- what a cause leads to, once everything is at rest -------------------------------------------

struct Ending {
  std::string cause;
  Lines more;  // of the group's description
  bool lone;
  std::string reply, last;
};

TEST_CASE("an abort is answered or tried again, never both") {
  const Ending endings[] = {
      {"timeout", {"conflict_retries 3"}, false, "reply 503:timeout", ""},
      {"unavailable", {"conflict_retries 3"}, false, "reply 503:unavailable", ""},
      {"fenced", {"conflict_retries 3"}, false, "reply 503:fenced", ""},
      {"error", {"conflict_retries 3"}, false, "reply 503:error", ""},
      {"deadlock", {"conflict_retries 1"}, false, "", "resubmit_whole"},
      {"deadlock", {}, false, "reply 503:deadlock", ""},
      {"lock_timeout", {}, false, "", "resubmit_halves"},
      {"lock_timeout", {"conflict_retries 1"}, true, "", "resubmit_whole"},
      {"lock_timeout", {}, true, "reply 503:lock_timeout", ""},
      {"poison", {}, false, "", "resubmit_halves"},
      {"poison", {}, true, "", "resubmit_refused"},
  };
  for (const Ending& ending : endings) {
    for (const bool unanswered : {false, true}) {
      INFO(ending.cause << (ending.lone ? " alone" : "") << (unanswered ? " unanswered" : ""));
      Lines lines = {"participants order inventory", "operation order inventory"};
      if (!ending.lone) lines.emplace_back("operation order inventory");
      TwoPhase machine(script::group(plus(lines, ending.more)));
      const std::string yes = ending.lone ? "yes" : "yes,yes";
      Lines trace;
      for (const std::string& event :
           {std::string("start"), "voted log " + yes, "voted order " + yes,
            "voted inventory " + yes,
            "prepare_failed order " + ending.cause + (unanswered ? " unanswered" : ""),
            std::string("prepared inventory"), std::string("released log"),
            std::string("rolled_back inventory")})
        trace = plus(trace, script::texts_of(
                                machine, machine.step(script::event_of(machine.plan(), event))));
      if (unanswered) {
        REQUIRE(machine.state() == State::burying);
        trace = plus(trace,
                     script::texts_of(machine, machine.step({.kind = EventKind::settled_abort})));
      }
      CHECK(machine.state() == State::done);
      std::string reply, resubmitted;
      for (const std::string& action : trace) {
        if (action.starts_with("reply")) reply += action;
        if (action.starts_with("resubmit")) resubmitted += action;
      }
      CHECK(reply == ending.reply);
      CHECK(resubmitted == ending.last);
      CHECK(trace.back() == "finish");
    }
  }
}

TEST_CASE("a refusal that is poison itself is answered, not split for ever") {
  const Lines lone = {"participants order", "operation order", "refuse_alone VALIDATION_FAILED"};
  for (const Lines& history : {Lines{"start", "vote_failed log poison"},
                               Lines{"start", "voted log yes", "decide_failed poison"}}) {
    TwoPhase machine(script::group(lone));
    Lines last;
    for (const std::string& event : history)
      last = script::texts_of(machine, machine.step(script::event_of(machine.plan(), event)));
    CHECK(last == Lines{"reply 503:poison", "finish"});
    CHECK(machine.state() == State::done);
  }
}

// --- plans
// -----------------------------------------------------------------------------------------

TEST_CASE("I1 a plan that would leave a part of the group out is refused") {
  const GroupPlan good = script::group(two);
  CHECK_NOTHROW(check(good));
  const auto refused = [&](auto spoil) {
    GroupPlan plan = good;
    spoil(plan);
    CHECK_THROWS_AS(TwoPhase(plan), std::invalid_argument);
  };
  refused([](GroupPlan& plan) { plan.operations = 0; });
  refused([](GroupPlan& plan) { plan.touches.pop_back(); });
  refused([](GroupPlan& plan) { plan.touches[1].pop_back(); });
  refused([](GroupPlan& plan) { plan.touches[0][1] = plan.touches[1][1] = false; });
  refused([](GroupPlan& plan) { plan.commit_order = {0}; });
  refused([](GroupPlan& plan) { plan.commit_order = {0, 0}; });
  refused([](GroupPlan& plan) { plan.vote_stages = {{0, 1}}; });
  refused([](GroupPlan& plan) { plan.vote_stages = {{0}, {log_voter}}; });
  refused([](GroupPlan& plan) { plan.vote_stages = {{0, 1, log_voter}, {1}}; });
  refused([](GroupPlan& plan) { plan.refuse_alone = true; });
}

// --- what an abort tells
// ---------------------------------------------------------------------------

TEST_CASE("the first cause of an abort is the one that is told") {
  TwoPhase machine(script::group(two));
  for (const std::string& event :
       plus(voted_yes, {"prepare_failed order unavailable", "prepare_failed inventory poison"}))
    machine.step(script::event_of(machine.plan(), event));
  CHECK(machine.cause() == AbortCause::unavailable);
}

// --- what is seen from outside
// ---------------------------------------------------------------------

TEST_CASE("branches and waiting_for name whose PREPARE and COMMIT PREPARED count") {
  TwoPhase machine(script::group(two));
  const auto play = [&](const char* event) {
    machine.step(script::event_of(machine.plan(), event));
  };
  using Ids = std::vector<ParticipantId>;
  for (const std::string& event : voted_yes) play(event.c_str());
  CHECK(machine.branches() == Ids{0, 1});
  CHECK(machine.waiting_for().empty());
  play("prepared order");
  play("prepared inventory");
  CHECK_FALSE(machine.decided());
  play("decided");
  CHECK(machine.decided());
  CHECK(machine.waiting_for() == Ids{0, 1});
  play("committed inventory");
  CHECK(machine.waiting_for() == Ids{0});
  CHECK(machine.branches() == Ids{0, 1});
}

TEST_CASE("every name is there once") {
  const auto names = [](auto last) {
    std::set<std::string_view> found;
    for (int value = 0; value <= static_cast<int>(last); ++value)
      found.insert(to_string(static_cast<decltype(last)>(value)));
    CHECK_FALSE(found.contains(""));
    CHECK(found.size() == static_cast<std::size_t>(last) + 1);
    CHECK(to_string(static_cast<decltype(last)>(static_cast<int>(last) + 1)).empty());
  };
  names(AbortCause::error);
  names(State::done);
  names(EventKind::released);
  names(ActionKind::finish);
}

}  // namespace
}  // namespace txcoord::protocol
