// Rows that somebody else holds, and the operations of ours that wait for one: kept apart, so that
// they cost nobody else anything.
//
//   An operation that did not get its row is set aside and tried again, in another group. A row
//   that was not to be had `strikes` times lately is quarantined: it rests, and what needs it waits
//   here. After its rest one operation probes it, the oldest, and no more than `probes_max` rows
//   are probed in one group: put back at the front of the queue, what waits would fill every group
//   (seen). Whoever gets the row frees all that wait for it.
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
};

class Quarantine {
 public:
  explicit Quarantine(QuarantineLimits limits) : limits_(limits) {}

  bool empty() const { return rows_.empty(); }
  std::size_t waiting() const { return waiting_; }

  // An operation did not get this row. `for_good`: it waited for it as long as it may, which counts
  // like `strikes` times. True: the row is quarantined.
  bool struck(const std::string& row, SteadyTime now, bool for_good);
  // The first quarantined row among those that it needs; nothing: it may go into a group.
  std::optional<std::string> blocked_by(const Submission& submission) const;
  // Waits for the row from now on, in order of arrival. False: too many do.
  bool park(const std::string& row, SubmissionPtr submission);
  // What may probe its row now; the rows rest anew.
  Submissions probes(SteadyTime now);
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
    std::deque<SubmissionPtr> waiting;
  };
  bool quarantined(const Row& row) const { return row.strikes >= limits_.strikes; }

  QuarantineLimits limits_;
  std::unordered_map<std::string, Row> rows_;
  std::size_t waiting_ = 0;
};

}  // namespace txcoord::engine
