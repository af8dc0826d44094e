// Several hosts and addresses in one connection string: a silent, a refusing and a read-only one
// are left for the next, within one time. And what of a failure is said.
#include "txcoord/pg/connect.hpp"

#include "fake_server.hpp"
#include "pg_support.hpp"
#include "txcoord/pg/classify.hpp"
#include "txcoord/pg/pool.hpp"

namespace {

using namespace txcoord;
using namespace txcoord::test;
using pg::ConnectFailure;
using pg::HostAddresses;
using pg::HostNames;
using pg::Session;

// "host" of a real server's DSN: the folder of its socket.
std::string socket_of(const std::string& dsn) { return parse_dsn(dsn)->at("host"); }

// First the fake, then the real server; `more` is put at the end.
std::string before(const FakeServer& fake, const std::string& dsn, const std::string& more = "") {
  return dsn + " host=127.0.0.1," + socket_of(dsn) + " port=" + fake.port() +
         ",5432 sslmode=disable gssencmode=disable " + more;
}

ConnectFailure failure_of(const std::string& dsn, std::chrono::milliseconds timeout = 2s,
                          HostNames* names = nullptr) {
  try {
    Session session(dsn, patient(), timeout, nullptr, names);
  } catch (const ConnectFailure& failure) {
    return failure;
  }
  throw std::runtime_error("it connected");
}

bool says(const ConnectFailure& failure, const std::string& text) {
  return std::string(failure.what()).find(text) != std::string::npos;
}

int answer(Session& session) { return session.exec_simple("SELECT 42").at(0).at(0).as<int>(); }

}  // namespace

TEST_CASE("a_silent_first_host_is_left_for_the_second") {
  const FakeServer silent = FakeServer::silent();
  const auto started = Clock::now();
  Session session(before(silent, server_dsn("LOG")), patient(), 2s);
  CHECK(answer(session) == 42);
  CHECK(silent.asked() == 1);
  CHECK(since(started) >= 990ms);  // its half of the time
  CHECK(since(started) < 1800ms);
}

TEST_CASE("connect_timeout_of_the_dsn_leaves_a_silent_host_sooner") {
  const FakeServer silent = FakeServer::silent();
  const auto started = Clock::now();
  Session session(before(silent, server_dsn("LOG"), "connect_timeout=1"), patient(), 10s);
  CHECK(answer(session) == 42);
  CHECK(since(started) < 2s);
}

TEST_CASE("a_standby_is_left_for_the_primary_that_the_dsn_asks_for") {
  const FakeServer standby = FakeServer::standby();
  const std::string dsn = before(standby, server_dsn("LOG"), "target_session_attrs=read-write");
  Session session(dsn, patient(), 5s);
  CHECK(answer(session) == 42);
  CHECK(standby.asked() == 1);
  const ConnectFailure alone =
      failure_of(standby.dsn() + std::string(" target_session_attrs=read-write"));
  CHECK(says(alone, "read-only"));
  CHECK_FALSE(alone.wrong_dsn());
}

TEST_CASE("prefer_standby_takes_a_primary_when_there_is_no_standby") {
  const std::string dsn = server_dsn("LOG") + " target_session_attrs=prefer-standby";
  Session session(dsn, patient(), 5s);
  CHECK(answer(session) == 42);
}

TEST_CASE("a_refused_host_and_one_that_starts_are_left_and_one_that_refuses_the_role_is_not") {
  const std::string dsn = server_dsn("LOG");
  const FakeServer starting = FakeServer::refusing("57P03", "the database system is starting up");
  Session after_start(before(starting, dsn), patient(), 5s);
  CHECK(answer(after_start) == 42);
  Session after_nobody(dsn + " host=/nowhere," + socket_of(dsn) + " port=1,5432", patient(), 5s);
  CHECK(answer(after_nobody) == 42);

  // As libpq does: the next one would say the same.
  const FakeServer strict = FakeServer::refusing("28P01", "no");
  const ConnectFailure refused = failure_of(before(strict, dsn));
  CHECK(refused.wrong_dsn());
  CHECK(refused.sqlstate() == "28P01");
}

