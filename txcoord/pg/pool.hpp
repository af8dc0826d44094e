// A bounded pool of blocking libpqxx sessions for one database, awaited from coroutines.
//
// Threads: each worker thread owns one connection; everything else here is called on the one I/O
// thread (the executor given to the constructor), and completions are delivered there. The pool
// must be destroyed before the executor's context.
// Deadlines: libpqxx blocks, so a deadline is enforced from outside: when it runs out, the
// connection's socket is shut down (which wakes the worker), the awaiting coroutine gets a
// Failure{timeout} at once, and the connection is never reused. Its outcome_unknown is true if the
// work had begun, and false if it was still connecting: then it will never begin.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>

#include "txcoord/base/failure.hpp"
#include "txcoord/pg/session.hpp"

namespace txcoord {
struct DatabaseSettings;
}

namespace txcoord::pg {

namespace asio = boost::asio;

struct PoolSettings {
  std::string name;  // for logs, metrics and application_name
  std::string dsn;   // libpq connection string
  std::size_t connections_max = 4;
  std::size_t waiters_max = 1024;  // more callers than this waiting for a session get `unavailable`
  std::chrono::milliseconds connect_timeout{2000};
  SessionSettings session;  // lock_timeout, statement_timeout, …
};

// A pool to this database with its timeouts; its sessions call themselves "txcoord-<name>".
PoolSettings pool_settings(const DatabaseSettings& database, std::string name,
                           std::size_t connections_max);

class Worker;  // one thread, one connection (pool_impl.hpp)

// The exclusive use of one session: what a branch needs between vote and prepare.
// Move-only. Destroying it gives the session back; a session that still has a transaction open, or
// whose deadline ran out, is closed instead of reused: the server rolls back, a moment later.
//
// A lease is one session and never another: once its session is lost, every further run fails with
// `unavailable`. (A silent reconnect would run the rest of a branch outside its transaction.)
class Lease {
 public:
  Lease() = default;
  explicit Lease(std::shared_ptr<Worker> worker);
  Lease(Lease&&) noexcept;
  Lease& operator=(Lease&&) noexcept;
  ~Lease();
  explicit operator bool() const { return worker_ != nullptr; }

  // Runs `work(Session&)` on the session's thread. Exceptions become a Failure (classify.hpp).
  // At most one run at a time on a lease. `work` returns a value: Done when it has none.
  template <class F>
  asio::awaitable<Result<std::invoke_result_t<F, Session&>>> run(
      F work, std::chrono::milliseconds deadline);

 private:
  void give_back() noexcept;
  std::shared_ptr<Worker> worker_;
};

class Pool {
 public:
  Pool(asio::any_io_executor io, PoolSettings settings);
  ~Pool();  // cuts what runs, and joins the workers
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Waits at most `wait` for a free session, first come first served; then Failure{timeout}.
  // Does not connect yet: connecting happens in the lease's first run(), and its failure is that
  // run's failure (kind `unavailable`).
  asio::awaitable<Result<Lease>> acquire(std::chrono::milliseconds wait);

  // acquire, run, release; `deadline` covers both waits together.
  template <class F>
  asio::awaitable<Result<std::invoke_result_t<F, Session&>>> run(
      F work, std::chrono::milliseconds deadline);

  const std::string& name() const;
  std::size_t sessions_in_use() const;
  // Seconds each acquire waited, reported through this hook (set once, before use).
  void on_wait(std::function<void(double)> hook);

 private:
  class Impl;
  friend class Worker;
  std::shared_ptr<Impl> impl_;
};

}  // namespace txcoord::pg

#include "txcoord/pg/pool_impl.hpp"  // the templates above
