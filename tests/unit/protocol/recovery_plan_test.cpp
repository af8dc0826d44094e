// What recovery does with a prepared branch, for every combination of what it can have read.
// The expectation is written from the prose of recovery_plan.hpp, not from its code.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <optional>

#include "txcoord/protocol/recovery_plan.hpp"

namespace txcoord::protocol {
namespace {

// Whose gid it is. Epochs as committed (F): c1 (ourselves) 5, c2 8; c9 never registered.
enum class Whose { ours, ours_old_epoch, other_live, other_fenced, unknown };
constexpr Whose everybody[] = {Whose::ours, Whose::ours_old_epoch, Whose::other_live,
                               Whose::other_fenced, Whose::unknown};

Gid gid_of(Whose whose, std::uint64_t seq = 1) {
  switch (whose) {
    case Whose::ours: return {"0123abcd", "c1", 5, "aaaaaaaa", seq};
    case Whose::ours_old_epoch: return {"0123abcd", "c1", 4, "bbbbbbbb", seq};
    case Whose::other_live: return {"0123abcd", "c2", 8, "cccccccc", seq};
    case Whose::other_fenced: return {"0123abcd", "c2", 7, "dddddddd", seq};
    case Whose::unknown: return {"0123abcd", "c9", 1, "eeeeeeee", seq};
  }
  return {};
}

RecoveryView empty_view() {
  RecoveryView view;
  view.own_coordinator = "c1";
  view.own_epoch = 5;
  view.epochs = {{"c1", 5}, {"c2", 8}};
  return view;
}

struct Seen {
  Whose whose = Whose::ours;
  bool before = false, active = false, after = false;  // P, A, Q
  std::optional<Outcome> outcome;                      // T
};

void add(RecoveryView& view, const Gid& gid, const Seen& seen) {
  if (seen.before) view.prepared_before.push_back(gid);
  if (seen.active) view.active.insert(gid);
  if (seen.outcome) view.outcomes[gid] = *seen.outcome;
  if (seen.after) view.prepared_after.push_back(gid);
}

// The prose, as a predicate.
std::optional<RecoveryKind> expected(const Seen& seen) {
  const bool still_prepared = seen.before && seen.after;  // rule 3
  const bool nobody_works_on_it = seen.whose == Whose::ours ||
                                  seen.whose == Whose::ours_old_epoch ||
                                  seen.whose == Whose::other_fenced;  // rules 1, 2 and 5
  if (!still_prepared || seen.active || !nobody_works_on_it) return std::nullopt;
  if (!seen.outcome) return RecoveryKind::bury;  // rule 4: never rolled back before it is buried
  return *seen.outcome == Outcome::commit ? RecoveryKind::commit : RecoveryKind::rollback;
}

template <class Visit>
void for_every_combination(Visit visit) {
  for (const Whose whose : everybody)
    for (const bool before : {false, true})
      for (const bool active : {false, true})
        for (const bool after : {false, true})
          for (const std::optional<Outcome> outcome :
               {std::optional<Outcome>{}, std::optional{Outcome::commit},
                std::optional{Outcome::abort}})
            visit(Seen{whose, before, active, after, outcome});
}

TEST_CASE("I1 I3 every combination of P, F, A, T and Q has the action of the rules") {
  std::size_t combinations = 0;
  for_every_combination([&](const Seen& seen) {
    ++combinations;
    RecoveryView view = empty_view();
    const Gid gid = gid_of(seen.whose);
    add(view, gid, seen);
    INFO(format(gid) << " P" << seen.before << " A" << seen.active << " Q" << seen.after << " T"
                     << (seen.outcome ? static_cast<int>(*seen.outcome) : -1));
    const auto plan = plan_recovery(view);
    const auto kind = expected(seen);
    REQUIRE(plan.size() == (kind ? 1U : 0U));
    if (kind) CHECK(plan[0] == RecoveryAction{*kind, gid});
  });
  CHECK(combinations == 120);
}

TEST_CASE("what recovery does with one gid does not depend on the others") {
  RecoveryView view = empty_view();
  std::vector<RecoveryAction> wanted;
  std::uint64_t seq = 0;
  for_every_combination([&](const Seen& seen) {
    const Gid gid = gid_of(seen.whose, ++seq);
    add(view, gid, seen);
    if (const auto kind = expected(seen)) wanted.push_back({*kind, gid});
  });
  CHECK(plan_recovery(view) == wanted);
  std::ranges::reverse(view.prepared_before);
  CHECK(plan_recovery(view) == wanted);
}

TEST_CASE("the same number of another incarnation or epoch is another gid") {
  RecoveryView view = empty_view();
  const Gid gid = gid_of(Whose::ours);
  Gid twin = gid;
  twin.incarnation = "ffffffff";
  view.prepared_before = view.prepared_after = {gid};
  view.active = {twin};
  view.outcomes = {{twin, Outcome::commit}};
  CHECK(plan_recovery(view) == std::vector{RecoveryAction{RecoveryKind::bury, gid}});
}

TEST_CASE("I11 a coordinator that was fenced itself leaves its successor's branches alone") {
  RecoveryView view = empty_view();
  view.epochs["c1"] = 6;
  Gid successor = gid_of(Whose::ours);
  successor.epoch = 6;
  view.prepared_before = view.prepared_after = {successor};
  CHECK_FALSE(may_finish(successor, view));
  CHECK(plan_recovery(view).empty());
}

TEST_CASE("who may finish a gid's work") {
  const RecoveryView view = empty_view();
  CHECK(may_finish(gid_of(Whose::ours), view));
  CHECK(may_finish(gid_of(Whose::ours_old_epoch), view));
  CHECK(may_finish(gid_of(Whose::other_fenced), view));
  CHECK_FALSE(may_finish(gid_of(Whose::other_live), view));
  CHECK_FALSE(may_finish(gid_of(Whose::unknown), view));
}

TEST_CASE("suspects are the other coordinators that are not fenced and left something prepared") {
  RecoveryView view = empty_view();
  CHECK(suspects(view).empty());
  for (const Whose whose : everybody) view.prepared_after.push_back(gid_of(whose));
  CHECK(suspects(view) == std::set<std::string>{"c2", "c9"});

  // Ended in between: nobody has to be taken over for it.
  view.prepared_after = {gid_of(Whose::ours), gid_of(Whose::other_fenced)};
  view.prepared_before = {gid_of(Whose::other_live)};
  CHECK(suspects(view).empty());
}

// --- the log that went back ----------------------------------------------------------------------

TEST_CASE("a log went back when it is another cluster, an earlier timeline, or shorter") {
  const LogPoint seen{"7301", 4, 1000};
  const auto now = [&seen](std::string system_identifier, std::int64_t timeline,
                           std::uint64_t lsn) {
    return log_change(seen, {std::move(system_identifier), timeline, lsn});
  };
  CHECK(now("7301", 4, 1000) == LogChange::none);
  CHECK(now("7301", 4, 1001) == LogChange::none);
  CHECK(now("7301", 4, 999) == LogChange::went_back);
  CHECK(now("7301", 5, 999) == LogChange::went_back);   // failed over to one that was behind
  CHECK(now("7301", 3, 1001) == LogChange::went_back);  // restored to before an earlier failover
  CHECK(now("7302", 4, 1001) == LogChange::went_back);
  CHECK(now("7302", 1, 10) == LogChange::went_back);
  CHECK(log_change({}, {"7301", 4, 1000}) == LogChange::none);  // the first look at it
}

TEST_CASE("a log on a later timeline that lacks nothing that was seen failed over") {
  const LogPoint seen{"7301", 4, 1000};
  CHECK(log_change(seen, {"7301", 5, 1000}) == LogChange::failed_over);
  CHECK(log_change(seen, {"7301", 7, 4000}) == LogChange::failed_over);
  // The standby may have lacked the last decisions, and may have been written since: nobody can
  // see that from the positions, so it is treated as a log that lacks some.
  CHECK(may_lack_decisions(LogChange::failed_over));
  CHECK(may_lack_decisions(LogChange::went_back));
  CHECK_FALSE(may_lack_decisions(LogChange::none));
}

// What each of the three siblings of a branch in inventory says.
enum class Says { nothing, no_witness, witness };

std::map<std::string, bool> witnesses_of(Says order, Says payment, Says shipping) {
  std::map<std::string, bool> witnesses;
  const auto add_answer = [&witnesses](const char* name, Says says) {
    if (says != Says::nothing) witnesses[name] = says == Says::witness;
  };
  add_answer("order", order);
  add_answer("payment", payment);
  add_answer("shipping", shipping);
  return witnesses;
}

TEST_CASE(
    "I1 a log that went back: a witness anywhere commits, silence waits, all absent rolls back") {
  const std::set<std::string> siblings = {"order", "payment", "shipping"};
  const Says all[] = {Says::nothing, Says::no_witness, Says::witness};
  std::map<LostDecision, std::size_t> rows;
  for (const Says order : all)
    for (const Says payment : all)
      for (const Says shipping : all) {
        const Says answers[] = {order, payment, shipping};
        const bool witness = std::ranges::count(answers, Says::witness) > 0;
        const bool silence = std::ranges::count(answers, Says::nothing) > 0;
        LostDecision expected = LostDecision::roll_back;
        if (silence) expected = LostDecision::wait;
        if (witness) expected = LostDecision::commit;
        INFO(static_cast<int>(order) << static_cast<int>(payment) << static_cast<int>(shipping));
        CHECK(judge_lost_decision(siblings, witnesses_of(order, payment, shipping)) == expected);
        ++rows[expected];
      }
  CHECK(rows == std::map<LostDecision, std::size_t>{{LostDecision::commit, 19},
                                                    {LostDecision::wait, 7},
                                                    {LostDecision::roll_back, 1}});
}

TEST_CASE("I1 a log that went back: nobody to ask proves nothing") {
  CHECK(judge_lost_decision({}, {}) == LostDecision::wait);
  // Somebody else's answer does not stand for that of a sibling; a witness is proof wherever it is.
  CHECK(judge_lost_decision({"order"}, {{"payment", false}}) == LostDecision::wait);
  CHECK(judge_lost_decision({"order"}, {{"payment", true}}) == LostDecision::commit);
}

TEST_CASE("a decided branch of which nothing is left: committed only where that is proven") {
  struct Row {
    std::optional<DecisionNow> now;
    bool owner_fenced, went_back;
    MissingBranch expected;
  };
  const DecisionNow complete{Outcome::commit, true}, incomplete{Outcome::commit, false};
  const DecisionNow tombstone{Outcome::abort, true};
  const Row rows[] = {
      {complete, false, false, MissingBranch::committed},
      {complete, true, true, MissingBranch::committed},
      {incomplete, false, false, MissingBranch::lost},
      {incomplete, true, false, MissingBranch::lost},
      {tombstone, false, false, MissingBranch::lost},
      {tombstone, true, false, MissingBranch::lost},
      {std::nullopt, false, false, MissingBranch::lost},
      {std::nullopt, false, true, MissingBranch::lost},
      {std::nullopt, true, true, MissingBranch::lost},
      {std::nullopt, true, false, MissingBranch::committed},
  };
  for (const Row& row : rows)
    CHECK(judge_missing_branch(row.now, row.owner_fenced, row.went_back) == row.expected);
}

}  // namespace
}  // namespace txcoord::protocol
