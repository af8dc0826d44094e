// Recovery's decision table. The argument why it is race-free stands in recovery_plan.hpp.
#include "txcoord/protocol/recovery_plan.hpp"

#include <algorithm>

namespace txcoord::protocol {
namespace {

bool fenced(const Gid& gid, const RecoveryView& view) {
  const auto current = view.epochs.find(gid.coordinator);
  return current != view.epochs.end() && gid.epoch < current->second;
}

bool own(const Gid& gid, const RecoveryView& view) {
  return gid.coordinator == view.own_coordinator && gid.epoch == view.own_epoch;
}

}  // namespace

bool may_finish(const Gid& gid, const RecoveryView& view) {
  return own(gid, view) || fenced(gid, view);
}

std::vector<RecoveryAction> plan_recovery(const RecoveryView& view) {
  const std::set<Gid> before(view.prepared_before.begin(), view.prepared_before.end());
  std::vector<RecoveryAction> plan;
  for (const Gid& gid : view.prepared_after) {
    // An active gid of our own may be anywhere between its first message and its last (rule 2).
    if (view.active.contains(gid) || !before.contains(gid) || !may_finish(gid, view)) continue;
    const auto outcome = view.outcomes.find(gid);
    if (outcome == view.outcomes.end()) {
      plan.push_back({RecoveryKind::bury, gid});
    } else {
      plan.push_back(
          {outcome->second == Outcome::commit ? RecoveryKind::commit : RecoveryKind::rollback,
           gid});
    }
  }
  return plan;
}

std::set<std::string> suspects(const RecoveryView& view) {
  std::set<std::string> coordinators;
  for (const Gid& gid : view.prepared_after)
    if (gid.coordinator != view.own_coordinator && !fenced(gid, view))
      coordinators.insert(gid.coordinator);
  return coordinators;
}

LogChange log_change(const LogPoint& seen, const LogPoint& now) {
  if (seen.system_identifier.empty()) return LogChange::none;
  if (now.system_identifier != seen.system_identifier || now.timeline < seen.timeline ||
      now.lsn < seen.lsn)
    return LogChange::went_back;
  return now.timeline == seen.timeline ? LogChange::none : LogChange::failed_over;
}

LostDecision judge_lost_decision(const std::set<std::string>& siblings,
                                 const std::map<std::string, bool>& witnesses) {
  // I1: one witness is proof, even if nobody else answers (rule 7).
  if (std::ranges::any_of(witnesses, [](const auto& asked) { return asked.second; }))
    return LostDecision::commit;
  // Nobody to ask proves nothing: without siblings there is never a roll back here (rule 8).
  const bool all_asked =
      !siblings.empty() && std::ranges::all_of(siblings, [&](const std::string& sibling) {
        return witnesses.contains(sibling);
      });
  return all_asked ? LostDecision::roll_back : LostDecision::wait;
}

MissingBranch judge_missing_branch(const std::optional<DecisionNow>& now, bool owner_fenced,
                                   bool may_lack) {
  const bool committed =
      now ? now->outcome == Outcome::commit && now->complete : owner_fenced && !may_lack;
  return committed ? MissingBranch::committed : MissingBranch::lost;
}

}  // namespace txcoord::protocol
