// Migrations: once, in order, by one program at a time, and never over an edited file.
#include "txcoord/pg/migrate.hpp"

#include <array>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <functional>
#include <thread>

#include "pg_support.hpp"

namespace {

using namespace txcoord;
using namespace txcoord::test;
using Catch::Matchers::ContainsSubstring;
using Names = std::vector<std::string>;

constexpr pg::SchemaFile first{"shop", "0001_first", "CREATE TABLE one (i int)"};
constexpr pg::SchemaFile second{"shop", "0002_second", "ALTER TABLE one ADD COLUMN j int"};
constexpr pg::SchemaFile third{"shop", "0003_third", "CREATE TABLE three (i int)"};
constexpr pg::SchemaFile breaking{"shop", "0002_breaking",
                                  "-- Nobody needs it.\n-- breaking: programs up to 1.2 read it.\n"
                                  "DROP TABLE one"};
constexpr pg::SchemaFile other_database{"else", "0001_other", "CREATE TABLE other (i int)"};

}  // namespace

TEST_CASE("migrations_run_once_in_order_and_only_those_of_the_database") {
  FreshDatabase database("LOG");
  const std::array files{other_database, second, first};
  CHECK(pg::compare_schema(database.dsn(), "shop", files).pending ==
        Names{"0001_first", "0002_second"});
  CHECK(pg::migrate(database.dsn(), "shop", files) == Names{"0001_first", "0002_second"});
  CHECK(pg::migrate(database.dsn(), "shop", files).empty());
  CHECK(pg::compare_schema(database.dsn(), "shop", files).pending.empty());
  CHECK(connect(database.dsn())->exec_simple("SELECT to_regclass('other')").at(0).at(0).is_null());
}

TEST_CASE("later_program_applies_only_what_is_new") {
  FreshDatabase database("LOG");
  CHECK(pg::migrate(database.dsn(), "shop", std::array{first}) == Names{"0001_first"});
  CHECK(pg::migrate(database.dsn(), "shop", std::array{first, second}) == Names{"0002_second"});
}

TEST_CASE("eight_programs_migrating_at_once_apply_each_file_once") {
  FreshDatabase database("LOG");
  const std::array files{first, second};
  std::array<std::size_t, 8> applied{};
  std::vector<std::thread> programs;
  for (std::size_t& count : applied)
    programs.emplace_back([&] { count = pg::migrate(database.dsn(), "shop", files).size(); });
  for (std::thread& program : programs) program.join();
  std::size_t total = 0;
  for (const std::size_t count : applied) total += count;
  CHECK(total == 2);
}

TEST_CASE("file_edited_after_it_was_applied_is_refused") {
  FreshDatabase database("LOG");
  pg::migrate(database.dsn(), "shop", std::array{first});
  const std::array edited{pg::SchemaFile{"shop", "0001_first", "CREATE TABLE one (i bigint)"},
                          second};
  CHECK_THROWS_WITH(pg::migrate(database.dsn(), "shop", edited), ContainsSubstring("0001_first"));
  CHECK_THROWS(pg::compare_schema(database.dsn(), "shop", edited));
}

TEST_CASE("older_program_works_on_a_schema_to_which_a_newer_one_only_added") {
  FreshDatabase database("LOG");
  pg::migrate(database.dsn(), "shop", std::array{first, second});
  CHECK(pg::migrate(database.dsn(), "shop", std::array{first}).empty());
  const auto state = pg::compare_schema(database.dsn(), "shop", std::array{first});
  CHECK(state.pending.empty());
  CHECK(state.newer == Names{"0002_second"});
}

TEST_CASE("older_program_refuses_a_schema_that_a_newer_one_broke_and_the_newer_one_does_not") {
  FreshDatabase database("LOG");
  const std::array files{first, breaking};
  pg::migrate(database.dsn(), "shop", files);
  CHECK(pg::compare_schema(database.dsn(), "shop", files).newer.empty());
  for (const auto& refused :
       {std::function([&] { pg::migrate(database.dsn(), "shop", std::array{first}); }),
        std::function([&] { pg::compare_schema(database.dsn(), "shop", std::array{first}); })}) {
    CHECK_THROWS_WITH(refused(), ContainsSubstring("0002_breaking") &&
                                     ContainsSubstring("older programs cannot"));
  }
}

TEST_CASE("unknown_migration_of_a_program_that_knew_no_breaking_ones_is_refused") {
  FreshDatabase database("LOG");
  pg::migrate(database.dsn(), "shop", std::array{first, second});
  connect(database.dsn())->exec_simple("ALTER TABLE txc_migrations DROP COLUMN breaking");
  CHECK_THROWS_WITH(pg::compare_schema(database.dsn(), "shop", std::array{first}),
                    ContainsSubstring("newer program"));
  // What it does know is all right, and the next migration makes the column.
  CHECK(pg::compare_schema(database.dsn(), "shop", std::array{first, second}).pending.empty());
  CHECK(pg::migrate(database.dsn(), "shop", std::array{first, second, third}) ==
        Names{"0003_third"});
}

TEST_CASE("program_that_lacks_an_earlier_file_of_a_newer_one_is_refused") {
  FreshDatabase database("LOG");
  pg::migrate(database.dsn(), "shop", std::array{first, third});
  const pg::SchemaFile own{"shop", "0002_own", "CREATE TABLE own (i int)"};
  CHECK_THROWS_WITH(pg::migrate(database.dsn(), "shop", std::array{first, own}),
                    ContainsSubstring("0003_third"));
}

TEST_CASE("file_that_fails_leaves_nothing_and_is_named") {
  FreshDatabase database("LOG");
  const std::array files{
      first, pg::SchemaFile{"shop", "0002_bad", "CREATE TABLE two (i int); SELECT 1/0"}};
  CHECK_THROWS_WITH(pg::migrate(database.dsn(), "shop", files), ContainsSubstring("0002_bad"));
  CHECK(pg::compare_schema(database.dsn(), "shop", files).pending == Names{"0002_bad"});
  CHECK(connect(database.dsn())->exec_simple("SELECT to_regclass('two')").at(0).at(0).is_null());
  CHECK(pg::migrate(database.dsn(), "shop", std::array{first, second}) == Names{"0002_second"});
}

TEST_CASE("database_that_is_not_there_says_so_without_the_password") {
  const std::string dsn = server_dsn("LOG") + " dbname=no_such_database password=secret";
  CHECK_THROWS_WITH(pg::migrate(dsn, "log"),
                    ContainsSubstring("'log'") && !ContainsSubstring("secret"));
}

TEST_CASE("embedded_log_schema_applies_to_an_empty_database_and_makes_an_installation") {
  FreshDatabase database("LOG");
  CHECK_FALSE(pg::migrate(database.dsn(), "log").empty());
  CHECK(pg::migrate(database.dsn(), "log").empty());
  const auto found =
      connect(database.dsn())->exec_simple("SELECT installation FROM txc_installation");
  REQUIRE(found.size() == 1);
  CHECK(found.at(0).at(0).as<std::string>().size() == 8);
}
