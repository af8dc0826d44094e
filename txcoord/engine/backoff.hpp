// Pauses of the drivers: how long to wait before a try, and the waiting.
#pragma once

#include <algorithm>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <random>

namespace txcoord::engine {

// Before try number `attempt` (0: not at all): 25 ms doubling to 800 ms. To be jittered.
inline std::chrono::milliseconds backoff(std::uint32_t attempt) {
  if (attempt == 0) return std::chrono::milliseconds(0);
  const std::uint32_t doublings = std::min(attempt - 1, 5U);
  return std::chrono::milliseconds(25U << doublings);
}

// The pause and up to as much again, so that what failed together does not come back together.
template <class Random>
std::chrono::milliseconds jittered(std::chrono::milliseconds pause, Random& random) {
  std::uniform_int_distribution<std::int64_t> extra(0, pause.count());
  return pause + std::chrono::milliseconds(extra(random));
}

// Returns when the time has passed or the timer is cancelled. `timer` outlives it.
inline boost::asio::awaitable<void> sleep(boost::asio::steady_timer& timer,
                                          std::chrono::milliseconds time) {
  timer.expires_after(time);
  boost::system::error_code ignored;
  auto token = boost::asio::redirect_error(boost::asio::use_awaitable, ignored);
  co_await timer.async_wait(token);
}

}  // namespace txcoord::engine
