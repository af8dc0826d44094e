// Degraded modes in the log: durable, one truth for all coordinators, and nothing but the two
// pairs.
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "log_support.hpp"

using namespace txcoord;
using namespace txcoord::test;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("mode_that_one_coordinator_sets_is_read_by_another_and_after_a_restart") {
  LogTest test;
  auto one = test.make_log();
  auto two = test.make_log();
  CHECK(await(test.io, two->degraded_modes()).value() == DegradedModes{});
  REQUIRE(await(test.io, one->set_degraded_mode("payment", "pay_later")).ok());
  CHECK(await(test.io, two->degraded_modes()).value() == DegradedModes{.pay_later = true});
  REQUIRE(await(test.io, two->set_degraded_mode("shipping", "ship_by_hand")).ok());
  one.reset();
  two.reset();
  auto later = test.make_log();
  CHECK(await(test.io, later->degraded_modes()).value() == DegradedModes{true, true});
}

TEST_CASE("mode_set_again_is_on_since_the_first_time_and_goes_back_to_normal") {
  LogTest test;
  auto log = test.make_log();
  REQUIRE(await(test.io, log->set_degraded_mode("payment", "pay_later")).ok());
  test.session()->exec_simple("UPDATE degraded_modes SET since = '2031-01-31 03:00+00'");
  REQUIRE(await(test.io, log->set_degraded_mode("payment", "pay_later")).ok());
  CHECK(test.count("degraded_modes WHERE since = '2031-01-31 03:00+00'") == 1);

  REQUIRE(await(test.io, log->set_degraded_mode("shipping", "ship_by_hand")).ok());
  REQUIRE(await(test.io, log->set_degraded_mode("payment", "")).ok());
  CHECK(await(test.io, log->degraded_modes()).value() == DegradedModes{.ship_by_hand = true});
  REQUIRE(await(test.io, log->set_degraded_mode("payment", "")).ok());  // it was normal
  CHECK(test.count("degraded_modes") == 1);
}

TEST_CASE("mode_that_is_not_the_participants_own_is_refused_by_the_database") {
  LogTest test;
  auto log = test.make_log();
  REQUIRE(await(test.io, log->set_degraded_mode("payment", "pay_later")).ok());
  for (const auto& [participant, mode] :
       {std::pair("payment", "ship_by_hand"), std::pair("shipping", "pay_later"),
        std::pair("order", "pay_later"), std::pair("shipping", "normal")}) {
    INFO(participant << " " << mode);
    const auto refused = await(test.io, log->set_degraded_mode(participant, mode));
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.failure().sqlstate == "23514");
  }
  CHECK_THROWS_WITH(test.session()->exec_simple("UPDATE degraded_modes SET mode = 'ship_by_hand'"),
                    ContainsSubstring("degraded_modes_check"));
  CHECK(await(test.io, log->degraded_modes()).value() == DegradedModes{.pay_later = true});
}
