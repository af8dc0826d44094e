// The five reads in their order, then the plan, participant by participant.
#include "tests/sim/recovery.hpp"

#include <algorithm>

namespace txcoord::sim {

using protocol::ActionKind;
using protocol::Outcome;
using protocol::RecoveryKind;

Recovery::Recovery(World& world, std::string coordinator, std::uint64_t epoch,
                   std::function<std::set<Gid>()> active, bool trims)
    : world_(world), active_(std::move(active)), trims_(trims) {
  view_.own_coordinator = std::move(coordinator);
  view_.own_epoch = epoch;
  for (const auto& [participant, database] : world_.databases) participants_.push_back(participant);
}

void Recovery::step(bool fails) {
  if (reads_ < 5) return read();
  if (!plan_.empty()) return act(fails);
  reads_ = 0;
  if (++participant_ < participants_.size()) return;
  participant_ = 0;
  settle_decisions();
  ++rounds_;
}

void Recovery::read() {
  const std::string& participant = participants_[participant_];
  switch (reads_++) {
    case 0: view_.prepared_before = world_.prepared(participant); return;
    case 1: view_.epochs = world_.log.epochs; return;
    case 2: view_.active = active_(); return;
    case 3: view_.outcomes = world_.outcomes_of(view_.prepared_before); return;
    default: break;
  }
  view_.prepared_after = world_.prepared(participant);
  for (auto& action : plan_recovery(view_)) plan_.push_back(std::move(action));
}

void Recovery::act(bool fails) {
  const protocol::RecoveryAction action = plan_.front();
  Request request{.gid = action.gid, .participant = participants_[participant_]};
  if (action.kind == RecoveryKind::bury) {
    request.kind = ActionKind::settle;
    request.participant = "log";
    if (world_.blocked(request)) return;  // waits for a decision in flight
  }
  plan_.pop_front();
  if (fails) return;
  world_.note("recovery:");
  switch (action.kind) {
    case RecoveryKind::commit: request.kind = ActionKind::commit; break;
    case RecoveryKind::rollback:
      request.kind = ActionKind::rollback;
      if (!world_.log.decisions.contains(action.gid))
        world_.violation("I3 rolled back before it was buried: " + format(action.gid));
      break;
    case RecoveryKind::bury:
      plan_.push_front({world_.execute(request).outcome == Outcome::commit ? RecoveryKind::commit
                                                                           : RecoveryKind::rollback,
                        action.gid});
      return;
  }
  world_.execute(request);
}

// Decisions whose coordinator cannot finish them: complete when every branch is, then forgotten.
void Recovery::settle_decisions() {
  view_.epochs = world_.log.epochs;
  view_.active = active_();
  for (auto& [gid, decision] : world_.log.decisions) {
    if (decision.outcome != Outcome::commit || decision.complete) continue;
    if (view_.active.contains(gid) || !may_finish(gid, view_)) continue;
    decision.complete = finish_branches(gid, decision);
  }
  if (!trims_) return;
  for (auto& [participant, database] : world_.databases)
    std::erase_if(database.witnesses, [this](const Gid& gid) {
      const auto decision = world_.log.decisions.find(gid);
      return decision != world_.log.decisions.end() && decision->second.complete;
    });
}

bool Recovery::finish_branches(const Gid& gid, Decision& decision) {
  bool all = true;
  for (const std::string& participant : decision.record.participants) {
    const Database& database = world_.databases.at(participant);
    if (database.witnesses.contains(gid)) continue;
    all = false;
    // Neither prepared nor witnessed, and not complete: the prepared state was lost.
    if (!database.prepared.contains(gid) && !decision.heuristic)
      world_.execute(
          {.kind = ActionKind::record_heuristic, .gid = gid, .participant = participant});
  }
  return all;
}

}  // namespace txcoord::sim
