#include "txcoord/engine/group_queue.hpp"

#include <algorithm>

namespace txcoord::engine {
namespace {

// Before an operation whose row was held is tried again: about as long as a group holds its rows.
constexpr std::chrono::milliseconds set_aside_pause{5};
// So much of the queue may wait for one row.
constexpr std::size_t share_for_one_row = 8;

QuarantineLimits quarantine_limits(const GroupLimits& limits) {
  QuarantineLimits quarantine;
  quarantine.waiting_max = std::max<std::size_t>(limits.queue_max / share_for_one_row, 1);
  return quarantine;
}

}  // namespace

GroupQueue::GroupQueue(GroupLimits limits)
    : limits_(limits), quarantine_(quarantine_limits(limits)) {}

std::size_t GroupQueue::rows_of(const Operation& operation) {
  return operation.kind == OperationKind::place ? operation.place.items.size() : 1;
}

void GroupQueue::resubmit(GroupRequest request) {
  resubmitted_ += request.members.size();
  for (const auto& member : request.members) busy_orders_.insert(member->operation->order_id);
  again_.push_back(std::move(request));
}

// A group that is being formed.
struct GroupQueue::Forming {
  GroupRequest request;
  std::size_t rows = 0;
  std::unordered_set<std::string> keys, passed_over;
};

// Takes it into the group if it may go now.
bool GroupQueue::joins(const SubmissionPtr& next, Forming& forming, SteadyTime now) {
  const Operation& operation = *next->operation;
  const bool may_join =
      next->not_before <= now && !forming.passed_over.contains(operation.order_id) &&
      !busy_orders_.contains(operation.order_id) &&
      forming.keys.insert(operation.scope + '\n' + operation.idempotency_key).second;
  if (!may_join) {
    forming.passed_over.insert(operation.order_id);
    return false;
  }
  busy_orders_.insert(operation.order_id);
  forming.rows += rows_of(operation);
  forming.request.members.push_back(next);
  return true;
}

// Takes what may probe its row into the group; returns those that may not join one now.
Submissions GroupQueue::probe(Forming& forming, SteadyTime now) {
  Submissions left;
  for (SubmissionPtr& probing : quarantine_.probes(now)) {
    probing->probe = true;
    if (!joins(probing, forming, now)) left.push_back(std::move(probing));
  }
  return left;
}

std::optional<GroupRequest> GroupQueue::form(SteadyTime now, LockMode mode) {
  const auto due = std::ranges::find_if(
      again_, [now](const GroupRequest& group) { return group.not_before <= now; });
  if (due != again_.end()) {
    GroupRequest request = std::move(*due);
    again_.erase(due);
    resubmitted_ -= request.members.size();
    request.lock_mode = mode;
    return request;
  }

  Forming forming;
  forming.request.conflict_retries_left = limits_.conflict_retries;
  if (mode == LockMode::wait) put_first(quarantine_.free_contended());
  Submissions left = probe(forming, now);
  const Submissions& members = forming.request.members;
  if (mode == LockMode::wait && !members.empty()) {
    put_first(std::move(left));
    return std::move(forming.request);
  }
  forming.request.lock_mode = mode;
  while (!queue_.empty() && members.size() < limits_.operations_max) {
    // One operation always fits, however many rows it has.
    const std::size_t more = rows_of(*queue_.front()->operation);
    if (!members.empty() && forming.rows + more > limits_.rows_max) break;
    SubmissionPtr next = std::move(queue_.front());
    queue_.pop_front();
    next->probe = false;
    if (const auto row = quarantine_.blocked_by(*next, mode)) {
      // What comes after it on its order waits for it.
      forming.passed_over.insert(next->operation->order_id);
      if (!quarantine_.stuck(*row)) ++parked_;
      if (!quarantine_.park(*row, next)) turned_away_.push_back(std::move(next));
    } else if (!joins(next, forming, now)) {
      left.push_back(std::move(next));
    }
  }
  put_first(std::move(left));
  if (members.empty()) return std::nullopt;
  forming.request.parked = std::exchange(parked_, 0);
  return std::move(forming.request);
}

bool GroupQueue::set_aside(SubmissionPtr submission, const std::string& row,
                           const std::string& holder, SteadyTime now) {
  submission->held_row = row;
  // Also where its row is about to be waited for: not every voter waits.
  submission->not_before = now + set_aside_pause;
  // A probe says what is known already.
  if (quarantine_.struck(row, holder, now, submission->probe))
    return quarantine_.park(row, std::move(submission));
  queue_.push_back(std::move(submission));
  return true;
}

void GroupQueue::obtained(const Submission& submission) {
  put_first(quarantine_.obtained(submission));
}

void GroupQueue::put_first(Submissions submissions) {
  queue_.insert(queue_.begin(), std::make_move_iterator(submissions.begin()),
                std::make_move_iterator(submissions.end()));
}

void GroupQueue::release_orders(const Submissions& members) {
  for (const auto& member : members) busy_orders_.erase(member->operation->order_id);
}

Submissions GroupQueue::expire(SteadyTime now, bool all) {
  Submissions expired = quarantine_.expire(now, all);
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

std::optional<SteadyTime> GroupQueue::next_due(SteadyTime now) const {
  std::optional<SteadyTime> due;
  const auto consider = [&due, now](SteadyTime time) {
    if (time > now) due = due ? std::min(*due, time) : time;
  };
  for (const auto& group : again_) consider(group.not_before);
  for (const auto& waiting : queue_) consider(waiting->not_before);
  if (const auto rested = quarantine_.next_due()) consider(*rested);
  return due;
}

}  // namespace txcoord::engine
