// The invariants, looked for in a world of sagas that has come to rest: what an audit of the
// services and of every answer would find. The order of steps is watched by the world itself.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/saga_process.hpp"
#include "tests/sim/saga_world.hpp"

namespace txcoord::saga_sim {

struct Finished {
  const World& world;
  const Skeleton& skeleton;
  const std::vector<Reply>& replies;
};

void check_ended(const Finished& run, std::vector<std::string>& violations);      // I8
void check_whole(const Finished& run, std::vector<std::string>& violations);      // I1 I8
void check_conserved(const Finished& run, std::vector<std::string>& violations);  // I6
void check_answers(const Finished& run, std::vector<std::string>& violations);    // I2 I10

std::vector<std::string> check_all(const Finished& run);

}  // namespace txcoord::saga_sim
