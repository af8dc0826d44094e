// The pool of blocking sessions: deadlines from outside, reconnection, bounds, leases.
#include "txcoord/pg/pool.hpp"

#include "pg_support.hpp"

namespace {

using namespace txcoord;
using namespace txcoord::test;
using pg::Session;

pg::PoolSettings settings_for(const std::string& dsn, std::size_t connections) {
  pg::PoolSettings settings;
  settings.name = "test";
  settings.dsn = dsn;
  settings.connections_max = connections;
  return settings;
}

const auto backend_pid = [](Session& session) {  // asks the server: a round trip
  return session.exec_simple("SELECT pg_backend_pid()").at(0).at(0).as<int>();
};
const auto sleep_1_s = [](Session& session) {
  session.exec_simple("SELECT pg_sleep(1)");
  return Done{};
};
const auto open_transaction = [](Session& session) {
  session.exec_simple("BEGIN; CREATE TABLE left_open (i int)");
  return session.backend_pid();
};

// boost::asio::io_context first: the pool goes before it.
struct PoolTest {
  explicit PoolTest(const std::string& dsn, std::size_t connections = 1)
      : pool(io.get_executor(), settings_for(dsn, connections)) {}
  explicit PoolTest(pg::PoolSettings settings) : pool(io.get_executor(), std::move(settings)) {}
  boost::asio::io_context io;
  pg::Pool pool;
};

}  // namespace

TEST_CASE("frozen_backend_is_cut_at_the_deadline_and_its_worker_comes_back") {
  FreshDatabase database("LOG");
  PoolTest test(database.dsn());
  const int pid = await(test.io, test.pool.run(backend_pid, 5s)).value();

  Frozen frozen(pid);
  const auto started = Clock::now();
  const auto cut = await(test.io, test.pool.run(backend_pid, 200ms));
  REQUIRE_FALSE(cut.ok());
  CHECK(cut.failure().kind == FailureKind::timeout);
  CHECK(cut.failure().outcome_unknown);
  CHECK(since(started) < 1s);

  // One worker, and its backend is still frozen: a new connection serves at once.
  const auto next = await(test.io, test.pool.run(backend_pid, 1s));
  REQUIRE(next.ok());
  CHECK(next.value() != pid);
  CHECK(test.pool.sessions_in_use() == 0);
}

TEST_CASE("session_that_the_server_closed_while_idle_is_replaced_before_anything_is_sent") {
  FreshDatabase database("LOG");
  PoolTest test(database.dsn());
  const int pid = await(test.io, test.pool.run(backend_pid, 5s)).value();
  database.terminate(pid);
  const auto next = await(test.io, test.pool.run(backend_pid, 5s));
  REQUIRE(next.ok());
  CHECK(next.value() != pid);
}

TEST_CASE("server_that_is_not_there_fails_at_once_and_is_reached_once_it_is") {
  FreshDatabase database("LOG");
  PoolTest absent("host=/nowhere/at/all dbname=x user=txcoord");
  const auto started = Clock::now();
  const auto refused = await(absent.io, absent.pool.run(backend_pid, 5s));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().kind == FailureKind::unavailable);
  CHECK_FALSE(refused.failure().outcome_unknown);
  CHECK(since(started) < 1s);

  // No penalty after a failure: the next use connects.
  PoolTest test(database.dsn() + " dbname=comes_later_" + database.name());
  CHECK_FALSE(await(test.io, test.pool.run(backend_pid, 5s)).ok());
  database.admin().exec_simple("CREATE DATABASE comes_later_" + database.name());
  CHECK(await(test.io, test.pool.run(backend_pid, 5s)).ok());
  database.admin().exec_simple("DROP DATABASE comes_later_" + database.name() + " WITH (FORCE)");
}

TEST_CASE("frozen_server_ends_a_connect_in_time_and_the_work_never_begins") {
  const std::string dsn = server_dsn("SHIPPING");
  pg::PoolSettings settings = settings_for(dsn, 1);
  settings.connect_timeout = 10s;
  PoolTest test(settings);
  auto witness = connect(dsn);
  Frozen postmaster(parent_of(witness->backend_pid()));

  auto begun = std::make_shared<std::atomic<bool>>(false);
  const auto work = [begun](Session&) {
    begun->store(true);
    return Done{};
  };
  const auto started = Clock::now();
  const auto late = await(test.io, test.pool.run(work, 200ms));
  REQUIRE_FALSE(late.ok());
  // Connecting has the caller's time: either of the two clocks may end it.
  const FailureKind kind = late.failure().kind;
  CHECK((kind == FailureKind::timeout || kind == FailureKind::unavailable));
  CHECK_FALSE(late.failure().outcome_unknown);
  CHECK(since(started) < 1s);

  // A session of its own holds its connect timeout to the millisecond.
  const auto connecting = Clock::now();
  CHECK_THROWS_AS(Session(dsn, patient(), 300ms), pg::ConnectFailure);
  CHECK(since(connecting) >= 290ms);
  CHECK(since(connecting) < 1s);

  postmaster.thaw();
  CHECK(await(test.io, test.pool.run(backend_pid, 5s)).ok());
  CHECK_FALSE(begun->load());
}

