// Whether rows are skipped or waited for, by how many operations were set aside lately.
//
// Skipping costs nobody anything while few rows are held; where two coordinators want the same few
// products, whoever skips starves. Above a share of 30 % rows are waited for, boundedly
// (contended_wait_max), for half a second; then skipping is tried again. Each trial costs a group
// that gets nothing, so the time doubles, up to 8 s, while the trials fail. The same when an
// operation has waited long for a row that goes from hand to hand among others. Pure; the time is
// handed in.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

#include "participants/participant.hpp"
#include "txcoord/engine/submission.hpp"

namespace txcoord::engine {

class Contention {
 public:
  LockMode mode(SteadyTime now) const {
    return now < waits_until_ ? LockMode::wait : LockMode::skip;
  }

  // A group or a batch was judged under skip: of `operations`, so many did not get a row.
  // Operations that probe a row known to be held are not counted.
  void judged(std::size_t operations, std::size_t set_aside, SteadyTime now) {
    if (operations == 0 || now < waits_until_) return;
    const double share = static_cast<double>(set_aside) / static_cast<double>(operations);
    lately_ += (share - lately_) / groups_remembered;
    if (lately_ > share_max) wait_from(now);
  }

  // The oldest operation that waits for a contended row (quarantine.hpp) has waited so long.
  void waiting_for(std::chrono::nanoseconds time, SteadyTime now) {
    if (time > starving_after && now >= waits_until_) wait_from(now);
  }

 private:
  void wait_from(SteadyTime now) {
    const bool again = waits_until_ != SteadyTime{} && now - waits_until_ < trial;
    wait_for_ = again ? std::min(2 * wait_for_, wait_for_max) : wait_for_min;
    waits_until_ = now + wait_for_;
    lately_ = share_max;  // the first group afterwards decides whether it goes on
  }

  static constexpr double share_max = 0.3;
  static constexpr double groups_remembered = 4;
  static constexpr std::chrono::milliseconds wait_for_min{500}, wait_for_max{8000};
  // Contention within this time after a phase of waiting is the same contention.
  static constexpr std::chrono::milliseconds trial{500};
  static constexpr std::chrono::milliseconds starving_after{300};

  double lately_ = 0;
  SteadyTime waits_until_{};
  std::chrono::milliseconds wait_for_ = wait_for_min;
};

}  // namespace txcoord::engine
