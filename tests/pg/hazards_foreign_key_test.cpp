// Hazard: a foreign key makes an insert wait for a parent row that the vote did not lock. Two
// databases in which that happens the other way round deadlock, and neither server sees the cycle.
// The answer: no service's schema has a foreign key.
#include <catch2/catch_test_macros.hpp>
#include <future>

#include "tests/pg/service_database.hpp"

namespace txcoord {
namespace {

using test::connect;

constexpr const char* scratch = R"(
  CREATE TABLE parent (id int PRIMARY KEY);
  CREATE TABLE child (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES parent);
  CREATE TABLE child_without_key (id int PRIMARY KEY, parent_id int NOT NULL);
  INSERT INTO parent VALUES (1))";

int backend_of(pg::Session& session) {
  return session.exec_simple("SELECT pg_backend_pid()")[0][0].as<int>();
}

TEST_CASE("insert_under_a_foreign_key_waits_for_a_parent_that_nobody_asked_to_lock", "[hazard]") {
  test::FreshDatabase database("INVENTORY");
  auto holder = connect(database.dsn());
  auto inserter = connect(database.dsn());
  holder->exec_simple(scratch);
  holder->exec_simple("BEGIN; SELECT FROM parent WHERE id = 1 FOR UPDATE");

  inserter->exec_simple(
      "BEGIN; INSERT INTO child_without_key VALUES (1, 1); COMMIT");  // waits for nobody
  const int pid = backend_of(*inserter);
  auto insert = std::async(std::launch::async,
                           [&] { inserter->exec_simple("INSERT INTO child VALUES (1, 1)"); });
  database.wait_until_blocked(pid);
  holder->exec_simple("ROLLBACK");
  CHECK_NOTHROW(insert.get());
}

TEST_CASE("foreign_keys_in_two_databases_make_a_cycle_that_no_server_sees", "[hazard]") {
  // Group 1 holds the parent here and inserts a child there, group 2 the other way round.
  test::FreshDatabase here("INVENTORY"), there("PAYMENT");
  auto one_here = connect(here.dsn()), one_there = connect(there.dsn());
  auto two_here = connect(here.dsn()), two_there = connect(there.dsn());
  one_here->exec_simple(scratch);
  one_there->exec_simple(scratch);
  one_here->exec_simple("BEGIN; SELECT FROM parent WHERE id = 1 FOR UPDATE");
  two_there->exec_simple("BEGIN; SELECT FROM parent WHERE id = 1 FOR UPDATE");
  one_there->exec_simple("BEGIN");
  two_here->exec_simple("BEGIN");
  const int waiter_there = backend_of(*one_there), waiter_here = backend_of(*two_here);
  auto first = std::async(std::launch::async,
                          [&] { one_there->exec_simple("INSERT INTO child VALUES (1, 1)"); });
  auto second = std::async(std::launch::async,
                           [&] { two_here->exec_simple("INSERT INTO child VALUES (1, 1)"); });
  there.wait_until_blocked(waiter_there);
  here.wait_until_blocked(waiter_here);
  // Well past deadlock_timeout (1 s) both still wait: each server sees one waiter and one idle
  // holder.
  CHECK(first.wait_for(std::chrono::milliseconds(1500)) == std::future_status::timeout);
  CHECK(second.wait_for(std::chrono::milliseconds(0)) == std::future_status::timeout);
  one_here->exec_simple("ROLLBACK");
  two_there->exec_simple("ROLLBACK");
  CHECK_NOTHROW(first.get());
  CHECK_NOTHROW(second.get());
}

TEST_CASE("no_service_schema_has_a_foreign_key", "[hazard]") {
  for (const char* service : {"order", "inventory", "payment", "shipping"}) {
    CAPTURE(service);
    test::ServiceDatabase database(service);
    CHECK(database.value("SELECT string_agg(conname, ' ') FROM pg_constraint WHERE contype = 'f'")
              .empty());
    CHECK(database.value("SELECT string_agg(tgname, ' ') FROM pg_trigger").empty());
  }
}

}  // namespace
}  // namespace txcoord
