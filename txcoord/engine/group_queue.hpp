// Forms groups from what is queued: natural batching, no timer, a lone operation never waits.
//
// Kept here:
//   I5 two operations with one idempotency key never share a group (their claim would collide).
//   I9 an operation on an order joins no group while another operation on that order is in a group
//      that is not applied everywhere; operations on one order keep their order of arrival.
// An operation whose row somebody else holds waits apart (quarantine.hpp), and all others go on.
// Single-threaded.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "txcoord/engine/quarantine.hpp"
#include "txcoord/engine/submission.hpp"

namespace txcoord::engine {

// What becomes one global transaction.
struct GroupRequest {
  Submissions members;
  std::uint32_t conflict_retries_left = 0;
  bool refuse_alone = false;  // a lone operation that no database takes
  LockMode lock_mode = LockMode::skip;
  std::size_t parked = 0;  // operations that came since the last group and wait for contended rows
  SteadyTime not_before{};
};

struct GroupLimits {
  std::size_t operations_max = 128;
  std::size_t rows_max = 2000;
  std::size_t queue_max = 20000;
  std::uint32_t conflict_retries = 5;
};

class GroupQueue {
 public:
  explicit GroupQueue(GroupLimits limits);

  bool full() const { return size() >= limits_.queue_max; }
  std::size_t size() const { return queue_.size() + resubmitted_ + quarantine_.waiting(); }
  void push(SubmissionPtr submission) { queue_.push_back(std::move(submission)); }
  // A group that goes again as it is, before everything that is queued. Its orders stay busy.
  void resubmit(GroupRequest request);

  // The next group, or nothing that may go now. Its orders become busy. Quarantined rows that have
  // rested are probed: under skip beside everything else; under wait in a group of their own, which
  // skips, for everybody else in the group would wait for them. Under wait, rows that are only
  // contended are waited for with the others.
  std::optional<GroupRequest> form(SteadyTime now, LockMode mode);
  // It did not get this row: it comes again a little later, or waits until the row is free.
  // False: too many wait for that row; it is not in the queue.
  bool set_aside(SubmissionPtr submission, const std::string& row, const std::string& holder,
                 SteadyTime now);
  // It got all of its rows: what waits for them comes next.
  void obtained(const Submission& submission);
  // Operations that form() found waiting for a row that too many wait for already.
  Submissions take_turned_away() { return std::exchange(turned_away_, {}); }
  const Quarantine& quarantine() const { return quarantine_; }
  // The group's effects are applied, or will never be: its orders are free.
  void release_orders(const Submissions& members);

  // Takes out those whose give_up_at has passed (or all of them).
  Submissions expire(SteadyTime now, bool all);
  // When form() could have something more, if only time is in the way; after `now`.
  std::optional<SteadyTime> next_due(SteadyTime now) const;

 private:
  static std::size_t rows_of(const Operation& operation);
  struct Forming;
  Submissions probe(Forming& forming, SteadyTime now);
  bool joins(const SubmissionPtr& next, Forming& forming, SteadyTime now);
  void put_first(Submissions submissions);

  GroupLimits limits_;
  Quarantine quarantine_;
  Submissions turned_away_;
  std::size_t parked_ = 0;  // since the last group
  std::deque<SubmissionPtr> queue_;
  std::deque<GroupRequest> again_;
  std::size_t resubmitted_ = 0;  // operations in again_
  std::unordered_set<std::string> busy_orders_;
};

}  // namespace txcoord::engine
