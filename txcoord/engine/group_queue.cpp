#include "txcoord/engine/group_queue.hpp"

#include <algorithm>

namespace txcoord::engine {

std::size_t GroupQueue::rows_of(const Operation& operation) {
  return operation.kind == OperationKind::place ? operation.place.items.size() : 1;
}

void GroupQueue::resubmit(GroupRequest request) {
  resubmitted_ += request.members.size();
  for (const auto& member : request.members) busy_orders_.insert(member->operation->order_id);
  again_.push_back(std::move(request));
}

std::optional<GroupRequest> GroupQueue::form(SteadyTime now) {
  const auto due = std::ranges::find_if(
      again_, [now](const GroupRequest& group) { return group.not_before <= now; });
  if (due != again_.end()) {
    GroupRequest request = std::move(*due);
    again_.erase(due);
    resubmitted_ -= request.members.size();
    return request;
  }

  GroupRequest request;
  request.conflict_retries_left = limits_.conflict_retries;
  std::size_t rows = 0;
  std::unordered_set<std::string> keys, passed_over;
  std::deque<SubmissionPtr> left;
  while (!queue_.empty() && request.members.size() < limits_.operations_max) {
    const Operation& operation = *queue_.front()->operation;
    const std::size_t more = rows_of(operation);
    // One operation always fits, however many rows it has.
    if (!request.members.empty() && rows + more > limits_.rows_max) break;
    SubmissionPtr next = std::move(queue_.front());
    queue_.pop_front();
    const bool may_join = next->not_before <= now && !passed_over.contains(operation.order_id) &&
                          !busy_orders_.contains(operation.order_id) &&
                          keys.insert(operation.scope + '\n' + operation.idempotency_key).second;
    if (may_join) {
      busy_orders_.insert(operation.order_id);
      rows += more;
      request.members.push_back(std::move(next));
    } else {
      passed_over.insert(operation.order_id);
      left.push_back(std::move(next));
    }
  }
  queue_.insert(queue_.begin(), std::make_move_iterator(left.begin()),
                std::make_move_iterator(left.end()));
  if (request.members.empty()) return std::nullopt;
  return request;
}

void GroupQueue::release_orders(const Submissions& members) {
  for (const auto& member : members) busy_orders_.erase(member->operation->order_id);
}

Submissions GroupQueue::expire(SteadyTime now, bool all) {
  Submissions expired;
  std::erase_if(queue_, [&](SubmissionPtr& waiting) {
    if (!all && waiting->give_up_at > now) return false;
    expired.push_back(std::move(waiting));
    return true;
  });
  std::erase_if(again_, [&](GroupRequest& group) {
    const bool late = std::ranges::any_of(
        group.members, [now](const SubmissionPtr& member) { return member->give_up_at <= now; });
    if (!all && !late) return false;
    resubmitted_ -= group.members.size();
    release_orders(group.members);
    expired.insert(expired.end(), group.members.begin(), group.members.end());
    return true;
  });
  return expired;
}

std::optional<SteadyTime> GroupQueue::next_due() const {
  std::optional<SteadyTime> due;
  const auto consider = [&due](SteadyTime time) { due = due ? std::min(*due, time) : time; };
  for (const auto& group : again_) consider(group.not_before);
  for (const auto& waiting : queue_) consider(waiting->not_before);
  return due;
}

}  // namespace txcoord::engine
