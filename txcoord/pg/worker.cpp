// A pool's worker: one thread with one connection, and the race between its work and the deadline.
#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "txcoord/base/logging.hpp"
#include "txcoord/pg/classify.hpp"
#include "txcoord/pg/condemned.hpp"
#include "txcoord/pg/pool_internal.hpp"

namespace txcoord::pg {

// The thread and what it owns. Public functions are called on the I/O thread.
class Worker::Thread {
 public:
  explicit Thread(std::shared_ptr<Pool::Impl::Shared> shared)
      : shared_(std::move(shared)), thread_([this] { loop(); }) {}
  ~Thread() { stop(); }

  void post(std::shared_ptr<Worker> owner, std::shared_ptr<Call> call) {
    const std::lock_guard lock(mutex_);
    tasks_.push_back({std::move(owner), std::move(call)});
    changed_.notify_one();
  }
  // Closes the session before the next call: the server rolls back what it left open.
  void post_close() { post(nullptr, nullptr); }

  // Wakes the thread out of the statement it waits for. The guarded socket is the session's own
  // or none: the thread withdraws it under the same mutex before it closes it, so that a
  // descriptor number that was used again is never shut down.
  void cut() {
    const std::lock_guard lock(socket_mutex_);
    if (socket_ >= 0) ::shutdown(socket_, SHUT_RDWR);
  }

  bool stopped() const { return stopped_.load(); }

  void stop() {
    stopped_.store(true);
    {
      const std::lock_guard lock(mutex_);
      if (current_ != nullptr) current_->given_up.store(true);
      changed_.notify_one();
    }
    cut();
    if (thread_.joinable()) thread_.join();
  }

 private:
  struct Task {
    std::shared_ptr<Worker> owner;
    std::shared_ptr<Call> call;  // null: close the session
  };

  void loop() {
    while (true) {
      Task task;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stopped_.load() || !tasks_.empty(); });
        if (tasks_.empty()) break;
        task = std::move(tasks_.front());
        tasks_.pop_front();
        current_ = task.call.get();
      }
      if (task.call == nullptr) {
        close();
        continue;
      }
      serve(*task.call);
      {
        const std::lock_guard lock(mutex_);
        current_ = nullptr;
      }
      deliver(std::move(task));
    }
    close();
  }

  void serve(Call& call) {
    using Phase = Call::Phase;
    Phase expected = Phase::waiting;
    try {
      if (stopped_.load()) throw ConnectFailure("the pool is stopped");
      connect_for(call);
      if (call.phase.compare_exchange_strong(expected, Phase::running)) call.execute(*session_);
    } catch (...) {
      call.failure = classify(std::current_exception());
      // Whatever the server said: what ended the session (FATAL, PANIC) may have come after the
      // commit and before its acknowledgement.
      if (call.phase.load() != Phase::waiting && session_ != nullptr && !session_->usable())
        call.failure->outcome_unknown = true;
    }
    const Condemned condemned =
        call.failure ? condemned_by(call.failure->sqlstate) : Condemned::nothing;
    if (condemned == Condemned::pool) ++shared_->generation;
    expected = call.phase.load();
    while (expected != Phase::abandoned &&
           !call.phase.compare_exchange_weak(expected, Phase::finished)) {
    }
    // Abandoned: the socket is shut down, or is about to be. The guard makes a late cut
    // harmless.
    const bool spent = expected == Phase::abandoned || condemned != Condemned::nothing;
    if (session_ != nullptr && (spent || !session_->usable())) close();
    call.left_open = session_ != nullptr && session_->in_transaction();
    call.connected = session_ != nullptr;
  }

  void connect_for(Call& call) {
    try {
      ensure_session(call);
    } catch (...) {
      if (call.may_connect) call.connect_failure = classify(std::current_exception());
      throw;
    }
  }

  void ensure_session(Call& call) {
    if (session_ != nullptr) {
      // A server that restarted while we were idle has hung up: notice before anything is
      // sent.
      const bool alive = call.may_connect ? session_->still_connected() &&
                                                generation_ == shared_->generation.load()
                                          : session_->usable();
      if (!alive) close();
    }
    if (session_ != nullptr) return;
    if (!call.may_connect) throw ConnectFailure("the session of this lease was lost");
    using std::chrono::milliseconds;
    const PoolSettings& settings = shared_->settings;
    // Not longer than the caller waits: hosts share the time, and the last one must get its part.
    const auto left =
        std::chrono::floor<milliseconds>(call.deadline - std::chrono::steady_clock::now());
    generation_ = shared_->generation.load();
    session_ = std::make_unique<Session>(
        settings.dsn, settings.session, std::clamp(left, milliseconds(0), settings.connect_timeout),
        &call.given_up, &shared_->names);
    call.opened = true;
    const std::lock_guard lock(socket_mutex_);
    socket_ = session_->socket();
  }

  void close() {
    {
      const std::lock_guard lock(socket_mutex_);
      socket_ = -1;
    }
    session_.reset();
  }

  // The references move along, so that what the caller captured dies on the I/O thread.
  static void deliver(Task task) {
    const asio::any_io_executor io = task.owner->io();
    asio::post(io, [task = std::move(task)] { task.owner->completed(*task.call); });
  }

  std::shared_ptr<Pool::Impl::Shared> shared_;
  std::atomic<bool> stopped_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;   // at most a close and the call after it
  Call* current_ = nullptr;  // guarded by mutex_, as tasks_
  std::mutex socket_mutex_;
  int socket_ = -1;
  std::unique_ptr<Session> session_;  // the thread's own, as its generation
  std::uint64_t generation_ = 0;
  std::thread thread_;  // last: it starts when all else is there
};

