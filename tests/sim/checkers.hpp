// The invariants, looked for in a world that has come to rest: what an audit of the five databases
// and of every answer that a client got would find. I4 and I11 are watched by the world itself.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/coordinator.hpp"
#include "tests/sim/world.hpp"

namespace txcoord::sim {

struct Finished {
  const World& world;
  const std::map<std::string, Stock>& stocks_at_start;
  const Group& operations;            // every operation that a client sent
  const std::vector<Reply>& replies;  // in the order they were told
};

void check_atomic(const Finished& run, std::vector<std::string>& violations);        // I1
void check_durable(const Finished& run, std::vector<std::string>& violations);       // I2
void check_one_decision(const Finished& run, std::vector<std::string>& violations);  // I3
void check_once(const Finished& run, std::vector<std::string>& violations);          // I5
void check_conserved(const Finished& run, std::vector<std::string>& violations);     // I6
void check_no_orphan(const Finished& run, std::vector<std::string>& violations);     // I7
void check_answers(const Finished& run, std::vector<std::string>& violations);       // I10

std::vector<std::string> check_all(const Finished& run);

}  // namespace txcoord::sim
