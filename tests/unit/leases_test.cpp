// Whose lease may be taken over: judged by what was watched, not by clocks. Each case is one thing
// that can befall the log, its clock, the adopter or the lease.
#include "txcoord/engine/leases.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace txcoord;
using namespace txcoord::engine;
using namespace std::chrono_literals;

namespace {

using Time = Leases::Time;
constexpr Time lease = 5s;
constexpr Time round_every = 500ms;
constexpr Time answer_takes = 20ms;
constexpr std::int64_t second_us = 1'000'000;

// A log with one other coordinator's lease in it, and an adopter who watches.
struct World {
  LeaseRound log{{"7000000000000000001", 1, 100},
                 {{"c1", {3, 10, 1000 * second_us, false, 5000}},
                  {"c2", {8, 40, 1000 * second_us, false, 5000}}}};
  Leases leases{"c2", lease};
  Time now = 1000s;

  CoordinatorState& other() { return log.coordinators.at("c1"); }
  void renew_other() {
    ++other().renewals;
    other().expires_at_us += second_us / 2;
  }
  // One round of the adopter, acknowledged.
  void round(Time after = round_every) {
    now += after;
    ++log.coordinators.at("c2").renewals;
    leases.observe(log, now, now + answer_takes);
  }
  // Rounds for so long, in which the other one is silent.
  void watch(Time span) {
    for (Time done = 0s; done < span; done += round_every) round();
  }
  bool may_take_over() const { return leases.claims({"c1"}, now + answer_takes).size() == 1; }
};

}  // namespace

TEST_CASE(
    "a lease watched unchanged for its whole length may be taken over, and not a round before") {
  World world;
  world.round();
  world.watch(lease);
  // From the first reading's answer to the last one's asking it is a little less than a lease.
  CHECK_FALSE(world.may_take_over());
  world.round();
  REQUIRE(world.may_take_over());
  const auto claims = world.leases.claims({"c1", "c2", "never heard of"}, world.now);
  REQUIRE(claims.size() == 1);  // never itself, and nobody who is not in the log
  CHECK(claims[0].seen == world.other());
  CHECK(claims[0].log.system_identifier == world.log.log.system_identifier);
  CHECK(world.leases.alone());
}

TEST_CASE("a coordinator that renews is never taken over, however long it is watched") {
  World world;
  for (int i = 0; i < 200; ++i) {
    if (i % 3 == 0) world.renew_other();
    world.round();
    CHECK_FALSE(world.may_take_over());
    CHECK_FALSE(world.leases.alone());
  }
}

TEST_CASE("the log away for longer than a lease: nobody is silent when it is back") {
  World world;
  world.watch(4s);
  SECTION("away for seven seconds") { world.now += 7s; }
  SECTION("away for an hour") { world.now += 1h; }
  world.round();
  CHECK_FALSE(world.may_take_over());
  world.watch(4s);  // what was watched before the outage does not count
  CHECK_FALSE(world.may_take_over());
  world.watch(2s);
  CHECK(world.may_take_over());  // and one that stays silent after it is still found
}

TEST_CASE("a gap of a little more than a quarter lease starts again, one of a quarter does not") {
  World world;
  world.round();
  world.watch(4s);
  SECTION("a quarter, with the answer") {
    world.round(lease / 4 - answer_takes);
    world.round();
    CHECK(world.may_take_over());
  }
  SECTION("more") {
    world.round(lease / 4);
    world.round();
    CHECK_FALSE(world.may_take_over());
  }
}

TEST_CASE("outages that follow each other never add up to a lease") {
  World world;
  for (int outage = 0; outage < 50; ++outage) {
    world.watch(4500ms);
    world.now += 2s;
    CHECK_FALSE(world.may_take_over());
  }
}

TEST_CASE("a jump of the log's clock in either direction says nothing") {
  World world;
  world.watch(2s);
  SECTION("an hour forward: every expires_at lies in its past") {}
  SECTION("an hour back, with the next renewal of the other one") {
    ++world.other().renewals;
    world.other().expires_at_us -= 3600 * second_us;
  }
  world.watch(2500ms);
  CHECK_FALSE(world.may_take_over());
  world.renew_other();
  world.round();
  world.watch(4500ms);
  CHECK_FALSE(world.may_take_over());
}

