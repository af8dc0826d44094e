// The crash points' specification; that they kill is shown by tests/e2e.
#include "txcoord/engine/crash_points.hpp"

#include <catch2/catch_test_macros.hpp>
#include <set>
#include <stdexcept>

using txcoord::engine::CrashPoints;

TEST_CASE("an unknown crash point or count is refused, with the command that lists them") {
  CHECK_THROWS_AS(CrashPoints("prepare"), std::invalid_argument);
  CHECK_THROWS_AS(CrashPoints("prepare.after:0"), std::invalid_argument);
  CHECK_THROWS_AS(CrashPoints("prepare.after:two"), std::invalid_argument);
  CHECK_THROWS_AS(CrashPoints("prepare.after:"), std::invalid_argument);
  CHECK_NOTHROW(CrashPoints("prepare.after:2"));
  CHECK_NOTHROW(CrashPoints(""));
}

TEST_CASE("crash points have names of their own and say what they mean") {
  std::set<std::string_view> names;
  for (const auto& point : CrashPoints::all()) {
    CHECK(names.insert(point.name).second);
    CHECK_FALSE(point.meaning.empty());
  }
  CHECK(names.size() >= 20);
}

TEST_CASE("an armed point lets every other point pass") {
  CrashPoints crash("decide.after:3");
  crash.reach("decide.before");
  crash.reach("decide.after");
  crash.reach("decide.after");
  crash.reach("commit", "order", "before");
  SUCCEED("still alive");
}
