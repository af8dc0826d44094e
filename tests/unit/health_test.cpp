// When a database counts as usable: the rules on top of engine/health.hpp.
#include "txcoord/engine/health.hpp"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

namespace txcoord::engine {
namespace {

using namespace std::chrono_literals;

const Failure silence{FailureKind::unavailable, true, "", "the connection broke"};
const Failure disk_full{FailureKind::unavailable, false, "53100", "no space left on device"};
const Failure no_slot{FailureKind::unavailable, false, "53200", "no prepared slot left"};

struct HealthRig {
  Health::Time now{};
  Health health{{"order"}, [this] { return now; }};
  std::vector<std::string> changes;
  int doubts = 0;

  HealthRig() {
    health.on_down = [this](std::string_view) { changes.emplace_back("down"); };
    health.on_up = [this](std::string_view) { changes.emplace_back("up"); };
    health.on_doubt = [this](std::string_view) { ++doubts; };
    health.wrote("order");
    now += 1h;
    changes.clear();
  }
  // As recovery probes one that is down: every 200 ms, for so long.
  void probe_well(std::chrono::milliseconds time) {
    for (auto left = time; left >= 0ms; left -= 200ms) {
      health.wrote("order");
      now += 200ms;
    }
  }
};

TEST_CASE("a database that can be read and not written goes down once, and stays down") {
  HealthRig rig;
  for (int i = 0; i < 1000; ++i) {
    rig.health.failed("order", disk_full, 1);
    rig.health.reached("order");
    rig.health.probe_failed("order", disk_full);
    rig.now += 2ms;
  }
  CHECK(rig.changes == std::vector<std::string>{"down"});
  CHECK(rig.health.all().at("order").reachable);
  CHECK_FALSE(rig.health.all().at("order").writable);
  CHECK(rig.health.trouble() == "cannot be written: order");
}

TEST_CASE("work that fails alone takes no database down, and asks for few probes") {
  HealthRig rig;
  for (int i = 0; i < 1000; ++i) {
    rig.health.failed("order", disk_full, 1);
    if (rig.health.wants_probe("order")) rig.health.wrote("order");
    rig.now += 1ms;
  }
  CHECK(rig.changes.empty());
  CHECK(rig.health.usable("order"));
  CHECK(rig.doubts <= 6);
  // That writes are refused is shown, and why, until it is long ago.
  rig.health.reached("order");
  CHECK_FALSE(rig.health.all().at("order").writable);
  CHECK(rig.health.all().at("order").last_error == words_for_anybody(disk_full));
  rig.now += 1min;
  rig.health.reached("order");
  CHECK(rig.health.all().at("order").writable);
  CHECK(rig.health.all().at("order").last_error.empty());
}

TEST_CASE("a service whose answer is not understood is probed, and the probe decides") {
  HealthRig rig;
  const Failure unreadable{FailureKind::unreadable, true, "", "a reply too few"};
  rig.health.failed("order", unreadable, 1);
  CHECK(rig.health.usable("order"));
  CHECK(rig.health.wants_probe("order"));
  rig.health.probe_failed("order", unreadable);
  CHECK(rig.health.trouble() == "away: order");
}

TEST_CASE("silence takes a database down at once, and one probe that writes brings it back") {
  HealthRig rig;
  rig.health.failed("order", silence);
  CHECK_FALSE(rig.health.all().at("order").reachable);
  CHECK(rig.health.trouble() == "away: order");
  rig.health.reached("order");
  CHECK_FALSE(rig.health.usable("order"));
  rig.health.wrote("order");
  CHECK(rig.health.usable("order"));
  CHECK(rig.changes == std::vector<std::string>{"down", "up"});
}

TEST_CASE("a database that comes and goes changes its state every few seconds") {
  HealthRig rig;
  // For a minute, every probe comes through and all work fails.
  for (const auto end = rig.now + 1min; rig.now < end; rig.now += 200ms) {
    rig.health.wrote("order");
    rig.health.failed("order", silence);
  }
  CHECK(rig.changes == std::vector<std::string>{"down", "up", "down"});
  rig.changes.clear();
  // And when it works for half a second each time, before it fails again.
  for (const auto end = rig.now + 1min; rig.now < end;) {
    rig.probe_well(2s);
    rig.now += 300ms;
    rig.health.failed("order", silence);
  }
  CHECK(rig.changes.size() > 2);
  CHECK(rig.changes.size() < 60);
}

TEST_CASE("a relapse after a quiet time is a new outage") {
  HealthRig rig;
  for (int outages = 0; outages < 5; ++outages) {
    rig.health.failed("order", silence);
    rig.now += 1s;
    rig.health.wrote("order");
    CHECK(rig.health.usable("order"));
    rig.now += 20s;
  }
}

TEST_CASE("the first failure of an outage stays visible until its end") {
  HealthRig rig;
  rig.health.failed("order", {FailureKind::unavailable, false, "", "401: who are you", true});
  rig.health.failed("order", {FailureKind::unavailable, false, "", "its breaker is open", true});
  CHECK(rig.health.all().at("order").last_error.ends_with("401: who are you"));
  rig.health.wrote("order");
  CHECK(rig.health.all().at("order").last_error.empty());
}

TEST_CASE("a server without a free slot for PREPARE is full, not away") {
  HealthRig rig;
  rig.health.failed("order", no_slot, 1);
  rig.health.slots("order", 64, 64);
  CHECK(rig.health.usable("order"));
  CHECK_FALSE(rig.health.all_have_slots());
  CHECK(rig.health.trouble() == "no prepared slots left: order");
  rig.health.slots("order", 63, 64);
  CHECK(rig.health.all_have_slots());
  CHECK(rig.changes == std::vector<std::string>{"up"});
}

TEST_CASE("slots that are all used by groups that go on refuse nobody") {
  HealthRig rig;
  rig.health.slots("order", 64, 64);
  CHECK(rig.health.all_have_slots());
}

TEST_CASE("what is in doubt at a database that is silent is unknown, not zero") {
  HealthRig rig;
  rig.health.in_doubt("order", 3, 1.5);
  rig.health.failed("order", silence);
  CHECK_FALSE(rig.health.all().at("order").in_doubt_branches.has_value());
}

}  // namespace
}  // namespace txcoord::engine
