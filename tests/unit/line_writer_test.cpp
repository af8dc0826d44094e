// Whoever has something to say never waits for whoever reads it: readers that stop, go, or refuse.
#include "txcoord/base/line_writer.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

using namespace txcoord;
using namespace std::chrono_literals;

namespace {

// A pipe whose reader reads when the test says so.
class Pipe {
 public:
  Pipe() { REQUIRE(::pipe2(ends_, O_CLOEXEC) == 0); }
  ~Pipe() {
    close_reader();
    ::close(ends_[1]);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  int writer() const { return ends_[1]; }
  void close_reader() {
    if (ends_[0] >= 0) ::close(ends_[0]);
    ends_[0] = -1;
  }
  void make_non_blocking() { ::fcntl(ends_[1], F_SETFL, O_NONBLOCK); }
  // As little as a pipe can hold: one page.
  void make_small() { REQUIRE(::fcntl(ends_[1], F_SETPIPE_SZ, 4096) == 4096); }

  // Reads until the last of the lines ends with `end`.
  std::vector<std::string> read_until(const std::string& end) {
    std::vector<std::string> lines;
    for (;;) {
      pollfd readable{ends_[0], POLLIN, 0};
      REQUIRE(::poll(&readable, 1, 10'000) == 1);
      char buffer[4096];
      const ::ssize_t n = ::read(ends_[0], buffer, sizeof(buffer));
      REQUIRE(n > 0);
      text_.append(buffer, static_cast<std::size_t>(n));
      for (std::size_t feed = 0; (feed = text_.find('\n')) != std::string::npos;) {
        lines.push_back(text_.substr(0, feed));
        text_.erase(0, feed + 1);
      }
      if (!lines.empty() && lines.back().ends_with(end)) return lines;
    }
  }

 private:
  int ends_[2] = {-1, -1};
  std::string text_;
};

std::string told(std::uint64_t lines) { return std::to_string(lines) + " were dropped"; }

// As many as a test counts with ease.
constexpr LineWriter::Limits eight_lines{8, 1024 * 1024};
const std::string page(5000, 'x');

// Far below what a test that hangs would take; a thread that is not scheduled takes some, too.
constexpr auto at_once = 2s;

// The writer's thread must be done with the descriptor before the test closes it: the next test may
// get the same number.
void let_go(Pipe& pipe, LineWriter& writer) {
  pipe.close_reader();
  CHECK(writer.finish(10s));
}

template <class Work>
bool quick(Work work) {
  const auto begun = std::chrono::steady_clock::now();
  work();
  return std::chrono::steady_clock::now() - begun < at_once;
}

}  // namespace

TEST_CASE("lines are written whole and in order") {
  Pipe pipe;
  LineWriter writer(pipe.writer());
  writer.push("one");
  writer.push("two");
  writer.push("");
  writer.push("three");
  CHECK(pipe.read_until("three") == std::vector<std::string>{"one", "two", "", "three"});
  CHECK(writer.finish(1s));
  CHECK(writer.dropped() == 0);
}

TEST_CASE("a reader that stops costs lines and hangs nobody") {
  Pipe pipe;
  pipe.make_small();
  LineWriter writer(pipe.writer(), eight_lines, told);
  CHECK(quick([&] {
    for (int i = 0; i < 1000; ++i) writer.push(page + std::to_string(i));
  }));
  // One may be at the pipe, eight wait.
  const std::uint64_t dropped = writer.dropped();
  CHECK(dropped >= 991);
  CHECK(dropped < 1000);
  CHECK(quick([&] { CHECK_FALSE(writer.finish(50ms)); }));
  let_go(pipe, writer);
}

TEST_CASE("a reader that reads again is told how many lines are missing, where they are missing") {
  Pipe pipe;
  pipe.make_small();
  LineWriter writer(pipe.writer(), eight_lines, told);
  for (int i = 0; i < 1000; ++i) writer.push(page + std::to_string(i));
  const std::uint64_t dropped = writer.dropped();
  const auto lines = pipe.read_until("were dropped");
  CHECK(lines.back() == told(dropped));
  REQUIRE(lines.size() == 1000 - dropped + 1);
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) CHECK(lines[i] == page + std::to_string(i));
  // And then all is as before.
  writer.push("after it");
  CHECK(pipe.read_until("after it") == std::vector<std::string>{"after it"});
  CHECK(writer.finish(1s));
  CHECK(writer.dropped() == dropped);
}

TEST_CASE("long lines fill the queue before many do") {
  Pipe pipe;
  pipe.make_small();
  LineWriter writer(pipe.writer(), {1'000'000, 100'000}, told);
  for (int i = 0; i < 100; ++i) writer.push(page);
  CHECK(writer.dropped() >= 80);
  CHECK_FALSE(writer.finish(0ms));
  let_go(pipe, writer);
}

TEST_CASE("a reader that is gone costs lines, and no signal") {
  Pipe pipe;
  pipe.close_reader();
  LineWriter writer(pipe.writer(), eight_lines, told);
  writer.push("one");
  writer.push("two");
  CHECK(writer.finish(1s));
  CHECK(writer.dropped() == 2);
}

TEST_CASE("a full disk costs lines, which are told when there is room again") {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  REQUIRE(full >= 0);
  LineWriter writer(full, eight_lines, told);
  writer.push("one");
  writer.push("two");
  while (writer.dropped() < 2) std::this_thread::yield();
  Pipe room;
  REQUIRE(::dup2(room.writer(), full) == full);
  writer.push("three");
  CHECK(room.read_until("were dropped") == std::vector<std::string>{"three", told(2)});
  CHECK(writer.finish(1s));
  CHECK(writer.dropped() == 2);
  ::close(full);
}

TEST_CASE("a pipe that somebody else made non-blocking loses nothing") {
  Pipe pipe;
  pipe.make_small();
  pipe.make_non_blocking();
  LineWriter writer(pipe.writer());
  for (int i = 0; i < 100; ++i) writer.push(page);
  writer.push("the last");
  CHECK(pipe.read_until("the last").size() == 101);
  CHECK(writer.dropped() == 0);
}

TEST_CASE("what is said after the end is dropped and counted") {
  Pipe pipe;
  LineWriter writer(pipe.writer());
  writer.push("one");
  CHECK(writer.finish(1s));
  writer.push("two");
  CHECK(writer.dropped() == 1);
}
