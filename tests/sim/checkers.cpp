// One checker for each invariant. None of them looks at how the world came to be as it is.
#include "tests/sim/checkers.hpp"

#include <algorithm>

namespace txcoord::sim {

using protocol::Outcome;

namespace {

std::size_t times(const World& world, const std::string& participant, const std::string& key) {
  const auto& effects = world.databases.at(participant).effects;
  const auto found = effects.find(key);
  return found == effects.end() ? 0 : found->second.size();
}

bool heuristic(const World& world) {
  return std::ranges::any_of(world.log.decisions,
                             [](const auto& row) { return row.second.heuristic; });
}

}  // namespace

void check_atomic(const Finished& run, std::vector<std::string>& violations) {
  if (run.world.lost_state) {
    // What a failover lost cannot be mended; it must be on record if a decision counted on it.
    for (const auto& [gid, decision] : run.world.log.decisions) {
      if (decision.heuristic && decision.complete)
        violations.push_back("I1 a heuristic outcome was completed, to be forgotten: " +
                             format(gid));
      if (decision.outcome != Outcome::commit || decision.complete || decision.heuristic) continue;
      violations.push_back("I1 lost, and not recorded as heuristic: " + format(gid));
    }
    if (heuristic(run.world)) return;
  }
  for (const Operation& operation : run.operations) {
    std::size_t applied = 0;
    for (const auto& [participant, want] : operation.wants)
      applied += times(run.world, participant, operation.key);
    if (applied != 0 && applied != operation.wants.size())
      violations.push_back("I1 " + operation.key + " is in " + std::to_string(applied) + " of " +
                           std::to_string(operation.wants.size()) + " participants");
    const auto stored = run.world.log.outcomes.find(operation.key);
    const bool confirmed = stored != run.world.log.outcomes.end() && stored->second.confirmed;
    if (confirmed != (applied > 0))
      violations.push_back("I1 the log and the databases disagree about " + operation.key);
  }
}

void check_durable(const Finished& run, std::vector<std::string>& violations) {
  for (const Reply& reply : run.replies) {
    if (reply.told != Told::confirmed) continue;
    const auto stored = run.world.log.outcomes.find(reply.key);
    if (stored == run.world.log.outcomes.end() || !stored->second.confirmed)
      violations.push_back("I2 told confirmed and forgotten: " + reply.key);
  }
}

void check_one_decision(const Finished& run, std::vector<std::string>& violations) {
  for (const auto& [participant, database] : run.world.databases) {
    for (const auto& [key, gids] : database.effects) {
      for (const Gid& gid : gids) {
        const auto decision = run.world.log.decisions.find(gid);
        if (decision == run.world.log.decisions.end() ||
            decision->second.outcome != Outcome::commit)
          violations.push_back("I3 committed at " + participant +
                               " without a commit decision: " + format(gid));
      }
    }
  }
}

void check_once(const Finished& run, std::vector<std::string>& violations) {
  for (const Operation& operation : run.operations)
    for (const auto& [participant, want] : operation.wants)
      if (times(run.world, participant, operation.key) > 1)
        violations.push_back("I5 " + operation.key + " took effect twice at " + participant);
}

void check_conserved(const Finished& run, std::vector<std::string>& violations) {
  for (const auto& [participant, database] : run.world.databases) {
    Stock expected = run.stocks_at_start.at(participant);
    for (const Operation& operation : run.operations) {
      const auto want = operation.wants.find(participant);
      if (want == operation.wants.end()) continue;
      for (std::size_t n = times(run.world, participant, operation.key); n > 0; --n)
        take(expected, want->second.takes);
    }
    if (database.stock != expected)
      violations.push_back("I6 what is left at " + participant + " does not add up");
    for (const auto& [resource, left] : database.stock)
      if (left < 0) violations.push_back("I6 " + resource + " is negative at " + participant);
  }
}

void check_no_orphan(const Finished& run, std::vector<std::string>& violations) {
  for (const auto& [participant, database] : run.world.databases) {
    for (const auto& [gid, branch] : database.prepared)
      violations.push_back("I7 left prepared at " + participant + ": " + format(gid));
    if (database.locked_by) violations.push_back("I7 still locked at " + participant);
  }
  if (!run.world.log.claims.empty()) violations.push_back("I7 a claim was left open");
  for (const auto& [gid, decision] : run.world.log.decisions)
    if (decision.outcome == Outcome::commit && !decision.complete && !decision.heuristic)
      violations.push_back("I7 decided and never completed: " + format(gid));
}

void check_answers(const Finished& run, std::vector<std::string>& violations) {
  for (const Reply& reply : run.replies) {
    const auto stored = run.world.log.outcomes.find(reply.key);
    const bool known = stored != run.world.log.outcomes.end();
    const auto decision = run.world.log.decisions.find(reply.gid);
    const bool committed =
        decision != run.world.log.decisions.end() && decision->second.outcome == Outcome::commit;
    switch (reply.told) {
      case Told::confirmed:
        if (!known || !stored->second.confirmed)
          violations.push_back("I10 confirmed no more: " + reply.key);
        break;
      case Told::refused:
        if (!known || stored->second.confirmed || stored->second.reason != reply.reason)
          violations.push_back("I10 refused no more: " + reply.key);
        break;
      case Told::unavailable:
        // 503 says that this attempt did nothing, and never will.
        if (committed) violations.push_back("I10 503, and committed after all: " + reply.key);
        break;
      case Told::duplicate:
        if (!known) violations.push_back("I10 a duplicate of nothing: " + reply.key);
        break;
      case Told::retry: break;
    }
  }
}

std::vector<std::string> check_all(const Finished& run) {
  std::vector<std::string> violations;
  for (const auto check : {check_atomic, check_durable, check_one_decision, check_once,
                           check_conserved, check_no_orphan, check_answers})
    check(run, violations);
  return violations;
}

}  // namespace txcoord::sim
