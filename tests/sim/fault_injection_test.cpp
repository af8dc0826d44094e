// Group two-phase commit and recovery under every fault: the production core against the model
// world of this folder. A failure prints what is needed to run it again, and the whole trace.
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>

#include "tests/sim/simulation.hpp"

namespace txcoord::sim {
namespace {

using Stocks = std::map<std::string, Stock>;

const protocol::Vote declined{protocol::Answer::no, true, "CARD_DECLINED", {}};

Want takes(std::int64_t amount) { return {.takes = {{"rows", amount}}}; }
Want answers(protocol::Vote vote) { return {.fixed = std::move(vote)}; }

Stocks stocks_of(const std::vector<std::string>& participants, std::int64_t amount) {
  Stocks stocks;
  for (const std::string& participant : participants) stocks[participant] = {{"rows", amount}};
  return stocks;
}

Stocks with(Stocks stocks, const std::string& participant, std::int64_t amount) {
  stocks[participant]["rows"] = amount;
  return stocks;
}

// The happy runs that everything below goes wrong in.
std::vector<Skeleton> skeletons() {
  const std::vector<std::string> two = {"inventory", "payment"},
                                 three = {"inventory", "order", "payment"},
                                 four = {"inventory", "order", "payment", "shipping"};
  return {
      {"one order, four participants",
       stocks_of(four, 5),
       {{{"k1",
          {{"inventory", takes(1)},
           {"order", takes(1)},
           {"payment", takes(2)},
           {"shipping", takes(1)}}}}},
       {}},
      {"three groups of one order, for two pieces",
       with(stocks_of(two, 5), "inventory", 2),
       {{{"k1", {{"inventory", takes(1)}, {"payment", takes(1)}}}},
        {{"k2", {{"inventory", takes(1)}, {"payment", takes(1)}}}},
        {{"k3", {{"inventory", takes(1)}, {"payment", takes(1)}}}}},
       {}},
      {"three orders, the first falls and the second is judged again",
       stocks_of(three, 3),
       {{{"k1", {{"inventory", takes(2)}, {"order", takes(1)}, {"payment", answers(declined)}}},
         {"k2", {{"inventory", takes(2)}, {"order", takes(1)}, {"payment", takes(1)}}},
         {"k3", {{"inventory", takes(2)}, {"order", takes(1)}, {"payment", takes(1)}}}}},
       {}},
      {"two orders, one voter a stage",
       stocks_of(three, 5),
       {{{"k1", {{"inventory", takes(1)}, {"order", takes(1)}, {"payment", takes(1)}}},
         {"k2", {{"inventory", takes(1)}, {"order", takes(1)}, {"payment", takes(1)}}}}},
       {{"inventory"}, {"payment"}, {"log", "order"}}},
      {"no survivors",
       stocks_of(two, 1),
       {{{"k1", {{"inventory", takes(2)}, {"payment", takes(1)}}},
         {"k2", {{"inventory", takes(1)}, {"payment", answers(declined)}}}}},
       {}},
      {"a participant that only the fallen touched",
       stocks_of(three, 2),
       {{{"k1", {{"inventory", takes(1)}, {"order", takes(1)}, {"payment", answers(declined)}}},
         {"k2", {{"inventory", takes(1)}, {"order", takes(1)}}}}},
       {}},
  };
}

// Runs it; false, and told, if the run broke an invariant.
bool holds(const Skeleton& skeleton, const Options& options, Report& report) {
  report = simulate(skeleton, options);
  if (report.violations.empty()) return true;
  UNSCOPED_INFO(explain(skeleton, options));
  return false;
}

// How many requests the first coordinator gets answered if nothing goes wrong.
std::size_t steps_of(const Skeleton& skeleton, std::uint64_t seed) {
  return simulate(skeleton, {.seed = seed}).steps;
}

TEST_CASE("without a fault every operation gets a verdict, whoever else runs recovery") {
  Report report;
  for (const Skeleton& skeleton : skeletons()) {
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
      for (const Bystander bystander :
           {Bystander::none, Bystander::live_coordinator, Bystander::predecessor}) {
        const Options options{.seed = seed, .bystander = bystander};
        REQUIRE(holds(skeleton, options, report));
        if (report.unavailable > 0) FAIL(explain(skeleton, options));
      }
    }
  }
}

TEST_CASE("every skeleton survives every fault at every request") {
  Report report;
  std::size_t runs = 0;
  for (const Skeleton& skeleton : skeletons()) {
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      const std::size_t steps = steps_of(skeleton, seed);
      for (std::size_t at = 0; at < steps; ++at) {
        std::size_t faults = 1;
        for (std::size_t fault = 0; fault < faults; ++fault, ++runs) {
          REQUIRE(holds(skeleton, {.seed = seed, .fault_at = at, .fault = fault}, report));
          faults = report.faults_there;
        }
      }
    }
  }
  CHECK(runs > 3'000);
}

TEST_CASE("every skeleton survives a kill before every answer") {
  Report report;
  for (const Skeleton& skeleton : skeletons()) {
    for (std::uint64_t seed = 0; seed < 30; ++seed) {
      const std::size_t steps = steps_of(skeleton, seed);
      for (std::size_t at = 0; at < steps; ++at)
        REQUIRE(holds(skeleton, {.seed = seed, .crash_at = at}, report));
    }
  }
}

TEST_CASE("every skeleton survives a take-over of a coordinator that lives on") {
  Report report;
  for (const Skeleton& skeleton : skeletons()) {
    for (std::uint64_t seed = 0; seed < 30; ++seed) {
      const std::size_t steps = steps_of(skeleton, seed);
      for (std::size_t at = 0; at < steps; ++at)
        REQUIRE(holds(skeleton, {.seed = seed, .take_over_at = at}, report));
    }
  }
}

// TXC_SIM_SEEDS=100000 searches longer.
TEST_CASE("every skeleton survives many faults at once") {
  const char* wanted = std::getenv("TXC_SIM_SEEDS");
  std::set<std::pair<protocol::ActionKind, Fault>> met;
  const std::uint64_t seeds = wanted ? std::stoull(wanted) : 1'000;
  Report report;
  for (const Skeleton& skeleton : skeletons()) {
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
      Options options{.seed = seed, .faults_per_mille = 30 + seed % 300};
      if (seed % 2 == 0) options.crash_at = seed % 29;
      if (seed % 3 == 0) options.take_over_at = seed % 31;
      if (seed % 5 == 0) options.bystander = Bystander::predecessor;
      REQUIRE(holds(skeleton, options, report));
      met.merge(report.met);
    }
  }
  // A fault that never happened was not survived.
  for (int kind = 0; kind <= static_cast<int>(protocol::ActionKind::finish); ++kind) {
    const auto action = static_cast<protocol::ActionKind>(kind);
    for (const Fault fault : faults_of(action)) {
      INFO(to_string(action) << ' ' << to_string(fault));
      CHECK(met.contains({action, fault}));
    }
  }
}

TEST_CASE("the same options give the same run") {
  for (const Skeleton& skeleton : skeletons()) {
    const Options options{.seed = 7, .faults_per_mille = 100, .crash_at = 11};
    CHECK(explain(skeleton, options) == explain(skeleton, options));
  }
}

}  // namespace
}  // namespace txcoord::sim
