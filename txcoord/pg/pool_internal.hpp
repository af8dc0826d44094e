// What pool.cpp and worker.cpp share: the pool's state, of the I/O thread alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "txcoord/pg/pool.hpp"

namespace txcoord::pg {

class Pool::Impl : public std::enable_shared_from_this<Pool::Impl> {
 public:
  // A coroutine in acquire(); woken by a session handed over, or by its time limit.
  struct Waiter {
    explicit Waiter(const asio::any_io_executor& io) : wake(io) {}
    asio::steady_timer wake;
    std::shared_ptr<Worker> worker;  // set by the hand-over
  };

  Impl(asio::any_io_executor executor, PoolSettings pool_settings)
      : io(std::move(executor)), shared(std::make_shared<Shared>(std::move(pool_settings))) {}

  void give_back(std::shared_ptr<Worker> worker);
  // How many workers have a session.
  std::size_t connected() const;
  // A call told how connecting went, if it had to connect.
  void connecting_ended(const Call& call);
  // Nobody connects now: the last tries failed, and the pause after them has not run out. Whoever
  // needs a session waits for one that is connected; where none is, the last failure is theirs.
  bool resting() const;
  // The worker to take now: one with a session first. Null: wait. Throws where no thread is to be
  // had.
  std::shared_ptr<Worker> take();

  // What the worker threads share.
  struct Shared {
    explicit Shared(PoolSettings all) : settings(std::move(all)) {}
    const PoolSettings settings;
    HostNames names;
    // A session of an older generation is replaced before its next lease: what condemned one
    // session condemns all that were opened before (condemned.hpp).
    std::atomic<std::uint64_t> generation = 0;
  };

  asio::any_io_executor io;
  const PoolSettings& settings() const { return shared->settings; }

  std::shared_ptr<Shared> shared;
  std::vector<std::shared_ptr<Worker>> workers;  // made when first needed; at most connections_max
  // The last one used is taken first: the warmest session. Those without a session come last.
  std::deque<std::shared_ptr<Worker>> idle;
  // First come first served; empty while one with a session is idle.
  std::deque<std::shared_ptr<Waiter>> waiters;
  std::uint32_t connects_failed = 0;  // in a row
  std::chrono::steady_clock::time_point rests_until{};
  std::optional<Failure> connect_failure;  // the last one
  std::function<void(double)> on_wait;
  bool stopped = false;
};

}  // namespace txcoord::pg
