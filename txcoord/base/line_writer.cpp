// See line_writer.hpp.
#include "txcoord/base/line_writer.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

namespace txcoord {
namespace {

struct Entry {
  std::string text;
  std::uint64_t tells_of = 0;  // a notice: of so many dropped lines
};

// The thread of the writer takes no signal: those are for whoever set a handler.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

// Blocks, for as long as it takes. `written`: how much of it is out, also when it fails.
bool write_all(int descriptor, std::string_view text, std::size_t& written) {
  written = 0;
  while (written < text.size()) {
    const ::ssize_t n = ::write(descriptor, text.data() + written, text.size() - written);
    if (n >= 0) {
      written += static_cast<std::size_t>(n);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
    // Somebody who shares the file made it non-blocking.
    pollfd room{descriptor, POLLOUT, 0};
    ::poll(&room, 1, -1);
  }
  return true;
}

}  // namespace

struct LineWriter::Shared {
  Shared(int fd, Limits all, Notice how) : descriptor(fd), limits(all), notice(std::move(how)) {}

  const int descriptor;
  const Limits limits;
  const Notice notice;
  std::mutex mutex;
  std::condition_variable work, idle;
  std::deque<Entry> queue;
  std::size_t bytes = 0;  // of the queue and of what is being written
  std::uint64_t dropped = 0, untold = 0;
  bool writing = false, in_a_gap = false, closing = false;

  void drop(std::uint64_t lines) {
    dropped += lines;
    untold += lines;
  }

  void add(Entry entry) {
    bytes += entry.text.size();
    queue.push_back(std::move(entry));
  }

  bool half_empty() const {
    return queue.size() <= limits.lines_max / 2 && bytes <= limits.bytes_max / 2;
  }

  void run() {
    bool torn = false;  // the last line is out in part: it ends before the next one begins
    std::unique_lock lock(mutex);
    for (;;) {
      work.wait(lock, [this] { return closing || !queue.empty(); });
      if (queue.empty()) return;
      Entry entry = std::move(queue.front());
      queue.pop_front();
      writing = true;
      lock.unlock();
      std::size_t written = 0;
      const std::size_t size = entry.text.size();
      if (torn) entry.text.insert(0, 1, '\n');
      const bool ok = write_all(descriptor, entry.text, written);
      torn = ok ? false : (torn ? written != 1 : written > 0);
      lock.lock();
      writing = false;
      bytes -= size;
      ended(entry, ok);
      if (queue.empty()) idle.notify_all();
    }
  }

  void ended(const Entry& entry, bool ok) {
    if (!ok && entry.tells_of > 0) {
      untold += entry.tells_of;
    } else if (!ok) {
      drop(1);
    }
    if (half_empty()) in_a_gap = false;
    // Here, and not when the next line comes: that may be long after.
    if (!ok || in_a_gap || untold == 0 || !notice) return;
    const std::uint64_t told = std::exchange(untold, 0);
    add({notice(told) + "\n", told});
  }
};

LineWriter::LineWriter(int descriptor, Limits limits, Notice notice)
    : shared_(std::make_shared<Shared>(descriptor, limits, std::move(notice))) {
  const SignalsBlocked blocked;
  // Detached: a thread in a write() that never returns cannot be waited for.
  std::thread([shared = shared_] { shared->run(); }).detach();
}

LineWriter::~LineWriter() { finish(std::chrono::milliseconds(0)); }

void LineWriter::push(std::string line) {
  line.push_back('\n');
  const std::lock_guard lock(shared_->mutex);
  const bool full = shared_->queue.size() >= shared_->limits.lines_max ||
                    shared_->bytes + line.size() > shared_->limits.bytes_max;
  if (shared_->closing || shared_->in_a_gap || full) {
    shared_->in_a_gap = true;
    shared_->drop(1);
    return;
  }
  shared_->add({std::move(line)});
  shared_->work.notify_one();
}

bool LineWriter::finish(std::chrono::milliseconds wait_max) {
  std::unique_lock lock(shared_->mutex);
  shared_->closing = true;
  shared_->work.notify_one();
  return shared_->idle.wait_for(lock, wait_max,
                                [this] { return shared_->queue.empty() && !shared_->writing; });
}

std::uint64_t LineWriter::dropped() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->dropped;
}

}  // namespace txcoord