Worker::Worker(const std::shared_ptr<Pool::Impl>& pool)
    : io_(pool->io),
      pool_(pool),
      name_(pool->settings().name),
      thread_(std::make_unique<Thread>(pool->shared)) {}

Worker::~Worker() = default;

void Worker::stop() { thread_->stop(); }

void Worker::lease_begins() {
  leased_ = true;
  fresh_ = true;
}

void Worker::lease_ended() {
  leased_ = false;
  if (!busy_) back_to_pool();  // or else completed() does, when the blocking call has ended
}

void Worker::back_to_pool() {
  if (left_open_) {
    thread_->post_close();
    connected_ = false;
  }
  left_open_ = false;
  if (const auto pool = pool_.lock()) pool->give_back(shared_from_this());
}

void Worker::completed(Call& call) {
  busy_ = false;
  left_open_ = call.left_open;
  connected_ = call.connected;
  if (const auto pool = pool_.lock()) pool->connecting_ended(call);
  call.delivered = true;
  call.wake.cancel();
  if (!leased_) back_to_pool();
}

// True if the call is abandoned now; `begun` tells whether its work had begun. False: the worker
// has finished, and its completion is on the way.
bool Worker::abandon(Call& call, bool& begun) {
  using Phase = Call::Phase;
  Phase expected = Phase::waiting;
  begun = false;
  if (!call.phase.compare_exchange_strong(expected, Phase::abandoned)) {
    begun = true;
    expected = Phase::running;
    if (!call.phase.compare_exchange_strong(expected, Phase::abandoned)) return false;
  }
  call.given_up.store(true);
  if (begun) thread_->cut();
  logging::warn("database call cut at its deadline",
                {{"pool", std::string_view(name_)}, {"begun", begun}});
  return true;
}

asio::awaitable<std::optional<Failure>> Worker::perform(
    std::shared_ptr<Call> call, std::chrono::steady_clock::time_point deadline) {
  constexpr auto quiet = asio::as_tuple(asio::use_awaitable);
  if (thread_->stopped())
    co_return Failure{FailureKind::unavailable, false, "", "the pool is stopped"};
  if (busy_)
    co_return Failure{FailureKind::unavailable, false, "", "the session was cut at a deadline"};
  const std::shared_ptr<Worker> self = shared_from_this();
  busy_ = true;
  call->may_connect = fresh_;
  call->deadline = deadline;
  fresh_ = false;
  thread_->post(self, call);

  call->wake.expires_at(deadline);
  co_await call->wake.async_wait(quiet);
  if (call->delivered) co_return std::nullopt;
  bool begun = false;
  if (abandon(*call, begun))
    co_return Failure{FailureKind::timeout, begun, "",
                      begun ? "deadline: cut" : "deadline: not connected yet"};
  while (!call->delivered) {
    call->wake.expires_at(std::chrono::steady_clock::time_point::max());
    co_await call->wake.async_wait(quiet);
  }
  co_return std::nullopt;
}

}  // namespace txcoord::pg
