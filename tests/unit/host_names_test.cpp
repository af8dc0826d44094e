// Names of database hosts that are slow, gone or moved: whoever asks leaves at his deadline.
#include "txcoord/pg/host_names.hpp"

#include <catch2/catch_test_macros.hpp>
#include <condition_variable>
#include <mutex>

using namespace txcoord::pg;
using namespace std::chrono_literals;
using Clock = HostNames::Clock;

namespace {

// A name server that answers when it is let to. Shared with threads that outlive the test.
struct NameServer {
  HostAddresses look() {
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
  void answer_with(HostAddresses addresses) {
    const std::lock_guard lock(mutex);
    answer = std::move(addresses);
  }
  // How often it was asked, once it was.
  int times_asked() {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, 5s, [this] { return asked > 0; });
    return asked;
  }

  std::mutex mutex;
  std::condition_variable changed;
  bool answers = true;
  int asked = 0;
  HostAddresses answer{{"192.0.2.1"}, ""};
};

struct Rig {
  ~Rig() { server->answers_now(true); }
  HostAddresses find(std::chrono::milliseconds time, const std::atomic<bool>* give_up = nullptr) {
    return names.find("a.name", Clock::now() + time, give_up);
  }
  std::shared_ptr<NameServer> server = std::make_shared<NameServer>();
  HostNames names{[server = server](const std::string&) { return server->look(); }};
};

using Addresses = std::vector<std::string>;

}  // namespace

TEST_CASE("a name is asked for anew each time: it may have moved to the new primary") {
  Rig rig;
  CHECK(rig.find(5s).numeric == Addresses{"192.0.2.1"});
  rig.server->answer_with({{"192.0.2.2"}, ""});
  CHECK(rig.find(5s).numeric == Addresses{"192.0.2.2"});
}

TEST_CASE("a name that is not found in time is told so, and nobody waits for it") {
  Rig rig;
  rig.server->answers_now(false);
  const auto began = Clock::now();
  const HostAddresses found = rig.find(100ms);
  CHECK(found.numeric.empty());
  CHECK(found.error == "its name is not found in time");
  CHECK(Clock::now() - began < 2s);
  // A second caller waits for the same lookup.
  CHECK(rig.find(50ms).numeric.empty());
  CHECK(rig.server->times_asked() == 1);
}

TEST_CASE("a name that was known serves while the resolver is slow or fails") {
  Rig rig;
  REQUIRE_FALSE(rig.find(5s).numeric.empty());
  rig.server->answers_now(false);
  const auto began = Clock::now();
  CHECK(rig.find(200ms).numeric == Addresses{"192.0.2.1"});
  CHECK(Clock::now() - began < 190ms);  // half of the time is left to connect in
  rig.server->answer_with({{}, "SERVFAIL"});
  rig.server->answers_now(true);
  CHECK(rig.find(5s).numeric == Addresses{"192.0.2.1"});
}

TEST_CASE("a name that is not there is told with the resolver's reason") {
  Rig rig;
  rig.server->answer_with({{}, "no such name"});
  CHECK(rig.find(5s).error == "its name is not found: no such name");
}

TEST_CASE("a caller who gives up is not kept by a slow name") {
  Rig rig;
  rig.server->answers_now(false);
  const std::atomic<bool> given_up = true;
  const auto began = Clock::now();
  CHECK(rig.find(10s, &given_up).numeric.empty());
  CHECK(Clock::now() - began < 5s);
}

TEST_CASE("an address is no name") {
  CHECK(is_numeric("127.0.0.1"));
  CHECK(is_numeric("::1"));
  CHECK_FALSE(is_numeric("localhost"));
}
