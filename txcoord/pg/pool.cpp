// The pool: who has which worker, and who waits for one. Everything here runs on the I/O thread.
#include "txcoord/pg/pool.hpp"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>

#include "txcoord/base/settings.hpp"
#include "txcoord/pg/pool_internal.hpp"

namespace txcoord::pg {
namespace {

// After the second failure to connect in a row, and each further one, doubling: 25 ms to 200 ms.
constexpr std::chrono::milliseconds connect_pause_min{12};
constexpr std::uint32_t connect_doublings_max = 4;

}  // namespace

PoolSettings pool_settings(const DatabaseSettings& database, std::string name,
                           std::size_t connections_max) {
  using std::chrono::milliseconds;
  PoolSettings pool;
  pool.session.application_name = "txcoord-" + name;
  pool.name = std::move(name);
  pool.dsn = database.dsn;
  pool.connections_max = connections_max;
  pool.session.lock_timeout = milliseconds(database.lock_ms_max);
  pool.session.statement_timeout = milliseconds(database.statement_ms_max);
  pool.session.idle_in_transaction_timeout = milliseconds(database.idle_in_transaction_ms_max);
  return pool;
}

Lease::Lease(std::shared_ptr<Worker> worker) : worker_(std::move(worker)) {
  worker_->lease_begins();
}
Lease::Lease(Lease&&) noexcept = default;
Lease& Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    give_back();
    worker_ = std::move(other.worker_);
  }
  return *this;
}
Lease::~Lease() { give_back(); }

void Lease::give_back() noexcept {
  if (const std::shared_ptr<Worker> worker = std::move(worker_)) worker->lease_ended();
}

void Pool::Impl::give_back(std::shared_ptr<Worker> worker) {
  // Who waits while the server has no connection left waits for one of ours.
  const bool of_use = worker->connected() || !resting() || connected() == 0;
  if (waiters.empty() || !of_use) {
    worker->connected() ? idle.push_back(std::move(worker)) : idle.push_front(std::move(worker));
    return;
  }
  const std::shared_ptr<Waiter> next = std::move(waiters.front());
  waiters.pop_front();
  next->worker = std::move(worker);
  next->wake.cancel();
}

std::size_t Pool::Impl::connected() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(workers, [](const auto& worker) { return worker->connected(); }));
}

bool Pool::Impl::resting() const { return std::chrono::steady_clock::now() < rests_until; }

// Only a session that was opened ends the pause: that an open one still works, or another pool's,
// says nothing about the next. One failure is no pattern yet.
void Pool::Impl::connecting_ended(const Call& call) {
  if (call.opened) {
    connects_failed = 0;
    connect_failure.reset();
    rests_until = {};
  } else if (call.connect_failure) {
    connect_failure = call.connect_failure;
    const auto doublings = std::min(connects_failed, connect_doublings_max);
    if (++connects_failed > 1)
      rests_until = std::chrono::steady_clock::now() + connect_pause_min * (1U << doublings);
  }
}

std::shared_ptr<Worker> Pool::Impl::take() {
  const bool warm = !idle.empty() && idle.back()->connected();
  // One of those that are connected will be free soon.
  if (!warm && resting()) return nullptr;
  std::shared_ptr<Worker> worker;
  if (!idle.empty()) {
    worker = std::move(idle.back());
    idle.pop_back();
  } else if (workers.size() < settings().connections_max) {
    worker = std::make_shared<Worker>(shared_from_this());
    workers.push_back(worker);
  }
  return worker;
}

Pool::Pool(asio::any_io_executor io, PoolSettings settings)
    : impl_(std::make_shared<Impl>(std::move(io), std::move(settings))) {}

Pool::~Pool() {
  impl_->stopped = true;
  for (const auto& waiter : impl_->waiters) waiter->wake.cancel();
  impl_->waiters.clear();
  for (const auto& worker : impl_->workers) worker->stop();
}

asio::awaitable<Result<Lease>> Pool::acquire(std::chrono::milliseconds wait) {
  constexpr auto quiet = asio::as_tuple(asio::use_awaitable);
  const std::shared_ptr<Impl> pool = impl_;  // the Pool may go while we wait
  const auto started = std::chrono::steady_clock::now();
  std::shared_ptr<Worker> worker;
  if (pool->resting() && pool->connected() == 0) co_return *pool->connect_failure;
  try {
    worker = pool->take();
  } catch (const std::exception& e) {  // no thread to be had: nothing was sent
    co_return Failure{FailureKind::unavailable, false, "", e.what()};
  }
  if (worker == nullptr) {
    if (pool->waiters.size() >= pool->settings().waiters_max)
      co_return Failure{FailureKind::unavailable, false, "",
                        "too many wait for a database session"};
    const auto waiter = std::make_shared<Impl::Waiter>(pool->io);
    pool->waiters.push_back(waiter);
    waiter->wake.expires_at(started + wait);
    co_await waiter->wake.async_wait(quiet);
    std::erase(pool->waiters, waiter);
    worker = std::move(waiter->worker);
  }
  if (pool->on_wait) {
    const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - started;
    pool->on_wait(waited.count());
  }
  if (pool->stopped) co_return Failure{FailureKind::unavailable, false, "", "the pool is stopped"};
  if (worker == nullptr)
    co_return Failure{FailureKind::timeout, false, "", "no database session became free"};
  co_return Lease(std::move(worker));
}

const std::string& Pool::name() const { return impl_->settings().name; }

std::size_t Pool::sessions_in_use() const { return impl_->workers.size() - impl_->idle.size(); }

void Pool::on_wait(std::function<void(double)> hook) { impl_->on_wait = std::move(hook); }

}  // namespace txcoord::pg
