// What a start refuses, and what it only says: a fault that passes is never final.
#include <catch2/catch_test_macros.hpp>

#include "tests/pg/service_database.hpp"
#include "txcoord/pg/preflight.hpp"

namespace txcoord {

TEST_CASE("preflight: a database without a connection left for its last question is a warning",
          "[preflight]") {
  test::FreshDatabase database("ORDER");
  pg::migrate(database.dsn(), "order");
  DatabaseSettings settings;
  settings.dsn = database.dsn();
  // Two sessions come first; the migrations are read by another one.
  for (const int connections : {0, 1, 2, 3}) {
    database.admin().exec_simple("ALTER DATABASE " + database.name() + " CONNECTION LIMIT " +
                                 std::to_string(connections));
    pg::PreflightReport report;
    pg::preflight(settings, "order", 24, report);
    CAPTURE(connections);
    CHECK(report.refusals.empty());
    CHECK(report.warnings.size() == (connections < 3 ? 1u : 0u));
  }
}

TEST_CASE("preflight: a database without its tables is refused, with what to do", "[preflight]") {
  test::FreshDatabase database("ORDER");
  DatabaseSettings settings;
  settings.dsn = database.dsn();
  pg::PreflightReport report;
  pg::preflight(settings, "order", 24, report);
  REQUIRE(report.refusals.size() == 1);
  CHECK(report.refusals.front().find("txcoord migrate") != std::string::npos);
}

}  // namespace txcoord
