// The template side of pool.hpp: a call carries the caller's work to the worker thread and its
// result back. Not for direct use.
#pragma once

#include <algorithm>
#include <atomic>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "txcoord/pg/pool.hpp"

namespace txcoord::pg {

// One run() under way. The phase decides the race between the worker and the deadline: whoever
// moves it first wins, so that work is never begun after its caller was told that it had not.
class Call {
 public:
  enum class Phase : std::uint8_t { waiting, running, finished, abandoned };

  explicit Call(const asio::any_io_executor& io) : wake(io) {}
  virtual ~Call() = default;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  virtual void execute(Session& session) = 0;  // on the worker thread; may throw

  std::atomic<Phase> phase = Phase::waiting;
  std::atomic<bool> given_up = false;  // ends a connect under way
  // Set before the thread sees it: the first call of its lease, and when its caller leaves.
  bool may_connect = false;
  std::chrono::steady_clock::time_point deadline;

  // Written by the worker thread before it posts the completion:
  std::optional<Failure> failure;
  bool left_open = false;                  // the session has a transaction open
  bool connected = false;                  // there is a session
  bool opened = false;                     // it was opened for this call
  std::optional<Failure> connect_failure;  // also `failure`, then

  // I/O thread only:
  asio::steady_timer wake;  // expires at the deadline, cancelled by the completion
  bool delivered = false;   // the completion has arrived
};

template <class F>
class CallOf final : public Call {
 public:
  CallOf(const asio::any_io_executor& io, F work) : Call(io), work_(std::move(work)) {}
  void execute(Session& session) override { value.emplace(work_(session)); }

  std::optional<std::invoke_result_t<F, Session&>> value;

 private:
  F work_;
};

class Worker : public std::enable_shared_from_this<Worker> {
 public:
  explicit Worker(const std::shared_ptr<Pool::Impl>& pool);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  const asio::any_io_executor& io() const { return io_; }
  // Hands the call to the thread and waits for its completion or the deadline. Returns the
  // failure of the wait itself; none: the call was delivered, with a value or a failure of its
  // own.
  asio::awaitable<std::optional<Failure>> perform(std::shared_ptr<Call> call,
                                                  std::chrono::steady_clock::time_point deadline);
  void lease_begins();
  void lease_ended();
  void stop();  // cuts what runs and joins the thread
  bool connected() const { return connected_; }

 private:
  class Thread;
  void completed(Call& call);
  bool abandon(Call& call, bool& begun);
  void back_to_pool();

  asio::any_io_executor io_;
  std::weak_ptr<Pool::Impl> pool_;
  std::string name_;
  std::unique_ptr<Thread> thread_;
  // I/O thread only:
  bool busy_ = false;       // a call is at the thread, maybe one that was abandoned
  bool leased_ = false;     // false while busy_: the lease ended first
  bool fresh_ = false;      // the lease has not run anything yet
  bool left_open_ = false;  // the last call left a transaction open
  bool connected_ = false;  // as far as the last call told
};

template <class F>
asio::awaitable<Result<std::invoke_result_t<F, Session&>>> Lease::run(
    F work, std::chrono::milliseconds deadline) {
  const std::shared_ptr<Worker> worker = worker_;  // the lease may be moved while we wait
  if (worker == nullptr)
    co_return Failure{FailureKind::error, false, "", "a run on an empty lease"};
  const auto until = std::chrono::steady_clock::now() + deadline;
  const auto call = std::make_shared<CallOf<F>>(worker->io(), std::move(work));
  asio::awaitable<std::optional<Failure>> performing = worker->perform(call, until);
  std::optional<Failure> failure = co_await std::move(performing);
  if (failure) co_return std::move(*failure);
  if (call->failure) co_return std::move(*call->failure);
  co_return std::move(*call->value);
}

template <class F>
asio::awaitable<Result<std::invoke_result_t<F, Session&>>> Pool::run(
    F work, std::chrono::milliseconds deadline) {
  using std::chrono::milliseconds;
  const auto until = std::chrono::steady_clock::now() + deadline;
  Result<Lease> lease = co_await acquire(deadline);
  if (!lease) co_return lease.failure();
  const auto left = std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now());
  auto running = lease.value().run(std::move(work), std::max(left, milliseconds(0)));
  co_return co_await std::move(running);
}

}  // namespace txcoord::pg
