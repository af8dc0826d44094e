// What real errors of a real server become.
#include "txcoord/pg/classify.hpp"

#include <thread>

#include "pg_support.hpp"

namespace {

using namespace txcoord;
using namespace txcoord::test;
using pg::Session;

template <class F>
Failure failure_of(F work) {
  try {
    work();
  } catch (...) {
    return pg::classify(std::current_exception());
  }
  FAIL("nothing was thrown");
  return {};
}

Failure failure_of(Session& session, const std::string& sql) {
  return failure_of([&] { session.exec_simple(sql); });
}

void check(const Failure& failure, FailureKind kind, const std::string& sqlstate) {
  CHECK(to_string(failure.kind) == to_string(kind));
  CHECK(failure.sqlstate == sqlstate);
  CHECK_FALSE(failure.outcome_unknown);
}

}  // namespace

TEST_CASE("refused_value_is_poison_and_its_message_does_not_quote_it") {
  auto session = connect(server_dsn("LOG"));
  const Failure bad = failure_of(*session, "SELECT 'Tanaka Taro'::integer");
  check(bad, FailureKind::poison, "22P02");
  CHECK(bad.message.find("Tanaka") == std::string::npos);
  CHECK(bad.message.find("invalid input syntax") != std::string::npos);
  check(failure_of(*session, "SELECT 1/0"), FailureKind::poison, "22012");
}

TEST_CASE("broken_constraint_is_poison_and_its_message_does_not_quote_the_row") {
  auto session = connect(server_dsn("LOG"));
  session->exec_simple(
      "CREATE TEMP TABLE people (name text PRIMARY KEY CHECK (name <> 'x'));"
      "INSERT INTO people VALUES ('Tanaka Taro')");
  const Failure twice = failure_of(*session, "INSERT INTO people VALUES ('Tanaka Taro')");
  check(twice, FailureKind::poison, "23505");
  CHECK(twice.message.find("Tanaka") == std::string::npos);
  check(failure_of(*session, "INSERT INTO people VALUES ('x')"), FailureKind::poison, "23514");
}

TEST_CASE("lock_and_statement_timeouts_are_told_apart") {
  FreshDatabase database("LOG");
  auto owner = connect(database.dsn());
  owner->exec_simple("CREATE TABLE t (i int)");
  owner->exec_simple("BEGIN; LOCK TABLE t");
  auto other = connect(database.dsn());
  check(failure_of(*other, "SET lock_timeout = 50; SELECT * FROM t"), FailureKind::lock_timeout,
        "55P03");
  check(failure_of(*other, "SET lock_timeout = 0; SET statement_timeout = 50; SELECT * FROM t"),
        FailureKind::timeout, "57014");
}

TEST_CASE("deadlock_is_a_deadlock_for_one_of_the_two") {
  FreshDatabase database("LOG");
  auto one = connect(database.dsn());
  auto two = connect(database.dsn());
  one->exec_simple("CREATE TABLE a (i int); CREATE TABLE b (i int)");
  one->exec_simple("BEGIN; LOCK TABLE a");
  two->exec_simple("BEGIN; LOCK TABLE b");
  std::optional<Failure> first;
  std::thread other([&] {
    try {
      one->exec_simple("LOCK TABLE b");
    } catch (...) {
      first = pg::classify(std::current_exception());
    }
  });
  database.wait_until_blocked(one->backend_pid());
  std::optional<Failure> second;
  try {
    two->exec_simple("LOCK TABLE a");
  } catch (...) {
    second = pg::classify(std::current_exception());
  }
  two->exec_simple("ROLLBACK");
  other.join();
  REQUIRE(first.has_value() != second.has_value());
  check(first ? *first : *second, FailureKind::deadlock, "40P01");
}

TEST_CASE("unknown_prepared_transaction_is_not_found_and_nothing_more") {
  auto session = connect(server_dsn("LOG"));
  check(failure_of(*session, "COMMIT PREPARED 'txc_no_such_gid'"), FailureKind::not_found, "42704");
}

TEST_CASE("prepared_transaction_that_another_session_finishes_is_busy") {
  // 55000 of COMMIT PREPARED needs two sessions within microseconds; the code is the same here.
  auto session = connect(server_dsn("LOG"));
  session->exec_simple("CREATE TEMP SEQUENCE s");
  check(failure_of(*session, "SELECT currval('s')"), FailureKind::busy, "55000");
}

TEST_CASE("standby_or_read_only_server_is_unavailable") {
  auto session = connect(server_dsn("LOG"));
  session->exec_simple("SET default_transaction_read_only = on");
  check(failure_of(*session, "CREATE TABLE t (i int)"), FailureKind::unavailable, "25006");
}

TEST_CASE("misconfiguration_is_an_error") {
  auto session = connect(server_dsn("LOG"));
  check(failure_of(*session, "SELECT * FROM pg_authid"), FailureKind::error, "42501");
  check(failure_of(*session, "SELEKT 1"), FailureKind::error, "42601");
  check(failure_of(*session, "SELECT * FROM no_such_table"), FailureKind::error, "42P01");
  CHECK_THROWS(session->exec_simple("BEGIN; SELEKT 1"));
  session->exec_simple("ROLLBACK");
}

TEST_CASE("server_that_refuses_the_session_is_unavailable_and_nothing_was_sent") {
  const std::string dsn = server_dsn("LOG");
  const Failure no_database = failure_of([&] { connect(dsn + " dbname=no_such_database"); });
  check(no_database, FailureKind::unavailable, "3D000");
  const Failure no_server = failure_of([&] { connect("host=/nowhere dbname=x user=x"); });
  check(no_server, FailureKind::unavailable, "");
  const Failure no_dsn = failure_of([&] { connect("password=secret host"); });
  check(no_dsn, FailureKind::unavailable, "");
  CHECK(no_dsn.message.find("secret") == std::string::npos);
}

TEST_CASE("session_that_was_terminated_leaves_the_outcome_of_its_statement_unknown") {
  FreshDatabase database("LOG");
  auto session = connect(database.dsn());
  database.terminate(session->backend_pid());
  const Failure lost = failure_of(*session, "SELECT 1");
  CHECK(lost.kind == FailureKind::unavailable);
  CHECK(lost.outcome_unknown);
  CHECK_FALSE(session->usable());
}

TEST_CASE("session_idle_in_its_transaction_for_too_long_is_unavailable") {
  FreshDatabase database("LOG");
  pg::SessionSettings settings;
  settings.idle_in_transaction_timeout = 50ms;
  Session session(database.dsn(), settings, 2s);
  session.exec_simple("BEGIN");
  database.wait_for("pid <> 0 AND true");  // alive at first
  const auto end = Clock::now() + 5s;
  while (database.alive(session.backend_pid()) && Clock::now() < end)
    std::this_thread::sleep_for(5ms);
  CHECK(failure_of(session, "COMMIT").kind == FailureKind::unavailable);
}

TEST_CASE("exception_that_is_not_the_servers_leaves_the_outcome_unknown") {
  const Failure defect = failure_of([] { throw std::runtime_error("a result was misread"); });
  CHECK(defect.kind == FailureKind::error);
  CHECK(defect.outcome_unknown);  // the statement before it may have done its work
}
