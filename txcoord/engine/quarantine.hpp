// Rows that somebody else holds, and the operations of ours that wait for one: kept apart, so that
// they cost nobody else anything.
//
//   An operation that did not get its row is set aside and tried again, in another group. A row
//   that was not to be had `strikes` times lately is quarantined: it rests, and what needs it waits
//   here. After its rest one operation probes it, the oldest, and no more than `probes_max` rows
//   are probed in one group: put back at the front of the queue, what waits would fill every group
//   (seen). Whoever gets the row frees all that wait for it.
//
//   A quarantined row is stuck when one and the same transaction has held it for `stuck_after`:
//   waiting for it would cost its whole group that wait. A row that goes from hand to hand is only
//   contended. To probe it now and then is no way to get it from a coordinator that takes it again
//   at once (seen: a second coordinator that confirmed nothing for seconds), so it is waited for,
//   in the database, with those who wait there (contention.hpp): free_contended() lets them go.
//
// Bounds: `waiting_max` operations for one row, beyond it they are refused at once; each waits no
// longer than its give_up_at; a row that nobody asked for lately is forgotten.
// Pure but for the submissions that it holds: the time is handed in. Single-threaded.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "txcoord/engine/submission.hpp"

namespace txcoord::engine {

struct QuarantineLimits {
  std::uint32_t strikes = 3;
  std::chrono::milliseconds rest{100};
  std::size_t probes_max = 4;
  std::size_t waiting_max = 2500;
  std::chrono::milliseconds stuck_after{contended_wait_max};
  // The same where the voter cannot say who holds it.
  std::chrono::milliseconds stuck_after_unnamed{500};
};

class Quarantine {
 public:
  explicit Quarantine(QuarantineLimits limits) : limits_(limits) {}

  bool empty() const { return rows_.empty(); }
  std::size_t waiting() const { return waiting_; }

  // An operation did not get this row, which `holder` has (protocol::Vote::holder). `probe`: it was
  // known to be held, which counts like `strikes` times. True: the row is quarantined.
  bool struck(const std::string& row, const std::string& holder, SteadyTime now, bool probe);
  // The first quarantined row among those that it needs; nothing: it may go into a group.
  // Under LockMode::wait only rows that are stuck count.
  std::optional<std::string> blocked_by(const Submission& submission, LockMode mode) const;
  bool stuck(const std::string& row) const;
  // Waits for the row from now on, in order of arrival. False: too many do.
  bool park(const std::string& row, SubmissionPtr submission);
  // What may probe its row now; the rows rest anew.
  Submissions probes(SteadyTime now);
  // What waits for rows that are only contended, the oldest first; they are about to be waited for.
  Submissions free_contended();
  // When the oldest operation that waits for a contended row came; nothing: none does.
  std::optional<SteadyTime> contended_since() const;
  // An operation of ours got all of its rows: they are free. Returns what waited for them.
  Submissions obtained(const Submission& submission);

  // Takes out those whose give_up_at has passed (or all of them), and forgets quiet rows.
  Submissions expire(SteadyTime now, bool all);
  // When a row has rested.
  std::optional<SteadyTime> next_due() const;
  // How many rows are quarantined, by participant ("log": idempotency keys).
  std::map<std::string, std::size_t, std::less<>> rows_by_participant() const;

 private:
  struct Row {
    std::uint32_t strikes = 0;
    SteadyTime struck_at{}, rests_until{};
    std::string holder;  // the last one seen, and since when it is the same
    SteadyTime held_since{};
    std::deque<SubmissionPtr> waiting;
  };
  bool quarantined(const Row& row) const { return row.strikes >= limits_.strikes; }
  bool stuck(const Row& row) const;

  QuarantineLimits limits_;
  std::unordered_map<std::string, Row> rows_;
  std::size_t waiting_ = 0;
};

}  // namespace txcoord::engine
