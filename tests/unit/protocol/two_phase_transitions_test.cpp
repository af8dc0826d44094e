// Group two-phase commit, every state with every event: what the table of two_phase.hpp allows
// leads where it says, and everything else throws and changes nothing.
#include <catch2/catch_test_macros.hpp>
#include <set>
#include <stdexcept>

#include "tests/scenarios/script.hpp"

namespace txcoord::protocol {
namespace {

using Lines = std::vector<std::string>;

// One event that is possible, and what comes of it.
struct Step {
  std::string event;
  std::string state;
  Lines actions;
};

// A point that a run can stand at, and everything that can happen there.
struct Situation {
  std::string name;
  Lines group;
  Lines history;
  std::vector<Step> possible;
};

const Lines two = {"participants order inventory", "operation order inventory",
                   "operation order inventory", "commit_order inventory order"};
const Lines voted_yes = {"start", "voted log yes,yes", "voted order yes,yes",
                         "voted inventory yes,yes"};

Lines plus(Lines first, const Lines& more) {
  first.insert(first.end(), more.begin(), more.end());
  return first;
}

const Lines judging = {"start", "voted log yes,yes", "voted order no:X,yes",
                       "voted inventory yes,no:Y?"};
const Lines all_prepared = plus(voted_yes, {"prepared order", "prepared inventory"});
const Lines committing = plus(all_prepared, {"decided"});
const Lines refusing = {"start", "voted log yes,yes", "voted order no:X,no:X",
                        "voted inventory yes,yes"};
const Lines settling = plus(all_prepared, {"decide_unknown"});
const Lines one_prepared = plus(voted_yes, {"prepared order"});
const Lines rolling_back = plus(one_prepared, {"prepare_failed inventory timeout", "released log"});
const Lines burying = plus(one_prepared, {"prepare_failed inventory timeout unanswered",
                                          "released log", "rolled_back order"});

std::vector<Situation> voting_and_judging() {
  return {
      {"idle", two, {}, {{"start", "voting", {"claim", "vote order", "vote inventory"}}}},
      {"voting, nobody has answered",
       two,
       {"start"},
       {{"voted log yes,yes", "voting", {}},
        {"voted order yes,yes", "voting", {}},
        {"voted inventory yes,yes", "voting", {}},
        {"vote_failed log unavailable", "aborting", {"reply 503:unavailable"}},
        {"vote_failed order timeout", "aborting", {"reply 503:timeout"}},
        {"vote_failed inventory error", "aborting", {"reply 503:error"}}}},
      {"voting, inventory has not answered",
       two,
       {"start", "voted log yes,yes", "voted order yes,yes"},
       {{"voted inventory yes,yes", "preparing", {"prepare order 1,1", "prepare inventory 1,1"}},
        {"vote_failed inventory timeout",
         "aborting",
         {"reply 503:timeout", "release log", "release order"}}}},
      {"voting, the log has not answered",
       two,
       {"start", "voted order yes,no:X", "voted inventory yes,no:Y"},
       {{"voted log yes,yes", "preparing", {"prepare order 1,0", "prepare inventory 1,0"}},
        {"vote_failed log timeout",
         "aborting",
         {"reply 503:timeout", "release order", "release inventory"}}}},
      {"judging, nobody has answered",
       two,
       judging,
       {{"judged order yes,yes", "judging", {}},
        {"judged inventory yes,yes", "judging", {}},
        {"judge_failed order timeout", "aborting", {"reply 503:timeout", "release log"}},
        {"judge_failed inventory timeout", "aborting", {"reply 503:timeout", "release log"}}}},
      {"judging, inventory has not answered",
       two,
       plus(judging, {"judged order yes,yes"}),
       {{"judged inventory yes,yes", "preparing", {"prepare order 0,1", "prepare inventory 0,1"}},
        {"judge_failed inventory error",
         "aborting",
         {"reply 503:error", "release log", "release order"}}}},
  };
}

std::vector<Situation> preparing_and_deciding() {
  return {
      {"preparing, nobody has answered",
       two,
       voted_yes,
       {{"prepared order", "preparing", {}},
        {"prepared inventory", "preparing", {}},
        {"prepare_failed order timeout", "aborting", {"reply 503:timeout", "release log"}},
        {"prepare_failed inventory unavailable unanswered",
         "aborting",
         {"reply 503:unavailable", "release log"}}}},
      {"preparing, inventory has not answered",
       two,
       one_prepared,
       {{"prepared inventory", "deciding", {"decide confirmed,confirmed"}},
        {"prepare_failed inventory timeout",
         "aborting",
         {"reply 503:timeout", "release log", "rollback order"}}}},
      {"deciding",
       two,
       all_prepared,
       {{"decided",
         "committing",
         {"commit inventory", "commit order", "reply confirmed,confirmed"}},
        {"decide_failed fenced",
         "aborting",
         {"reply 503:fenced", "rollback order", "rollback inventory"}},
        {"decide_unknown", "settling", {"settle"}}}},
      {"settling",
       two,
       settling,
       {{"settled_commit",
         "committing",
         {"commit inventory", "commit order", "reply confirmed,confirmed"}},
        {"settled_abort",
         "aborting",
         {"reply 503:unavailable", "rollback order", "rollback inventory"}},
        {"settle_failed", "settling", {"settle #1"}}}},
      {"refusing, both releases outstanding",
       two,
       refusing,
       {{"decided", "refusing", {"reply refused:X,refused:X"}},
        {"decide_failed error", "aborting", {"reply 503:error"}},
        {"decide_unknown", "aborting", {"reply 503:unavailable"}},
        {"released order", "refusing", {}},
        {"released inventory", "refusing", {}}}},
      {"refusing, all is released",
       two,
       plus(refusing, {"released order", "released inventory"}),
       {{"decided", "done", {"reply refused:X,refused:X", "finish"}},
        {"decide_failed error", "done", {"reply 503:error", "finish"}},
        {"decide_unknown", "done", {"reply 503:unavailable", "finish"}}}},
  };
}

std::vector<Situation> committing_branches() {
  const Lines asked_witness = plus(committing, {"committed order", "commit_not_found inventory"});
  const Lines asked_decision = plus(asked_witness, {"witness_absent inventory"});
  const Lines recording = plus(asked_decision, {"decision_incomplete inventory"});
  return {
      {"committing, nobody has answered",
       two,
       committing,
       {{"committed order", "committing", {}},
        {"committed inventory", "committing", {}},
        {"commit_failed order", "committing", {"commit order #1"}},
        {"commit_failed inventory", "committing", {"commit inventory #1"}},
        {"commit_not_found order", "committing", {"check_witness order"}},
        {"commit_not_found inventory", "committing", {"check_witness inventory"}}}},
      {"committing, inventory has not answered",
       two,
       plus(committing, {"committed order"}),
       {{"committed inventory", "done", {"applied", "complete", "finish"}},
        {"commit_failed inventory", "committing", {"commit inventory #1"}},
        {"commit_not_found inventory", "committing", {"check_witness inventory"}}}},
      {"committing, inventory's witness is looked for",
       two,
       asked_witness,
       {{"witness_found inventory", "done", {"applied", "complete", "finish"}},
        {"witness_absent inventory", "committing", {"reread_decision inventory"}},
        {"witness_failed inventory", "committing", {"check_witness inventory #1"}}}},
      {"committing, the decision is read again",
       two,
       asked_decision,
       {{"decision_complete inventory", "done", {"applied", "complete", "finish"}},
        {"decision_incomplete inventory", "committing", {"record_heuristic inventory"}},
        {"decision_unread inventory", "committing", {"reread_decision inventory #1"}}}},
      {"committing, a heuristic outcome is recorded",
       two,
       recording,
       {{"heuristic_recorded inventory", "done", {"finish"}},
        {"heuristic_unrecorded inventory", "committing", {"record_heuristic inventory #1"}}}},
  };
}

std::vector<Situation> aborting_branches() {
  return {
      {"aborting, a vote is outstanding",
       two,
       {"start", "voted log yes,yes", "vote_failed order timeout"},
       {{"released log", "aborting", {}},
        {"voted inventory yes,yes", "aborting", {"release inventory"}},
        {"vote_failed inventory timeout", "aborting", {}}}},
      {"aborting, a judgement is outstanding",
       two,
       plus(judging, {"judge_failed order timeout", "released log"}),
       {{"judged inventory yes,yes", "aborting", {"release inventory"}},
        {"judge_failed inventory error", "done", {"finish"}}}},
      {"aborting, a prepare is outstanding",
       two,
       plus(voted_yes, {"prepare_failed order timeout", "released log"}),
       {{"prepared inventory", "aborting", {"rollback inventory"}},
        {"prepare_failed inventory error", "done", {"finish"}},
        {"prepare_failed inventory timeout unanswered", "burying", {"settle"}}}},
      {"aborting, a rollback is outstanding",
       two,
       rolling_back,
       {{"rolled_back order", "done", {"finish"}},
        {"rollback_failed order", "burying", {"settle"}}}},
      {"aborting, the last release is outstanding",
       two,
       {"start", "vote_failed log timeout", "vote_failed order timeout", "voted inventory yes,yes"},
       {{"released inventory", "done", {"finish"}}}},
      {"burying",
       two,
       burying,
       {{"settled_abort", "done", {"sweep inventory", "finish"}},
        {"settle_failed", "burying", {"settle #1"}}}},
      {"done", two, plus(committing, {"committed order", "committed inventory"}), {}},
      {"done after an abort", two, plus(rolling_back, {"rolled_back order"}), {}},
  };
}

std::vector<Situation> situations() {
  std::vector<Situation> all;
  for (const auto& part :
       {voting_and_judging(), preparing_and_deciding(), committing_branches(), aborting_branches()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

TwoPhase at(const Situation& situation) {
  TwoPhase machine(script::group(situation.group));
  for (const std::string& event : situation.history)
    machine.step(script::event_of(machine.plan(), event));
  return machine;
}

bool is_of_the_group(EventKind kind) {
  static const std::set<EventKind> kinds = {EventKind::start,         EventKind::decided,
                                            EventKind::decide_failed, EventKind::decide_unknown,
                                            EventKind::settled_abort, EventKind::settled_commit,
                                            EventKind::settle_failed};
  return kinds.contains(kind);
}

bool takes(const Situation& situation, const GroupPlan& plan, EventKind kind, ParticipantId voter) {
  for (const Step& step : situation.possible) {
    const Event event = script::event_of(plan, step.event);
    if (event.kind == kind && (is_of_the_group(kind) || event.voter == voter)) return true;
  }
  return false;
}

template <class Visit>
void for_every_event(std::size_t operations, Visit visit) {
  for (int kind = 0; kind <= static_cast<int>(EventKind::released); ++kind) {
    for (const int voter : {0, 1, 2, 200, int{log_voter}}) {
      Event event;
      event.kind = static_cast<EventKind>(kind);
      event.voter = static_cast<ParticipantId>(voter);
      event.cause = AbortCause::error;
      event.votes.resize(operations);
      visit(event);
    }
  }
}

TEST_CASE("every possible event leads where the table says") {
  for (const Situation& situation : situations()) {
    for (const Step& step : situation.possible) {
      INFO(situation.name << ": " << step.event);
      TwoPhase machine = at(situation);
      const Actions actions = machine.step(script::event_of(machine.plan(), step.event));
      CHECK(script::texts_of(machine, actions) == step.actions);
      CHECK(to_string(machine.state()) == step.state);
    }
  }
}

TEST_CASE("every impossible event throws and changes nothing") {
  for (const Situation& situation : situations()) {
    for_every_event(2, [&](const Event& event) {
      TwoPhase machine = at(situation);
      if (takes(situation, machine.plan(), event.kind, event.voter)) return;
      INFO(situation.name << ": " << to_string(event.kind) << " from " << int{event.voter});
      const State before = machine.state();
      CHECK_THROWS_AS(machine.step(event), std::logic_error);
      CHECK(machine.state() == before);
      for (const Step& step : situation.possible) {
        TwoPhase copy = machine;
        const Actions actions = copy.step(script::event_of(copy.plan(), step.event));
        CHECK(script::texts_of(copy, actions) == step.actions);
      }
    });
  }
}

TEST_CASE("every state, event kind and action kind is met by the situations") {
  std::set<std::string> states, events, actions;
  for (const Situation& situation : situations()) {
    states.emplace(to_string(at(situation).state()));
    for (const Step& step : situation.possible) {
      events.insert(script::words(step.event)[0]);
      for (const std::string& action : step.actions) actions.insert(script::words(action)[0]);
    }
  }
  CHECK(states.size() == static_cast<std::size_t>(State::done) + 1);
  CHECK(events.size() == static_cast<std::size_t>(EventKind::released) + 1);
  // record_refusals is on the way to `refusing`, the resubmissions have tests of their own.
  actions.insert(
      {"record_refusals", "resubmit_whole", "resubmit_halves", "resubmit_refused", "judge"});
  CHECK(actions.size() == static_cast<std::size_t>(ActionKind::finish) + 1);
}

TEST_CASE("votes that are not one for each operation are refused") {
  for (const char* votes : {"yes", "yes,yes,yes"}) {
    TwoPhase machine(script::group(two));
    machine.step({});
    CHECK_THROWS_AS(
        machine.step(script::event_of(machine.plan(), std::string("voted order ") + votes)),
        std::logic_error);
  }
}

}  // namespace
}  // namespace txcoord::protocol
