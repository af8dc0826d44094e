// The circuit breaker: after how many failures it opens, for how long, and who may probe.
#include "participants/remote/breaker.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace txcoord::remote;
using std::chrono::milliseconds;

namespace {

constexpr BreakerLimits limits{3, milliseconds(100), milliseconds(300)};

struct Rig {
  Breaker breaker{limits};
  Breaker::Time now{};
  void fail(int times) {
    for (int i = 0; i < times; ++i) breaker.failed(now);
  }
  bool probe_after(int ms) {
    now += milliseconds(ms);
    return breaker.allow(now);
  }
};

}  // namespace

TEST_CASE("a breaker stays closed while failures do not come in a row") {
  Rig rig;
  for (int round = 0; round < 5; ++round) {
    rig.fail(2);
    rig.breaker.answered();
  }
  CHECK(rig.breaker.state() == BreakerState::closed);
  CHECK(rig.breaker.allow(rig.now));
}

TEST_CASE("a breaker that is open lets nothing through until its pause has run out") {
  Rig rig;
  rig.fail(3);
  CHECK(rig.breaker.state() == BreakerState::open);
  CHECK_FALSE(rig.probe_after(99));
  CHECK(rig.probe_after(1));
  CHECK(rig.breaker.state() == BreakerState::half_open);
}

TEST_CASE("half open, one call at a time goes through; its answer closes") {
  Rig rig;
  rig.fail(3);
  REQUIRE(rig.probe_after(100));
  CHECK_FALSE(rig.breaker.allow(rig.now));
  rig.breaker.answered();
  CHECK(rig.breaker.state() == BreakerState::closed);
  CHECK(rig.breaker.allow(rig.now));
  CHECK(rig.breaker.allow(rig.now));
}

TEST_CASE("a probe that fails opens for twice as long, up to the bound; an answer forgets that") {
  Rig rig;
  rig.fail(3);
  REQUIRE(rig.probe_after(100));
  rig.fail(1);
  CHECK_FALSE(rig.probe_after(199));
  REQUIRE(rig.probe_after(1));
  rig.fail(1);
  CHECK_FALSE(rig.probe_after(299));  // not 400
  REQUIRE(rig.probe_after(1));
  rig.breaker.answered();
  rig.fail(3);
  CHECK(rig.probe_after(100));
}

TEST_CASE("calls that were under way when it opened do not open it for longer") {
  Rig rig;
  rig.fail(10);
  CHECK(rig.probe_after(100));
}
