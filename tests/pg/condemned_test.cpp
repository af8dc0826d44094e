// Errors that condemn the session they come from: the next try gets a new one, not the next
// restart.
#include "txcoord/pg/condemned.hpp"

#include "pg_support.hpp"
#include "txcoord/pg/pool.hpp"

namespace {

using namespace txcoord;
using namespace txcoord::test;
using pg::Condemned;
using pg::Session;
using pg::Statement;

struct CondemnedTest {
  explicit CondemnedTest(const std::string& dsn, std::size_t connections = 2)
      : pool(io.get_executor(), settings(dsn, connections)) {}

  static pg::PoolSettings settings(const std::string& dsn, std::size_t connections) {
    pg::PoolSettings made;
    made.name = "test";
    made.dsn = dsn;
    made.connections_max = connections;
    return made;
  }
  template <class F>
  auto run(F work) {
    return await(io, pool.run(work, 5s));
  }

  boost::asio::io_context io;
  pg::Pool pool;
};

constexpr Statement read_all{"condemned_read_all", "SELECT * FROM t"};
const auto read_table = [](Session& session) { return session.exec(read_all).size(); };
const auto pid = [](Session& session) { return session.backend_pid(); };
// Both sessions of the pool do `work`, one beside the other.
template <class F>
void on_both(CondemnedTest& test, F work) {
  auto one = await(test.io, test.pool.acquire(5s)).value();
  auto two = await(test.io, test.pool.acquire(5s)).value();
  REQUIRE(await(test.io, one.run(work, 5s)).ok());
  REQUIRE(await(test.io, two.run(work, 5s)).ok());
}

}  // namespace

TEST_CASE("a_stale_plan_fails_once_and_every_session_of_the_pool_is_replaced") {
  FreshDatabase database("LOG");
  auto owner = connect(database.dsn());
  owner->exec_simple("CREATE TABLE t (i int); INSERT INTO t VALUES (1)");
  CondemnedTest test(database.dsn());
  on_both(test, read_table);
  owner->exec_simple("ALTER TABLE t ALTER COLUMN i TYPE text");
  const auto stale = test.run(read_table);
  REQUIRE_FALSE(stale.ok());
  CHECK(stale.failure().sqlstate == "0A000");
  CHECK_FALSE(stale.failure().outcome_unknown);
  on_both(test, read_table);
}

TEST_CASE("a_session_that_was_opened_read_only_is_replaced_once_it_says_so") {
  FreshDatabase database("LOG");
  auto owner = connect(database.dsn());
  owner->exec_simple("CREATE TABLE t (i int)");
  CondemnedTest test(database.dsn());
  on_both(test, [](Session& session) {
    session.exec_simple("SET default_transaction_read_only = on");
    return Done{};
  });
  const auto write = [](Session& session) {
    session.exec_simple("INSERT INTO t VALUES (1)");
    return Done{};
  };
  const auto refused = test.run(write);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().sqlstate == "25006");
  on_both(test, write);
}

TEST_CASE("a_session_whose_prepared_statements_are_gone_is_replaced") {
  FreshDatabase database("LOG");
  connect(database.dsn())->exec_simple("CREATE TABLE t (i int)");
  CondemnedTest test(database.dsn(), 1);
  REQUIRE(test.run(read_table).ok());
  REQUIRE(test.run([](Session& session) {
                session.exec_simple("DISCARD ALL");
                return Done{};
              })
              .ok());
  CHECK(test.run(read_table).failure().sqlstate == "26000");
  CHECK(test.run(read_table).ok());
}

TEST_CASE("a_table_that_a_session_does_not_find_is_looked_for_by_a_new_one") {
  FreshDatabase database("LOG");
  auto owner = connect(database.dsn());
  owner->exec_simple("CREATE TABLE t (i int)");
  CondemnedTest test(database.dsn(), 1);
  REQUIRE(test.run([](Session& session) {
                session.exec_simple("SET search_path = nowhere");
                return Done{};
              })
              .ok());
  CHECK(test.run(read_table).failure().sqlstate == "42P01");
  CHECK(test.run(read_table).ok());
}

TEST_CASE("a_failed_transaction_that_goes_on_condemns_its_session_alone") {
  FreshDatabase database("LOG");
  CondemnedTest test(database.dsn(), 1);
  const int before = test.run(pid).value();
  const auto failed = test.run([](Session& session) {
    try {
      session.exec_simple("BEGIN; SELECT 1/0");
    } catch (const pqxx::sql_error&) {  // and goes on as if nothing were wrong
    }
    session.exec_simple("SELECT 1");
    return Done{};
  });
  CHECK(failed.failure().sqlstate == "25P02");
  CHECK(test.run(pid).value() != before);
  CHECK(pg::condemned_by("25P02") == Condemned::session);
  CHECK(pg::condemned_by("0A000") == Condemned::pool);
}

TEST_CASE("errors_of_the_work_keep_the_session") {
  FreshDatabase database("LOG");
  CondemnedTest test(database.dsn(), 1);
  const int before = test.run(pid).value();
  for (const char* sql : {"SELECT 1/0", "SELECT 'x'::int", "COMMIT PREPARED 'txc_none'",
                          "SET statement_timeout = 20; SELECT pg_sleep(1)"}) {
    CAPTURE(sql);
    CHECK_FALSE(test.run([sql](Session& session) {
                      session.exec_simple(sql);
                      return Done{};
                    })
                    .ok());
    CHECK(test.run(pid).value() == before);
  }
  for (const char* everyday : {"40P01", "40001", "55P03", "57014", "42704", "55000", "23505", ""})
    CHECK(pg::condemned_by(everyday) == Condemned::nothing);
}
