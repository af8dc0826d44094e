// What the pg tests share: fresh databases on the servers of run.d/with-pg.sh, coroutines awaited
// from a test's own thread, and processes that are frozen for a while.
#pragma once

#include <signal.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "txcoord/base/ids.hpp"
#include "txcoord/pg/session.hpp"

namespace txcoord::test {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// The owner's DSN of one of the five servers: ORDER, INVENTORY, PAYMENT, SHIPPING, LOG.
inline std::string server_dsn(const std::string& server) {
  const char* const dsn = std::getenv(("TXC_TEST_DSN_" + server).c_str());
  if (dsn == nullptr) SKIP("no PostgreSQL servers: run under run.d/with-pg.sh");
  return dsn;
}

// Session settings that let a test's own sessions wait.
inline pg::SessionSettings patient() {
  pg::SessionSettings settings;
  settings.lock_timeout = settings.statement_timeout = 20s;
  return settings;
}

inline std::unique_ptr<pg::Session> connect(const std::string& dsn) {
  return std::make_unique<pg::Session>(dsn, patient(), 5s);
}

// A database of its own, owned by the DSN's user; dropped at the end, whoever is still connected.
class FreshDatabase {
 public:
  explicit FreshDatabase(const std::string& server)
      : admin_(connect(server_dsn(server) + " user=postgres dbname=postgres")),
        name_("test_" + random_hex(12)),
        dsn_(server_dsn(server) + " dbname=" + name_) {
    admin_->exec_simple("CREATE DATABASE " + name_ + " OWNER txcoord");
  }
  ~FreshDatabase() {
    try {
      admin_->exec_simple("DROP DATABASE " + name_ + " WITH (FORCE)");
    } catch (const std::exception&) {  // the server may be down by the test's own doing
    }
  }
  FreshDatabase(const FreshDatabase&) = delete;
  FreshDatabase& operator=(const FreshDatabase&) = delete;

  const std::string& dsn() const { return dsn_; }
  const std::string& name() const { return name_; }
  pg::Session& admin() { return *admin_; }  // superuser, in another database

  // A session of this database left us that, idle or not.
  void terminate(int backend_pid) {
    admin_->exec_simple("SELECT pg_terminate_backend(" + std::to_string(backend_pid) + ", 5000)");
  }
  bool alive(int backend_pid) {
    return !admin_
                ->exec_simple("SELECT 1 FROM pg_stat_activity WHERE pid = " +
                              std::to_string(backend_pid))
                .empty();
  }
  // Until the backend waits for a lock (a row lock is a wait for a transaction).
  void wait_until_blocked(int backend_pid) {
    wait_for("wait_event_type = 'Lock' AND pid = " + std::to_string(backend_pid));
  }
  // Until some backend of this database meets the condition on pg_stat_activity; its pid.
  int wait_for(const std::string& condition) {
    for (const auto end = Clock::now() + 10s; Clock::now() < end;
         std::this_thread::sleep_for(5ms)) {
      const pqxx::result found =
          admin_->exec_simple("SELECT pid FROM pg_stat_activity WHERE datname = '" + name_ +
                              "' AND " + condition + " LIMIT 1");
      if (!found.empty()) return found.at(0).at(0).as<int>();
    }
    throw std::runtime_error("no backend came to: " + condition);
  }

 private:
  std::unique_ptr<pg::Session> admin_;
  std::string name_, dsn_;
};

// Stops a process (SIGSTOP) until it is thawed or the guard goes.
class Frozen {
 public:
  explicit Frozen(int pid) : pid_(pid) {
    if (::kill(pid_, SIGSTOP) != 0) throw std::runtime_error("cannot stop the process");
    // The signal is asynchronous: go on when the process is stopped indeed.
    for (int i = 0; i < 400 && state() != 'T'; ++i) std::this_thread::sleep_for(5ms);
    if (state() != 'T') throw std::runtime_error("the process did not stop");
  }
  ~Frozen() { thaw(); }
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;
  void thaw() {
    if (pid_ != 0) ::kill(pid_, SIGCONT);
    pid_ = 0;
  }

 private:
  char state() const {
    std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
    std::string line;
    std::getline(file, line);
    const std::size_t end = line.rfind(") ");
    return end == std::string::npos ? '?' : line[end + 2];
  }
  int pid_;
};

inline int parent_of(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  return std::stoi(line.substr(line.rfind(") ") + 4));
}

// A coroutine under way; its result once it is there.
template <class T>
struct Running {
  std::optional<T> result;
  bool done() const { return result.has_value(); }
};

template <class T>
std::shared_ptr<Running<T>> start(boost::asio::io_context& io, boost::asio::awaitable<T> work) {
  auto running = std::make_shared<Running<T>>();
  // A function, not a lambda with captures: its frame keeps its arguments.
  constexpr auto await_into = [](boost::asio::awaitable<T> inner,
                                 std::shared_ptr<Running<T>> into) -> boost::asio::awaitable<void> {
    T value = co_await std::move(inner);
    into->result.emplace(std::move(value));
  };
  boost::asio::co_spawn(io, await_into(std::move(work), running), [](std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
  });
  return running;
}

inline void drive(boost::asio::io_context& io, std::chrono::milliseconds time) {
  io.restart();
  io.run_for(time);
}

template <class T>
T finish(boost::asio::io_context& io, const std::shared_ptr<Running<T>>& running) {
  const auto end = Clock::now() + 30s;
  while (!running->done()) {
    if (Clock::now() > end) throw std::runtime_error("the coroutine did not end");
    io.restart();
    io.run_one_for(20ms);
  }
  return std::move(*running->result);
}

template <class T>
T await(boost::asio::io_context& io, boost::asio::awaitable<T> work) {
  return finish(io, start(io, std::move(work)));
}

inline std::chrono::milliseconds since(Clock::time_point started) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - started);
}

}  // namespace txcoord::test
