// One run: processes take sagas through their steps, things go wrong, everything comes to rest, and
// the invariants are checked. Everything comes from the options: the same give the same run.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/saga_checkers.hpp"

namespace txcoord::saga_sim {

struct Planned {
  std::size_t at = 0;     // the n-th step
  std::size_t fault = 0;  // the k-th of those it can meet
};

struct Options {
  std::uint64_t seed = 1;
  std::vector<Planned> faults{};     // by `at`
  std::size_t faults_per_mille = 0;  // besides, at random
  Promises promises{};
  bool traced = false;
};

struct Report {
  std::size_t steps = 0;                  // messages that were answered or met a fault
  std::vector<std::size_t> faults_there;  // how many each planned message could meet
  std::set<std::pair<protocol::SagaActionKind, Fault>> met;
  std::size_t completed = 0, failed = 0;
  std::vector<std::string> violations, trace;
};

Report simulate(const Skeleton& skeleton, const Options& options);

// For messages: runs it again, and tells everything that happened.
std::string explain(const Skeleton& skeleton, Options options);

}  // namespace txcoord::saga_sim
