// The bound on a warning that comes again and again.
#include "txcoord/base/repeats.hpp"

#include <catch2/catch_test_macros.hpp>
#include <string>

namespace txcoord::logging {
namespace {

using namespace std::chrono_literals;

TEST_CASE("a warning that each of a thousand tries a second gives is shown once a second") {
  Repeats repeats;
  Repeats::Time now{};
  std::uint64_t shown = 0, told = 0;
  for (int tries = 0; tries < 60000; ++tries, now += 1ms) {
    const auto admitted = repeats.admit("a saga step failed", now);
    if (!admitted) continue;
    ++shown;
    told += *admitted;
  }
  CHECK(shown >= 60);
  CHECK(shown <= 81);
  now += 1s;
  told += repeats.admit("a saga step failed", now).value();
  CHECK(shown + 1 + told == 60001);
}

TEST_CASE("one warning that repeats hides no other one") {
  Repeats repeats;
  for (int i = 0; i < 1000; ++i) repeats.admit("a saga step failed", {});
  CHECK(repeats.admit("database is away", {}) == 0);
}

TEST_CASE("warnings beyond those that are remembered are shown") {
  Repeats repeats;
  for (std::size_t i = 0; i < Repeats::messages_max; ++i) repeats.admit(std::to_string(i), {});
  for (int i = 0; i < 100; ++i) CHECK(repeats.admit("another", {}) == 0);
}

}  // namespace
}  // namespace txcoord::logging
