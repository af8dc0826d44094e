// Hazard: a client is killed while its backend waits for a lock. The backend does not notice, gets
// the lock later, and prepares after the client is dead and after the sweep was told 42704.
// The answers: 42704 on abort means "not yet", so the sweep never stops; and
// client_connection_check_interval ends such a backend in its lock wait.
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <catch2/catch_test_macros.hpp>
#include <thread>
#include <vector>

#include "participants/inventory/inventory.hpp"
#include "tests/pg/branch_rig.hpp"
#include "tests/pg/shapes.hpp"

namespace txcoord {
namespace {

using test::await;
using namespace std::chrono_literals;

// psql as the client: one process that can be killed, one string that ends in PREPARE.
class PsqlClient {
 public:
  PsqlClient(const std::string& dsn, const std::string& sql) {
    const char* bin = std::getenv("TXC_TEST_PGBIN");
    if (bin == nullptr) SKIP("no PostgreSQL programs: run under run.d/with-pg.sh");
    std::vector<std::string> words{std::string(bin) + "/psql", "-X", "-q", "-d", dsn, "-c", sql};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    if (::posix_spawn(&pid_, words[0].c_str(), nullptr, nullptr, arguments.data(), environ) != 0) {
      throw std::runtime_error("cannot start psql");
    }
  }
  ~PsqlClient() { kill(); }
  PsqlClient(const PsqlClient&) = delete;
  PsqlClient& operator=(const PsqlClient&) = delete;
  void kill() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
};

struct LatePrepareRig {
  test::ServiceDatabase database{"inventory"};
  boost::asio::io_context io;
  InventoryParts parts =
      test::in_shape(io, make_inventory(io.get_executor(), test::settings_of(database), nullptr));
  test::BranchDriver branch{io, *parts.participant};
  std::unique_ptr<pg::Session> blocker = test::connect(database.dsn());
  protocol::Gid gid = branch.next_gid();

  LatePrepareRig() {
    database.run("INSERT INTO inventory (sku, available) VALUES ('a', 1)");
    blocker->exec_simple("BEGIN; SELECT FROM inventory WHERE sku = 'a' FOR UPDATE");
  }
  // A coordinator of ours that puts everything in one string, with this check interval.
  std::string one_string(const std::string& check_interval) const {
    return "SET client_connection_check_interval = '" + check_interval +
           "'; BEGIN; UPDATE inventory SET available = 0, reserved = 1 WHERE sku = 'a'; "
           "INSERT INTO txc_branch (gid) VALUES ('" +
           format(gid) + "'); PREPARE TRANSACTION '" + protocol::format_branch(gid, "inventory") +
           "'";
  }
  std::vector<protocol::Gid> listed() {
    return await(io, parts.participant->list_prepared(test::installation)).value();
  }
};

TEST_CASE("client_killed_in_a_lock_wait_prepares_after_the_sweep_said_not_found", "[hazard][I7]") {
  LatePrepareRig rig;
  PsqlClient client(rig.database.dsn(), rig.one_string("0"));  // PostgreSQL's default: never checks
  const int backend =
      rig.database.server().wait_for("wait_event_type = 'Lock' AND application_name = 'psql'");
  client.kill();

  // Recovery looks: nothing is prepared, and rolling back says so. It must not take that for the
  // end.
  CHECK(rig.listed().empty());
  CHECK(rig.branch.roll_back(rig.gid).failure().kind == FailureKind::not_found);
  CHECK(rig.database.server().alive(backend));

  rig.blocker->exec_simple("ROLLBACK");
  for (const auto end = test::Clock::now() + 10s;
       rig.listed().empty() && test::Clock::now() < end;) {
    std::this_thread::sleep_for(5ms);
  }
  CHECK(rig.listed() == std::vector{rig.gid});  // prepared by a dead client

  // A later sweep finds and ends it.
  CHECK(rig.branch.roll_back(rig.gid).ok());
  CHECK(rig.listed().empty());
  CHECK(rig.database.value("SELECT available FROM inventory WHERE sku = 'a'") == "1");
}

TEST_CASE("client_killed_in_a_lock_wait_is_noticed_when_the_server_checks", "[hazard][I7]") {
  LatePrepareRig rig;
  PsqlClient client(rig.database.dsn(), rig.one_string("100ms"));
  const int backend =
      rig.database.server().wait_for("wait_event_type = 'Lock' AND application_name = 'psql'");
  client.kill();
  for (const auto end = test::Clock::now() + 10s;
       rig.database.server().alive(backend) && test::Clock::now() < end;) {
    std::this_thread::sleep_for(5ms);
  }
  CHECK_FALSE(rig.database.server().alive(backend));
  rig.blocker->exec_simple("ROLLBACK");
  CHECK(rig.listed().empty());
  CHECK(rig.database.value("SELECT available FROM inventory WHERE sku = 'a'") == "1");
}

TEST_CASE("every_session_of_a_participant_checks_whether_its_client_lives", "[hazard][I7]") {
  LatePrepareRig rig;
  const auto pools =
      make_pools(rig.io.get_executor(), "inventory", test::settings_of(rig.database), nullptr);
  for (const auto& pool : {pools.branch, pools.finish, pools.service}) {
    auto work = [](pg::Session& session) {
      return session
          .exec_simple(
              "SELECT setting::int FROM pg_settings WHERE name = "
              "'client_connection_check_interval'")
          .at(0)
          .at(0)
          .as<int>();
    };
    const int interval_ms = await(rig.io, pool->run(work, 2s)).value();
    CHECK(interval_ms > 0);
    CHECK(interval_ms <= 2000);
  }
}

}  // namespace
}  // namespace txcoord
