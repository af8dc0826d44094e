// Names that are slow, gone or changed: whoever asks leaves at his deadline, and what was found is
// used until something better is known.
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "participants/remote/name_lookup.hpp"

using namespace txcoord::remote;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

namespace {

// A name server of which each lookup waits until it is let go. Shared with threads that outlive
// the test.
struct NameServer {
  Addresses look() {
    std::unique_lock lock(mutex);
    ++asked;
    changed.notify_all();
    changed.wait(lock, [this] { return answers; });
    return answer;
  }
  void answers_now(bool yes) {
    const std::lock_guard lock(mutex);
    answers = yes;
    changed.notify_all();
  }
  void wait_asked(int times) {
    std::unique_lock lock(mutex);
    REQUIRE(changed.wait_for(lock, std::chrono::seconds(10), [&] { return asked >= times; }));
  }

  std::mutex mutex;
  std::condition_variable changed;
  bool answers = true;
  int asked = 0;
  Addresses answer;
};

Addresses one_address(const char* text) {
  return {{{boost::asio::ip::make_address(text), 80}}, {}};
}

struct Rig {
  explicit Rig(NameLimits limits = {}) {
    server->answer = one_address("192.0.2.1");
    make(limits);
  }
  ~Rig() { server->answers_now(true); }

  void make(NameLimits limits) {
    names.emplace(
        io.get_executor(), "a.name", "80", limits,
        [server = server](const std::string&, const std::string&) { return server->look(); });
  }

  Addresses find(milliseconds time_max) {
    std::optional<Addresses> found;
    const auto ask = [&]() -> boost::asio::awaitable<void> {
      auto finding = names->find(Clock::now() + time_max);
      found = co_await std::move(finding);
    };
    boost::asio::co_spawn(io, ask(), boost::asio::detached);
    const auto until = Clock::now() + std::chrono::seconds(10);
    while (!found && Clock::now() < until) {
      io.restart();
      io.run_one_for(milliseconds(100));
    }
    REQUIRE(found);
    return *found;
  }

  std::shared_ptr<NameServer> server = std::make_shared<NameServer>();
  boost::asio::io_context io{1};
  std::optional<NameLookup> names;
};

}  // namespace

TEST_CASE("an address is no name: nobody is asked") {
  Rig rig;
  NameLookup literal(rig.io.get_executor(), "::1", "8080", {},
                     [](const std::string&, const std::string&) -> Addresses { std::abort(); });
  Addresses found;
  const auto ask = [&]() -> boost::asio::awaitable<void> {
    auto finding = literal.find(Clock::now());
    found = co_await std::move(finding);
  };
  boost::asio::co_spawn(rig.io, ask(), boost::asio::detached);
  rig.io.run();
  REQUIRE(found.endpoints.size() == 1);
  CHECK(found.endpoints[0].port() == 8080);
}

TEST_CASE("a name is asked for once while it is fresh, and anew when nobody is there") {
  Rig rig;
  CHECK(rig.find(milliseconds(5000)).endpoints.size() == 1);
  CHECK(rig.find(milliseconds(5000)).endpoints.size() == 1);
  CHECK(rig.server->asked == 1);
  rig.names->not_there();
  rig.server->answer = one_address("192.0.2.2");
  CHECK(rig.find(milliseconds(5000)).endpoints.at(0).address().to_string() == "192.0.2.2");
  CHECK(rig.server->asked == 2);
}

TEST_CASE("a slow name keeps its caller no longer than his deadline, and no other name waiting") {
  Rig slow, fast;
  slow.server->answers_now(false);
  const auto started = Clock::now();
  const Addresses none = slow.find(milliseconds(150));
  CHECK(none.endpoints.empty());
  CHECK_FALSE(none.error.empty());
  CHECK(Clock::now() - started < std::chrono::seconds(2));
  CHECK(fast.find(milliseconds(5000)).endpoints.size() == 1);
}

TEST_CASE("what was found before is used when the name is slow, and when it cannot be found") {
  Rig rig;
  CHECK(rig.find(milliseconds(5000)).endpoints.size() == 1);
  rig.names->not_there();
  rig.server->answers_now(false);
  const auto started = Clock::now();
  CHECK(rig.find(milliseconds(8000)).endpoints.size() == 1);
  CHECK(Clock::now() - started < std::chrono::seconds(4));
  rig.server->answer = {{}, "no such name"};
  rig.server->answers_now(true);
  CHECK(rig.find(milliseconds(5000)).endpoints.size() == 1);
}

TEST_CASE("a name that is not found says so at once") {
  Rig rig;
  rig.server->answer = {{}, "no such name"};
  const Addresses none = rig.find(milliseconds(8000));
  CHECK(none.endpoints.empty());
  CHECK(none.error.find("no such name") != std::string::npos);
}

TEST_CASE("lookups that hang are bounded, and one that hangs does not keep the next from finding") {
  NameLimits limits;
  limits.slow_after = milliseconds(0);
  Rig rig(limits);
  rig.server->answers_now(false);
  for (int i = 0; i < 5; ++i) CHECK(rig.find(milliseconds(5)).endpoints.empty());
  CHECK(rig.names->under_way() == limits.lookups_max);
  rig.server->wait_asked(static_cast<int>(limits.lookups_max));
  CHECK(rig.server->asked == static_cast<int>(limits.lookups_max));
}

TEST_CASE("nobody waits for a lookup that hangs when its service is given up") {
  Rig rig;
  rig.server->answers_now(false);
  CHECK(rig.find(milliseconds(5)).endpoints.empty());
  rig.server->wait_asked(1);
  const auto started = Clock::now();
  rig.names.reset();
  CHECK(Clock::now() - started < std::chrono::seconds(1));
  // What it finds then is told to nobody.
  rig.server->answers_now(true);
}
