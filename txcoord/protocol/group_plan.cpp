// What a plan must be like for its group to be atomic: asked once, before the first message.
#include <algorithm>
#include <stdexcept>

#include "txcoord/protocol/two_phase.hpp"

namespace txcoord::protocol {
namespace {

void demand(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(std::string("group plan: ") + what);
}

}  // namespace

void check(const GroupPlan& plan) {
  demand(plan.operations > 0, "no operations");
  demand(plan.participants.size() < log_voter, "too many participants");
  demand(plan.touches.size() == plan.participants.size(),
         "touches is not one row for each participant");
  for (const auto& touches : plan.touches)
    demand(touches.size() == plan.operations, "touches is not one bit for each operation");
  // An operation without work anywhere would wait for a PREPARE that nobody is sent.
  for (std::size_t i = 0; i < plan.operations; ++i)
    demand(std::ranges::any_of(plan.touches, [i](const auto& touches) { return touches[i]; }),
           "an operation touches no participant");

  // I1: a participant that is not asked for its vote is not prepared, and one that is not in the
  // commit order is not committed: either would have a part of the group left out, in silence.
  std::vector<ParticipantId> everybody(plan.participants.size());
  for (std::size_t i = 0; i < everybody.size(); ++i) everybody[i] = static_cast<ParticipantId>(i);
  demand(std::ranges::is_permutation(plan.commit_order, everybody),
         "commit_order is not everybody, once");
  std::vector<ParticipantId> voters;
  for (const auto& stage : plan.vote_stages)
    voters.insert(voters.end(), stage.begin(), stage.end());
  everybody.push_back(log_voter);
  demand(std::ranges::is_permutation(voters, everybody),
         "vote_stages are not everybody and the log, once");
  demand(!plan.refuse_alone || plan.operations == 1, "only a lone operation is refused alone");
}

}  // namespace txcoord::protocol
