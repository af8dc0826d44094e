// Sagas under every fault: the production core against the model of saga_world.hpp. A failure
// prints what is needed to run it again, and the whole trace.
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>

#include "tests/sim/saga_simulation.hpp"

namespace txcoord::saga_sim {
namespace {

// One saga, so that every fault at every message can be tried, and every two.
std::vector<Skeleton> lone() {
  const Wish place{"s1", What::place, "o1"}, cancel{"s1", What::cancel, "o1"},
      accepted{"s1", What::accepted, "o1"}, pay_later{"s1", What::pay_later, "o1"},
      both_later{"s1", What::both_later, "o1"};
  return {
      {.name = "placed", .available = 5, .balance = 50, .wishes = {place}},
      {.name = "out of stock", .available = 0, .balance = 50, .wishes = {place}},
      {.name = "no money", .available = 5, .balance = 5, .wishes = {place}},
      {.name = "no carrier, and a compensation that is refused",
       .available = 5,
       .balance = 50,
       .wishes = {place},
       .sizes = {{"o1", {.carried = false}}},
       .compensations_refused = 3},
      {.name = "cancelled", .wishes = {cancel}, .standing = {{"o1", "CONFIRMED"}}},
      {.name = "not cancelled: shipped", .wishes = {cancel}, .standing = {{"o1", "SHIPPED"}}},
      {.name = "accepted", .available = 5, .balance = 50, .wishes = {accepted}},
      {.name = "accepted, out of stock", .balance = 50, .wishes = {accepted}},
      {.name = "paid later", .available = 5, .balance = 50, .wishes = {pay_later}},
      {.name = "not paid later, and a compensation that is refused",
       .available = 5,
       .balance = 5,
       .wishes = {pay_later},
       .compensations_refused = 3},
      {.name = "paid later, and no carrier in the end",
       .available = 5,
       .balance = 50,
       .wishes = {both_later},
       .sizes = {{"o1", {.carried = false}}}},
  };
}

// Sagas that meet: over the last piece, over the money, over one order.
std::vector<Skeleton> crowds() {
  const Wish first{"s1", What::place, "o1"}, second{"s2", What::place, "o2"},
      third{"s3", What::accepted, "o3"}, cancels_first{"s4", What::cancel, "o1"},
      cancels_old{"s5", What::cancel, "o5"};
  return {
      {.name = "three orders for two pieces",
       .available = 2,
       .balance = 100,
       .wishes = {first, second, third}},
      {.name = "three orders for two payments",
       .available = 9,
       .balance = 25,
       .wishes = {first, second, third}},
      {.name = "three for two payments, two of them later",
       .available = 9,
       .balance = 25,
       .wishes = {{"s1", What::pay_later, "o1"}, second, {"s3", What::both_later, "o3"}}},
      {.name = "an order cancelled while it is placed",
       .available = 5,
       .balance = 50,
       .wishes = {first, cancels_first}},
      {.name = "a cancellation frees what others want",
       .available = 1,
       .balance = 10,
       .wishes = {first, second, third, cancels_old},
       .sizes = {{"o2", {.carried = false}}},
       .standing = {{"o5", "CONFIRMED"}},
       .compensations_refused = 2},
  };
}

// Runs it; false, and told, if the run broke an invariant.
bool holds(const Skeleton& skeleton, const Options& options, Report& report) {
  report = simulate(skeleton, options);
  if (report.violations.empty()) return true;
  UNSCOPED_INFO(explain(skeleton, options));
  return false;
}

TEST_CASE("sagas without a fault end as their stock, money and carrier say") {
  const auto completed = [](const Skeleton& skeleton) {
    Report report;
    for (std::uint64_t seed = 0; seed < 30; ++seed)
      REQUIRE(holds(skeleton, {.seed = seed}, report));
    return report.completed;
  };
  std::vector<std::size_t> each;
  for (const Skeleton& skeleton : lone()) each.push_back(completed(skeleton));
  CHECK(each == std::vector<std::size_t>{1, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0});
  CHECK(completed(crowds()[0]) == 2);
  CHECK(completed(crowds()[1]) == 2);
}

// Tries `visit` with every fault that the message `at` can meet, after those of `options`.
template <class Visit>
std::size_t with_every_fault(const Skeleton& skeleton, Options options, std::size_t at,
                             Visit visit) {
  Report report;
  std::size_t runs = 0;
  options.faults.push_back({at, 0});
  for (std::size_t faults = 1; options.faults.back().fault < faults;
       ++options.faults.back().fault, ++runs) {
    REQUIRE(holds(skeleton, options, report));
    faults = report.faults_there.back();
    runs += visit(options, report);
  }
  return runs;
}

TEST_CASE("a saga survives every fault at every message, and every two faults") {
  std::size_t runs = 0;
  for (const Skeleton& skeleton : lone()) {
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      const std::size_t steps = simulate(skeleton, {.seed = seed}).steps;
      for (std::size_t first = 0; first < steps; ++first)
        runs += with_every_fault(
            skeleton, {.seed = seed}, first, [&](const Options& one, const Report& report) {
              std::size_t more = 0;
              // What is late lands at the very end in seed 1: there the second fault is worst.
              if (seed != 1) return more;
              for (std::size_t second = first + 1; second < report.steps; ++second)
                more += with_every_fault(skeleton, one, second,
                                         [](const Options&, const Report&) { return 0U; });
              return more;
            });
    }
  }
  CHECK(runs > 30'000);
}

// TXC_SIM_SEEDS=100000 searches longer.
TEST_CASE("sagas survive many faults at once") {
  const char* wanted = std::getenv("TXC_SIM_SEEDS");
  const std::uint64_t seeds = wanted ? std::stoull(wanted) : 1'000;
  std::set<std::pair<protocol::SagaActionKind, Fault>> met;
  std::size_t completed = 0, failed = 0;
  Report report;
  for (const auto& skeletons : {lone(), crowds()}) {
    for (const Skeleton& skeleton : skeletons) {
      for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        REQUIRE(holds(skeleton, {.seed = seed, .faults_per_mille = 20 + seed % 400}, report));
        met.merge(report.met);
        completed += report.completed;
        failed += report.failed;
      }
    }
  }
  // A fault that never happened was not survived; sagas that all fail prove little.
  for (const auto kind : {protocol::SagaActionKind::run, protocol::SagaActionKind::undo,
                          protocol::SagaActionKind::record}) {
    for (const Fault fault : faults_of(kind)) {
      INFO(to_string(kind) << ' ' << to_string(fault));
      CHECK(met.contains({kind, fault}));
    }
  }
  CHECK(completed > seeds);
  CHECK(failed > seeds);
}

// Whether a few seeds find something wrong when databases or participants promise less.
bool found_without(bool Promises::*promise) {
  Promises promises;
  promises.*promise = false;
  for (const auto& skeletons : {lone(), crowds()})
    for (const Skeleton& skeleton : skeletons)
      for (std::uint64_t seed = 1; seed <= 500; ++seed) {
        const Options options{.seed = seed, .faults_per_mille = 200, .promises = promises};
        if (!simulate(skeleton, options).violations.empty()) return true;
      }
  return false;
}

TEST_CASE("each promise that sagas lean on is needed, and its loss is found") {
  CHECK(found_without(&Promises::repeated_step_is_known));
  CHECK(found_without(&Promises::refusal_is_known));
  CHECK(found_without(&Promises::compensation_bars_the_late));
  CHECK(found_without(&Promises::one_reason));
  CHECK(found_without(&Promises::log_never_goes_back));
  CHECK(found_without(&Promises::log_knows_the_owner));
}

TEST_CASE("the same options give the same run of sagas") {
  for (const Skeleton& skeleton : crowds()) {
    const Options options{.seed = 8, .faults = {{3, 2}}, .faults_per_mille = 100};
    CHECK(explain(skeleton, options) == explain(skeleton, options));
  }
}

}  // namespace
}  // namespace txcoord::saga_sim
