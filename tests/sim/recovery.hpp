// Recovery in the model: reads P, F, A, T, Q one step at a time, so that everything else can happen
// in between, and does what the production plan_recovery() says.
#pragma once

#include <deque>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/world.hpp"

namespace txcoord::sim {

class Recovery {
 public:
  // `active` is read at A. `trims`: completed decisions lose their witnesses, as in production.
  Recovery(World& world, std::string coordinator, std::uint64_t epoch,
           std::function<std::set<Gid>()> active, bool trims);

  // One read or one request. `fails`: the request is not answered, and not done; left to the next
  // round.
  void step(bool fails);
  // Rounds over all participants since the start.
  std::size_t rounds() const { return rounds_; }

 private:
  void read();
  void act(bool fails);
  void settle_decisions();
  bool finish_branches(const Gid& gid, Decision& decision);

  World& world_;
  protocol::RecoveryView view_;
  std::function<std::set<Gid>()> active_;
  bool trims_;
  std::vector<std::string> participants_;
  std::size_t participant_ = 0, reads_ = 0, rounds_ = 0;
  std::deque<protocol::RecoveryAction> plan_;
};

}  // namespace txcoord::sim
