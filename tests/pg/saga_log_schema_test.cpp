// The migration that brings sagas to a log that is in use: old keys stay, old and new periods take
// pending ones.
#include <algorithm>

#include "saga_log_support.hpp"

using namespace txcoord;
using namespace txcoord::test;

TEST_CASE("log_in_use_is_migrated_and_its_old_and_new_key_periods_take_pending_outcomes") {
  FreshDatabase database("LOG");
  const auto files = pg::embedded_schemas();
  const auto first = std::ranges::find(files, std::string_view("0001_log"), &pg::SchemaFile::name);
  REQUIRE(first != files.end());
  pg::migrate(database.dsn(), "log", std::array{*first});
  auto session = connect(database.dsn());
  const auto insert = [&](int period, const std::string& key, const std::string& outcome) {
    session->exec_simple(
        "INSERT INTO operations (period, scope, idempotency_key, fingerprint, kind, outcome,"
        " order_id, gid) VALUES (" +
        std::to_string(period) + ", 's', '" + key + "', sha256('x'), 'place', '" + outcome +
        "', gen_random_uuid(), 'g')");
  };
  insert(1, "old", "confirmed");
  CHECK_THROWS(insert(1, "early", "pending"));

  pg::migrate(database.dsn(), "log");
  CHECK(session
            ->exec_simple("SELECT string_agg(idempotency_key || ' ' || outcome || ' ' || accepted,"
                          " ', ') FROM operations")
            .at(0)
            .at(0)
            .as<std::string>() == "old confirmed false");
  insert(1, "pending in the old period", "pending");
  session->exec_simple("SELECT txc_add_key_period(2)");
  insert(2, "pending in a new one", "pending");
  for (const int period : {1, 2}) {
    CHECK_THROWS(insert(period, "nonsense", "perhaps"));
    // One check of it, not the old one beside the new one.
    CHECK(session
              ->exec_simple("SELECT count(*) FROM pg_constraint WHERE contype = 'c' AND conrelid ="
                            " 'operations_" +
                            std::to_string(period) +
                            "'::regclass AND pg_get_constraintdef(oid) LIKE '%outcome%'")
              .at(0)
              .at(0)
              .as<int>() == 1);
  }
}