TEST_CASE("waiters_are_served_in_order_and_bounded") {
  FreshDatabase database("LOG");
  pg::PoolSettings settings = settings_for(database.dsn(), 1);
  settings.waiters_max = 2;
  PoolTest test(settings);
  auto held = await(test.io, test.pool.acquire(1s));
  REQUIRE(held.ok());

  auto first = start(test.io, test.pool.acquire(10s));
  auto second = start(test.io, test.pool.acquire(10s));
  drive(test.io, 10ms);
  const auto third = await(test.io, test.pool.acquire(10s));
  REQUIRE_FALSE(third.ok());
  CHECK(third.failure().kind == FailureKind::unavailable);
  CHECK_FALSE(third.failure().outcome_unknown);

  held = Failure{};
  drive(test.io, 20ms);
  CHECK(first->done());
  CHECK_FALSE(second->done());
  first->result.reset();
  drive(test.io, 20ms);
  REQUIRE(second->done());
  CHECK(second->result->ok());
}

TEST_CASE("database_without_a_connection_left_is_worked_with_by_those_that_are_open") {
  FreshDatabase database("LOG");
  database.admin().exec_simple("ALTER DATABASE " + database.name() + " CONNECTION LIMIT 1");
  PoolTest test(database.dsn(), 4);
  auto held = await(test.io, test.pool.acquire(1s));
  const int pid = await(test.io, held.value().run(backend_pid, 5s)).value();

  // One refusal is no pattern yet: the second begins the pause.
  for (int refused = 0; refused < 2; ++refused) {
    const auto full = await(test.io, test.pool.run(backend_pid, 5s));
    REQUIRE_FALSE(full.ok());
    CHECK(full.failure().sqlstate == "53300");
  }
  // That the open session works does not end the pause.
  REQUIRE(await(test.io, held.value().run(backend_pid, 5s)).ok());
  auto waits = start(test.io, test.pool.run(backend_pid, 5s));
  drive(test.io, 10ms);
  CHECK_FALSE(waits->done());
  held = Failure{};
  drive(test.io, 50ms);
  REQUIRE(waits->done());
  CHECK(waits->result->value() == pid);
}

TEST_CASE("waiter_gives_up_at_its_time_limit_and_is_forgotten") {
  FreshDatabase database("LOG");
  PoolTest test(database.dsn());
  auto held = await(test.io, test.pool.acquire(1s));
  const auto late = await(test.io, test.pool.run(backend_pid, 50ms));
  REQUIRE_FALSE(late.ok());
  CHECK(late.failure().kind == FailureKind::timeout);
  CHECK_FALSE(late.failure().outcome_unknown);
  held = Failure{};
  CHECK(test.pool.sessions_in_use() == 0);
  CHECK(await(test.io, test.pool.run(backend_pid, 5s)).ok());
}

TEST_CASE("lease_given_back_with_a_transaction_open_closes_its_session") {
  FreshDatabase database("LOG");
  PoolTest test(database.dsn());
  int pid = 0;
  {
    auto lease = await(test.io, test.pool.acquire(1s));
    pid = await(test.io, lease.value().run(open_transaction, 5s)).value();
  }
  const auto next = await(test.io, test.pool.run(backend_pid, 5s));
  REQUIRE(next.ok());
  CHECK(next.value() != pid);
  const auto end = Clock::now() + 5s;
  while (database.alive(pid) && Clock::now() < end) std::this_thread::sleep_for(5ms);
  CHECK_FALSE(database.alive(pid));
  CHECK(connect(database.dsn())
            ->exec_simple("SELECT to_regclass('left_open')")
            .at(0)
            .at(0)
            .is_null());
}

TEST_CASE("lease_that_lost_its_session_never_goes_on_in_another") {
  FreshDatabase database("LOG");
  PoolTest test(database.dsn());
  auto lease = await(test.io, test.pool.acquire(1s));
  const int pid = await(test.io, lease.value().run(open_transaction, 5s)).value();
  database.terminate(pid);

  const auto statement = [](Session& session) {
    session.exec_simple("CREATE TABLE outside_its_transaction (i int)");
    return Done{};
  };
  const auto broken = await(test.io, lease.value().run(statement, 5s));
  REQUIRE_FALSE(broken.ok());
  CHECK(broken.failure().kind == FailureKind::unavailable);
  const auto again = await(test.io, lease.value().run(statement, 5s));
  REQUIRE_FALSE(again.ok());
  CHECK(again.failure().kind == FailureKind::unavailable);
  CHECK_FALSE(again.failure().outcome_unknown);  // nothing was sent
  CHECK(connect(database.dsn())
            ->exec_simple("SELECT to_regclass('outside_its_transaction')")
            .at(0)
            .at(0)
            .is_null());

  lease = Failure{};
  CHECK(await(test.io, test.pool.run(backend_pid, 5s)).ok());
}