TEST_CASE("the clock of the log stands still: renewals alone are life") {
  World world;
  for (int i = 0; i < 30; ++i) {
    ++world.other().renewals;
    world.round();
    CHECK_FALSE(world.may_take_over());
  }
}

TEST_CASE("an older coordinator, which changes expires_at alone, is alive by that") {
  World world;
  world.other() = {3, 0, 1000 * second_us, false, 0};
  for (int i = 0; i < 30; ++i) {
    if (i % 2 == 0) world.other().expires_at_us += second_us;
    world.round();
    CHECK_FALSE(world.may_take_over());
  }
  world.watch(lease + 1s);
  CHECK(world.may_take_over());
}

TEST_CASE("an adopter that was suspended judges nobody by what it saw before") {
  World world;
  world.round();
  world.watch(lease + 1s);
  REQUIRE(world.may_take_over());
  world.now += 2s;  // stopped between judging and asking
  CHECK_FALSE(world.may_take_over());
  world.round();  // and its next round is the first again
  CHECK_FALSE(world.may_take_over());
  CHECK_FALSE(world.leases.alone());
}

TEST_CASE(
    "an answer that took long is part of the interval: the adopter slept in the middle of it") {
  World world;
  world.round();
  world.watch(4s);
  const Time asked = world.now + round_every;
  world.leases.observe(world.log, asked, asked + 2s);
  world.now = asked + 2s;
  world.watch(2s);
  CHECK_FALSE(world.may_take_over());
}

TEST_CASE("a failover starts again, whatever the new primary says of its age") {
  World world;
  world.round();
  world.watch(lease + 1s);
  REQUIRE(world.may_take_over());
  SECTION("another timeline") { ++world.log.log.timeline; }
  SECTION("another system identifier") { world.log.log.system_identifier = "7000000000000000002"; }
  world.round();
  CHECK_FALSE(world.may_take_over());
  world.watch(4500ms);
  CHECK_FALSE(world.may_take_over());
}

TEST_CASE("a log that can be read and not written gives no rounds, so it proves nothing") {
  World world;
  world.round();
  world.watch(3s);
  world.now += 4s;  // renewals fail; nothing is told to the judge
  CHECK_FALSE(world.may_take_over());
  world.round();
  CHECK_FALSE(world.may_take_over());
}

TEST_CASE("a renewal that was durable and not acknowledged is life when it is seen") {
  World world;
  world.round();
  world.watch(lease);
  ++world.other().renewals;  // its owner was told nothing
  world.round();
  CHECK_FALSE(world.may_take_over());
}

TEST_CASE("a lease given back may be taken over at once; taken again it may not (ABA)") {
  World world;
  world.round();
  ++world.other().renewals;
  world.other().ended = true;
  world.round();
  REQUIRE(world.may_take_over());
  const CoordinatorState given_back = world.leases.claims({"c1"}, world.now).at(0).seen;
  world.other().ended = false;  // it started again
  ++world.other().renewals;
  ++world.other().epoch;
  world.round();
  CHECK_FALSE(world.may_take_over());
  ++world.other().renewals;
  world.other().ended = true;
  world.round();
  REQUIRE(world.may_take_over());
  // What was seen the first time is not what stands there now, so the compare-and-set tells them
  // apart even if the log's clock was set back to the same microsecond.
  CHECK_FALSE(world.leases.claims({"c1"}, world.now).at(0).seen == given_back);
}

TEST_CASE("a take-over by somebody else counts as a change") {
  World world;
  world.round();
  world.watch(lease + 1s);
  REQUIRE(world.may_take_over());
  ++world.other().epoch;  // as an older adopter does it
  world.round();
  CHECK_FALSE(world.may_take_over());
}

TEST_CASE("a coordinator that states a longer lease than ours is watched for as long as that") {
  World world;
  world.other().lease_ms = 20'000;
  world.round();
  world.watch(19s);
  CHECK_FALSE(world.may_take_over());
  world.watch(2s);
  CHECK(world.may_take_over());
}

TEST_CASE("nobody is judged before the first round") {
  const Leases leases("c2", lease);
  CHECK(leases.claims({"c1"}, 1000s).empty());
  CHECK_FALSE(leases.alone());
  CHECK_FALSE(leases.log());
}
