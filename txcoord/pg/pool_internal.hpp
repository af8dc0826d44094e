// What pool.cpp and worker.cpp share: the pool's state, of the I/O thread alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "txcoord/pg/pool.hpp"

namespace txcoord::pg {

class Pool::Impl {
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
  std::vector<std::shared_ptr<Worker>> idle;     // the last one used first: the warmest session
  std::deque<std::shared_ptr<Waiter>> waiters;   // first come first served; empty while one is idle
  std::function<void(double)> on_wait;
  bool stopped = false;
};

}  // namespace txcoord::pg