TEST_CASE("lease_cut_at_its_deadline_refuses_more_and_is_given_back_when_the_call_ends") {
  FreshDatabase database("LOG");
  PoolTest test(database.dsn());
  auto lease = await(test.io, test.pool.acquire(1s));
  const auto cut = await(test.io, lease.value().run(sleep_1_s, 100ms));
  REQUIRE_FALSE(cut.ok());
  CHECK(cut.failure().outcome_unknown);
  const auto more = await(test.io, lease.value().run(backend_pid, 1s));
  REQUIRE_FALSE(more.ok());
  CHECK(more.failure().kind == FailureKind::unavailable);
  CHECK_FALSE(more.failure().outcome_unknown);
  lease = Failure{};
  CHECK(await(test.io, test.pool.run(backend_pid, 5s)).ok());
}

TEST_CASE("backend_terminated_during_a_statement_leaves_the_outcome_unknown") {
  FreshDatabase database("LOG");
  PoolTest test(database.dsn());
  auto sleeping = start(test.io, test.pool.run(sleep_1_s, 5s));
  drive(test.io, 50ms);
  database.terminate(database.wait_for("wait_event = 'PgSleep'"));
  const auto result = finish(test.io, sleeping);
  REQUIRE_FALSE(result.ok());
  CHECK(result.failure().kind == FailureKind::unavailable);
  CHECK(result.failure().outcome_unknown);
}

TEST_CASE("call_cut_in_a_lock_wait_ends_its_backend_before_that_gets_the_lock") {
  FreshDatabase database("LOG");
  auto holder = connect(database.dsn());
  holder->exec_simple("CREATE TABLE t (i int)");
  holder->exec_simple("BEGIN; LOCK TABLE t");
  pg::PoolSettings settings = settings_for(database.dsn(), 1);
  settings.session.lock_timeout = settings.session.statement_timeout = 20s;
  settings.session.client_connection_check_interval = 100ms;
  PoolTest test(settings);
  const auto insert = [](Session& session) {
    session.exec_simple("INSERT INTO t VALUES (1)");
    return Done{};
  };
  auto waiting = start(test.io, test.pool.run(insert, 300ms));
  drive(test.io, 100ms);
  const int pid = database.wait_for("wait_event_type = 'Lock'");
  CHECK(finish(test.io, waiting).failure().outcome_unknown);
  const auto end = Clock::now() + 5s;
  while (database.alive(pid) && Clock::now() < end) std::this_thread::sleep_for(5ms);
  CHECK_FALSE(database.alive(pid));
  holder->exec_simple("COMMIT");
  CHECK(holder->exec_simple("SELECT * FROM t").empty());
}

TEST_CASE("pool_destroyed_while_a_statement_runs_cuts_it") {
  FreshDatabase database("LOG");
  boost::asio::io_context io;
  auto pool = std::make_unique<pg::Pool>(io.get_executor(), settings_for(database.dsn(), 1));
  const auto sleep_long = [](Session& session) {
    session.exec_simple("SELECT pg_sleep(20)");
    return Done{};
  };
  auto sleeping = start(io, pool->run(sleep_long, 30s));
  drive(io, 50ms);
  database.wait_for("wait_event = 'PgSleep'");
  const auto started = Clock::now();
  pool.reset();
  const auto result = finish(io, sleeping);
  CHECK(since(started) < 2s);
  CHECK_FALSE(result.ok());
}

TEST_CASE("session_carries_its_limits_and_flushes_whatever_its_database_says") {
  FreshDatabase database("LOG");
  database.admin().exec_simple("ALTER DATABASE " + database.name() +
                               " SET synchronous_commit = off");
  pg::SessionSettings settings;
  settings.lock_timeout = 1234ms;
  settings.idle_in_transaction_timeout = 4321ms;
  Session session(database.dsn(), settings, 2s);
  const auto show = [&](const std::string& name) {
    return session.exec_simple("SHOW " + name).at(0).at(0).as<std::string>();
  };
  CHECK(show("lock_timeout") == "1234ms");
  CHECK(show("statement_timeout") == "5s");
  CHECK(show("idle_in_transaction_session_timeout") == "4321ms");
  CHECK(show("client_connection_check_interval") == "1s");
  CHECK(show("synchronous_commit") == "on");
  CHECK(show("plan_cache_mode") == "force_custom_plan");
  CHECK(show("jit") == "off");
  CHECK(show("TimeZone") == "UTC");
}

TEST_CASE("two_statements_under_one_name_are_refused_not_mixed_up") {
  Session session(server_dsn("LOG"), patient(), 2s);
  constexpr pg::Statement one{"same_name", "SELECT 1"};
  constexpr pg::Statement two{"same_name", "SELECT 2"};
  CHECK(session.exec(one).at(0).at(0).as<int>() == 1);
  CHECK_THROWS_AS(session.exec(two), pqxx::usage_error);
}
