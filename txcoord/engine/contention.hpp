// Whether rows are skipped or waited for, by how many operations were set aside lately.
//
// Skipping costs nobody anything while few rows are held; where two coordinators want the same few
// products, whoever skips starves. Above a share of 30 % rows are waited for, boundedly
// (contended_wait_max), for half a second; then skipping is tried again. Pure; the time is handed
// in.
#pragma once

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
    if (lately_ <= share_max) return;
    waits_until_ = now + wait_for;
    lately_ = 0;
  }

 private:
  static constexpr double share_max = 0.3;
  static constexpr double groups_remembered = 4;
  static constexpr std::chrono::milliseconds wait_for{500};

  double lately_ = 0;
  SteadyTime waits_until_{};
};

}  // namespace txcoord::engine
