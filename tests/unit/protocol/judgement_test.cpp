// Which operations of a group survive: the rules one by one, then random groups against a serial
// run that takes one operation at a time and forgets those that fell.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <random>

#include "tests/sim/counting_voter.hpp"
#include "txcoord/protocol/judgement.hpp"

namespace txcoord::protocol {
namespace {

const Vote yes{};
const Vote never{Answer::no, true, "NEVER", {}};
const Vote short_of{Answer::no, false, "SHORT", {}};
const Vote duplicate{Answer::duplicate, true, {}, {}};
const Vote later{Answer::retry, true, {}, {}};

std::vector<Fate> fates(const Judgement& judgement) {
  std::vector<Fate> all;
  for (const Verdict& verdict : judgement.verdicts()) all.push_back(verdict.fate);
  return all;
}

TEST_CASE("yes from everybody is confirmed in one round") {
  Judgement judgement(2);
  CHECK(judgement.round({{yes, yes}, {yes, yes}}));
  CHECK(fates(judgement) == std::vector{Fate::confirmed, Fate::confirmed});
  CHECK(judgement.rounds() == 1);
}

TEST_CASE("a refusal that counted only what is confirmed stands") {
  Judgement judgement(2);
  CHECK(judgement.round({{yes, short_of}, {yes, yes}}));
  CHECK(fates(judgement) == std::vector{Fate::confirmed, Fate::refused});
  CHECK(judgement.verdicts()[1].reason == "SHORT");
}

TEST_CASE("a refusal by a voter that counted what fell elsewhere is judged again") {
  Judgement judgement(2);
  CHECK_FALSE(judgement.round({{yes, short_of}, {never, yes}}));
  CHECK(judgement.candidates() == std::vector{false, true});
  CHECK(judgement.round({{yes, yes}, {yes, yes}}));
  CHECK(fates(judgement) == std::vector{Fate::refused, Fate::confirmed});
}

TEST_CASE("a refusal by the voter that the fallen operation fell at stands") {
  Judgement judgement(2);
  CHECK(judgement.round({{never, short_of}, {yes, yes}}));
  CHECK(fates(judgement) == std::vector{Fate::refused, Fate::refused});
}

TEST_CASE("past an open operation a final refusal stands and nothing else does") {
  Judgement judgement(4);
  CHECK_FALSE(judgement.round({{yes, short_of, yes, yes}, {never, yes, never, yes}}));
  CHECK(fates(judgement) == std::vector{Fate::refused, Fate::open, Fate::refused, Fate::open});
  CHECK(judgement.candidates() == std::vector{false, true, false, true});
}

TEST_CASE("a yes past an open operation may turn to no") {
  // 10 in stock: 5 that fall elsewhere, 6 refused beside them, 5 accepted; without the first, the
  // 6 fit and the last 5 do not.
  const std::vector<sim::Want> wants = {{{{"a", 5}}}, {{{"a", 6}}}, {{{"a", 5}}}};
  const sim::Stock stock = {{"a", 10}};
  Judgement judgement(3);
  const Votes first = sim::judge(wants, stock, judgement.candidates(), "SHORT");
  CHECK(first == Votes{yes, short_of, yes});
  CHECK_FALSE(judgement.round({first, {never, yes, yes}}));
  CHECK(judgement.round(
      {sim::judge(wants, stock, judgement.candidates(), "SHORT"), {yes, yes, yes}}));
  CHECK(fates(judgement) == std::vector{Fate::refused, Fate::confirmed, Fate::refused});
}

TEST_CASE("the first of several refusals gives the reason") {
  const Vote other{Answer::no, true, "OTHER", "why"};
  Judgement judgement(1);
  CHECK(judgement.round({{yes}, {other}, {never}}));
  CHECK(judgement.verdicts()[0] == Verdict{Fate::refused, "OTHER", "why"});
}

TEST_CASE("a duplicate is answered as a duplicate whatever the others say") {
  Judgement judgement(2);
  CHECK(judgement.round({{duplicate, yes}, {never, yes}}));
  CHECK(fates(judgement) == std::vector{Fate::duplicate, Fate::confirmed});
}

TEST_CASE("an operation that must be judged later is neither confirmed nor refused") {
  Judgement judgement(2);
  CHECK(judgement.round({{yes, yes}, {later, yes}}));
  CHECK(fates(judgement) == std::vector{Fate::retry, Fate::confirmed});
}

// --- random groups against the serial run
// ----------------------------------------------------------

struct Group {
  std::vector<std::vector<sim::Want>> wants;  // [voter][operation]; voter 0 is the log
  std::vector<sim::Stock> stocks;             // [voter]
  std::size_t operations = 0;
};

std::string reason_of(std::size_t voter) { return "SHORT_AT_" + std::to_string(voter); }

Group random_group(std::mt19937_64& random) {
  const auto below = [&](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
  };
  Group group;
  group.operations = 1 + below(9);
  const std::size_t voters = 2 + below(4);
  group.wants.assign(voters, std::vector<sim::Want>(group.operations));
  group.stocks.resize(voters);
  for (std::size_t voter = 1; voter < voters; ++voter)
    for (const char* resource : {"a", "b"})
      group.stocks[voter][resource] = static_cast<std::int64_t>(below(12));
  for (std::size_t operation = 0; operation < group.operations; ++operation) {
    if (below(12) == 0) group.wants[0][operation].fixed = duplicate;
    for (std::size_t voter = 1; voter < voters; ++voter) {
      sim::Want& want = group.wants[voter][operation];
      if (below(4) == 0) continue;  // the operation does not touch this voter
      if (below(12) == 0)
        want.fixed = Vote{Answer::no, true, "NEVER_AT_" + std::to_string(voter), {}};
      if (below(20) == 0) want.fixed = later;
      want.takes[below(2) == 0 ? "a" : "b"] = static_cast<std::int64_t>(1 + below(6));
    }
  }
  return group;
}

// What every voter says to each operation when it counts the confirmed ones before it, and those
// alone.
std::vector<std::vector<Vote>> serial_run(const Group& group) {
  std::vector<std::vector<Vote>> said(group.operations);
  std::vector<sim::Stock> left = group.stocks;
  for (std::size_t operation = 0; operation < group.operations; ++operation) {
    for (std::size_t voter = 0; voter < left.size(); ++voter)
      said[operation].push_back(sim::vote_on(group.wants[voter][operation], group.stocks[voter],
                                             left[voter], reason_of(voter)));
    const bool confirmed = std::ranges::all_of(
        said[operation], [](const Vote& vote) { return vote.answer == Answer::yes; });
    for (std::size_t voter = 0; voter < left.size() && confirmed; ++voter)
      sim::take(left[voter], group.wants[voter][operation].takes);
  }
  return said;
}

Judgement judged(const Group& group) {
  Judgement judgement(group.operations);
  bool settled = false;
  while (!settled && judgement.rounds() <= group.operations + 1) {
    std::vector<Votes> votes;
    for (std::size_t voter = 0; voter < group.wants.size(); ++voter)
      votes.push_back(sim::judge(group.wants[voter], group.stocks[voter], judgement.candidates(),
                                 reason_of(voter)));
    settled = judgement.round(votes);
  }
  return judgement;
}

// The verdict is the serial one: confirmed if all said yes, else what one of those who did not
// said. Who of them is named when several refuse depends on whose refusal was certain first.
bool agrees(const Verdict& verdict, const std::vector<Vote>& said) {
  const auto refuses = [](const Vote& vote) { return vote.answer != Answer::yes; };
  if (std::ranges::none_of(said, refuses)) return verdict == Verdict{Fate::confirmed, {}, {}};
  if (said[0].answer == Answer::duplicate) return verdict.fate == Fate::duplicate;
  return std::ranges::any_of(said, [&](const Vote& vote) {
    if (!refuses(vote)) return false;
    return verdict.fate == (vote.answer == Answer::no ? Fate::refused : Fate::retry) &&
           verdict.reason == vote.reason;
  });
}

TEST_CASE("random groups end as a serial run of their operations does") {
  std::size_t rounds_max = 0;
  for (std::uint64_t seed = 1; seed <= 20'000; ++seed) {
    std::mt19937_64 random(seed);
    const Group group = random_group(random);
    const Judgement judgement = judged(group);
    const auto said = serial_run(group);
    rounds_max = std::max(rounds_max, judgement.rounds());
    INFO("seed " << seed << ", " << group.operations << " operations, " << judgement.rounds()
                 << " rounds");
    REQUIRE(judgement.rounds() <= group.operations + 1);
    for (std::size_t operation = 0; operation < group.operations; ++operation) {
      INFO("operation " << operation);
      REQUIRE(agrees(judgement.verdicts()[operation], said[operation]));
    }
  }
  CHECK(rounds_max > 2);  // or the groups were too tame to test anything
}

}  // namespace
}  // namespace txcoord::protocol