TEST_CASE("of_a_name_with_two_addresses_the_silent_one_is_left") {
  const FakeServer silent = FakeServer::silent();
  // Nobody is at that port of the name's second address.
  HostNames names([](const std::string&) { return HostAddresses{{"127.0.0.1", "127.0.0.2"}, ""}; });
  const auto started = Clock::now();
  const ConnectFailure failure =
      failure_of("host=db.example port=" + silent.port() + FakeServer::plain, 1s, &names);
  CHECK(since(started) < 900ms);
  CHECK(says(failure, "db.example:" + silent.port() + " (127.0.0.1): no answer in time"));
  CHECK(says(failure, "db.example:" + silent.port() + " (127.0.0.2): Connection refused"));
}

TEST_CASE("a_name_that_is_not_found_in_time_is_left_for_the_next_host") {
  // A lookup that takes longer than the test: it ends by itself, and nobody waits for it.
  const auto let_go = std::make_shared<std::atomic<bool>>(false);
  HostNames names([let_go](const std::string&) {
    while (!let_go->load()) std::this_thread::sleep_for(5ms);
    return HostAddresses{{}, "gone"};
  });
  const std::string dsn = server_dsn("LOG");
  const auto started = Clock::now();
  Session session(dsn + " host=slow.example," + socket_of(dsn) + " port=5432", patient(), 1s,
                  nullptr, &names);
  CHECK(answer(session) == 42);
  CHECK(since(started) < 900ms);
  let_go->store(true);
}

TEST_CASE("a_pools_caller_is_served_within_its_time_though_the_first_host_is_silent") {
  const FakeServer silent = FakeServer::silent();
  pg::PoolSettings settings;
  settings.name = "test";
  settings.dsn = before(silent, server_dsn("LOG"));
  settings.connect_timeout = 10s;
  boost::asio::io_context io;
  pg::Pool pool(io.get_executor(), settings);
  // Shorter than the pool's own time: the hosts share what the caller has.
  const auto served = await(io, pool.run(answer, 1s));
  REQUIRE(served.ok());
  CHECK(served.value() == 42);
}

TEST_CASE("lists_of_different_lengths_are_the_dsns_fault") {
  const ConnectFailure failure = failure_of("host=a,b port=1,2,3 dbname=x user=x");
  CHECK(failure.wrong_dsn());
  CHECK(says(failure, "differ in length"));
  CHECK(failure_of("host=/nowhere sslmode=s3cret user=x").wrong_dsn());
  CHECK_FALSE(says(failure_of("host=/nowhere sslmode=s3cret user=x"), "s3cret"));
  CHECK_FALSE(failure_of("host=/nowhere dbname=x user=x").wrong_dsn());
}

TEST_CASE("what_a_server_says_to_a_refused_session_is_not_repeated") {
  struct Case {
    const char *sqlstate, *ours;
    bool wrong;
  };
  for (const Case& one : {Case{"28P01", "refuses the role's password", true},
                          {"28000", "does not let this role in", true},
                          {"3D000", "no such database", true},
                          {"53300", "no connection left", false},
                          {"57P03", "starting, or shutting down", false},
                          {"XX000", "refuses the session", false}}) {
    const FakeServer server = FakeServer::refusing(one.sqlstate, "s3cret of \"Tanaka Taro\"");
    const ConnectFailure failure = failure_of(server.dsn());
    CAPTURE(failure.what());
    CHECK(says(failure, one.ours));
    CHECK(says(failure, one.sqlstate));
    CHECK_FALSE(says(failure, "s3cret"));
    CHECK_FALSE(says(failure, "Tanaka"));
    CHECK(failure.sqlstate() == one.sqlstate);
    CHECK(failure.wrong_dsn() == one.wrong);
    const Failure classified = pg::classify(std::make_exception_ptr(failure));
    CHECK(classified.kind == FailureKind::unavailable);
    CHECK(classified.sqlstate == one.sqlstate);
    CHECK_FALSE(classified.outcome_unknown);
  }
  const FakeServer pooler = FakeServer::refusing("08P01", "unsupported startup parameter: options");
  CHECK(says(failure_of(pooler.dsn()), "unsupported startup parameter"));
}

TEST_CASE("a_password_in_the_wrong_place_is_not_repeated_when_the_connect_fails") {
  // The @ of the password ends it: the rest is taken for the host's name.
  HostNames names([](const std::string&) { return HostAddresses{{}, "no such name"}; });
  const ConnectFailure failure =
      failure_of("postgresql://txcoord:p@sS3cr3t@localhost/x", 1s, &names);
  CHECK_FALSE(says(failure, "S3cr3t"));
  CHECK(says(failure, "its name is not found: no such name"));
}
