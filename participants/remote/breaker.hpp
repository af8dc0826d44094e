// A circuit breaker: whoever does not answer is not asked again at once. Pure: told the time, does
// nothing itself. Source of the idea: Nygard, Release It!, 2007.
//
// closed → open after failures_max failures in a row; open → half open when its pause has run out;
// half open lets one call through: its answer closes, its failure opens again, for twice as long.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace txcoord::remote {

enum class BreakerState : std::uint8_t { closed = 0, half_open = 1, open = 2 };

struct BreakerLimits {
  std::uint32_t failures_max = 5;
  // Well below the 5 s in which in-doubt branches are settled once a service is back (I7).
  std::chrono::milliseconds open_min{200}, open_max{1000};
};

class Breaker {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit Breaker(BreakerLimits limits = {}) : limits_(limits), pause_(limits.open_min) {}

  // Whether a call may go out now. True while half open for one call alone, until that call has
  // been answered or has failed: its caller must tell.
  bool allow(Time now) {
    if (state_ == BreakerState::open && now >= until_) {
      state_ = BreakerState::half_open;
      probing_ = false;
    }
    if (state_ == BreakerState::closed) return true;
    if (state_ == BreakerState::open || probing_) return false;
    probing_ = true;
    return true;
  }

  void answered() {
    state_ = BreakerState::closed;
    failures_ = 0;
    probing_ = false;
    pause_ = limits_.open_min;
  }

  // Calls that were under way when it opened fail too: they do not open it for longer.
  void failed(Time now) {
    if (state_ == BreakerState::open) return;
    ++failures_;
    const bool probe_failed = state_ == BreakerState::half_open;
    if (!probe_failed && failures_ < limits_.failures_max) return;
    if (probe_failed) pause_ = std::min(2 * pause_, limits_.open_max);
    state_ = BreakerState::open;
    until_ = now + pause_;
    probing_ = false;
  }

  BreakerState state() const { return state_; }

 private:
  BreakerLimits limits_;
  BreakerState state_ = BreakerState::closed;
  std::uint32_t failures_ = 0;
  std::chrono::milliseconds pause_;
  Time until_{};
  bool probing_ = false;
};

}  // namespace txcoord::remote
