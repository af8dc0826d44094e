// A session takes nothing from the role's or the database's defaults that changes what our
// statements mean.
#include "pg_support.hpp"
#include "txcoord/pg/preflight.hpp"
#include "txcoord/pg/session_parameters.hpp"

namespace {

using namespace txcoord;
using namespace txcoord::test;

const std::pair<const char*, const char*> hostile[] = {
    {"default_transaction_isolation", "'serializable'"},
    {"default_transaction_deferrable", "on"},
    {"row_security", "off"},
    {"standard_conforming_strings", "off"},
    {"search_path", "nowhere"},
    {"synchronous_commit", "off"},
    {"lock_timeout", "1"},
    {"statement_timeout", "1"},
    {"idle_session_timeout", "1"},
    {"idle_in_transaction_session_timeout", "1"},
    {"client_encoding", "'LATIN1'"},
    {"\"TimeZone\"", "'Asia/Tokyo'"},
    {"\"DateStyle\"", "'German'"},
    {"\"IntervalStyle\"", "'iso_8601'"},
    {"bytea_output", "'escape'"},
    {"array_nulls", "off"},
    {"transform_null_equals", "on"},
    {"jit", "on"},
    {"plan_cache_mode", "'force_generic_plan'"}};

std::string show(pg::Session& session, const std::string& name) {
  return session
      .exec_simple("SELECT setting FROM pg_settings WHERE lower(name) = lower('" + name + "')")
      .at(0)
      .at(0)
      .as<std::string>();
}

}  // namespace

TEST_CASE("defaults_of_the_database_change_nothing_for_a_session_of_ours") {
  FreshDatabase database("LOG");
  for (const auto& [name, value] : hostile)
    database.admin().exec_simple("ALTER DATABASE " + database.name() + " SET " + name + " = " +
                                 value);
  auto session = connect(database.dsn());
  for (const auto& [name, value] : pg::session_parameters(patient())) {
    CAPTURE(name);
    CHECK(show(*session, name).starts_with(value));
  }
  CHECK(show(*session, "search_path") == R"("$user",public)");
  CHECK(session->exec_simple("SHOW transaction_isolation").at(0).at(0).view() == "read committed");
  session->exec_simple("CREATE TABLE written (i int)");
}

TEST_CASE("the_search_path_of_the_dsn_holds_and_not_the_databases") {
  FreshDatabase database("LOG");
  connect(database.dsn())->exec_simple("CREATE SCHEMA mine");
  database.admin().exec_simple("ALTER DATABASE " + database.name() + " SET search_path = nowhere");
  auto session = connect(database.dsn() + " options='-c search_path=mine'");
  CHECK(session->exec_simple("SELECT current_schema()").at(0).at(0).view() == "mine");
}

TEST_CASE("a_default_that_only_an_administrator_may_override_is_refused_by_its_name") {
  FreshDatabase database("ORDER");
  database.admin().exec_simple("ALTER DATABASE " + database.name() +
                               " SET session_replication_role = replica");
  DatabaseSettings settings;
  settings.dsn = database.dsn();
  pg::PreflightReport report;
  pg::preflight(settings, "order", 24, report);
  REQUIRE_FALSE(report.refusals.empty());
  CHECK(report.refusals.front().find("session_replication_role is replica") != std::string::npos);
}
