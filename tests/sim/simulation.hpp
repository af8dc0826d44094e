// One run of the small simulator: a coordinator takes a group through the protocol, something goes
// wrong, recovery brings everything to rest, clients try again, and the invariants are checked.
// Everything comes from the seed: the same options give the same run.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/checkers.hpp"

namespace txcoord::sim {

// What is run: the operations, what there is in stock, in which order votes are asked for.
struct Skeleton {
  std::string name;
  std::map<std::string, Stock> stocks;
  std::vector<Group> groups;  // one after another
  std::vector<std::vector<std::string>> stages;
};

// Who else runs recovery all the while, with nothing to do with the groups that run.
enum class Bystander : std::uint8_t {
  none,
  live_coordinator,  // another one, whose own epoch is good
  predecessor,       // the process before, which does not know that it was replaced
};

struct Options {
  std::uint64_t seed = 1;
  // One fault: at the n-th request that is answered, the k-th of those it can meet.
  std::optional<std::size_t> fault_at;
  std::size_t fault = 0;
  // Faults at random: a chance in a thousand for each request.
  std::size_t faults_per_mille = 0;
  std::optional<std::size_t> crash_at;  // the process is killed before the n-th answer
  // Another coordinator takes over before the n-th answer, and the first lives on.
  std::optional<std::size_t> take_over_at;
  Bystander bystander = Bystander::none;
  bool traced = false;
};

struct Report {
  std::size_t steps = 0;         // requests answered by the first coordinator
  std::size_t faults_there = 0;  // how many faults the request at fault_at can meet
  std::size_t unavailable = 0;   // operations that the first coordinator answered with 503
  std::set<std::pair<protocol::ActionKind, Fault>> met;  // the faults that there were
  std::vector<std::string> violations;
  std::vector<std::string> trace;  // if traced
};

Report simulate(const Skeleton& skeleton, const Options& options);

// For messages: runs it again, and tells everything that happened.
std::string explain(const Skeleton& skeleton, Options options);

}  // namespace txcoord::sim
