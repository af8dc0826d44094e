// A database of a test's own on one of the test servers: made, migrated, and dropped at the end,
// with whatever is still prepared in it. Tests that use one can run in any order, and twice at once.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cctype>
#include <cstdlib>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "txcoord/base/ids.hpp"
#include "txcoord/pg/migrate.hpp"
#include "txcoord/pg/session.hpp"

namespace txcoord::fresh {

class Database {
 public:
  // `service`: order, inventory, payment, shipping or log.
  explicit Database(std::string_view service) : server_(server_dsn(service)), name_("t_" + random_hex(12)) {
    admin("postgres").exec_simple("CREATE DATABASE " + name_ + " OWNER txcoord");
    pg::migrate(dsn(), service);
  }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database() {
    try {
      pg::Session inside = admin(name_);
      for (const pqxx::row& row :
           inside.exec_simple("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")) {
        inside.exec_simple("ROLLBACK PREPARED " + inside.quote(row[0].view()));
      }
      admin("postgres").exec_simple("DROP DATABASE " + name_ + " WITH (FORCE)");
    } catch (const std::exception& error) {
      UNSCOPED_INFO("the test's database was not dropped: " << error.what());
    }
  }

  std::string dsn() const { return server_ + " dbname=" + name_; }
  const std::string& name() const { return name_; }

  // Each call in a session of its own; the last statement's result.
  pqxx::result run(std::string_view sql) const { return session(dsn()).exec_simple(sql); }
  // The first column of the first row; empty when there is none or it is null.
  std::string value(std::string_view sql) const {
    const pqxx::result result = run(sql);
    return result.empty() || result[0][0].is_null() ? std::string() : result[0][0].as<std::string>();
  }
  // As the server's superuser: for what the owner may not do.
  pqxx::result run_as_admin(std::string_view sql) const { return admin(name_).exec_simple(sql); }
  // A session to hold something open with.
  pg::Session open() const { return session(dsn()); }

 private:
  static std::string server_dsn(std::string_view service) {
    std::string variable = "TXC_TEST_DSN_";
    for (const char c : service) variable += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    const char* dsn = std::getenv(variable.c_str());
    if (dsn == nullptr) throw std::runtime_error(variable + " is not set: run with run.d/with-pg.sh");
    return dsn;
  }
  static pg::Session session(const std::string& dsn) { return {dsn, {}, std::chrono::seconds(5)}; }
  pg::Session admin(const std::string& database) const {
    return session(server_ + " user=postgres dbname=" + database);
  }

  std::string server_, name_;
};

// Runs the context until the coroutine has ended.
inline void await(boost::asio::io_context& io, boost::asio::awaitable<void> coroutine) {
  bool ended = false;
  std::exception_ptr error;
  boost::asio::co_spawn(io, std::move(coroutine), [&](const std::exception_ptr& thrown) {
    error = thrown;
    ended = true;
  });
  io.restart();
  while (!ended && io.run_one() > 0) {
  }
  if (error) std::rethrow_exception(error);
  if (!ended) throw std::logic_error("the coroutine waits for nothing");
}

template <class T>
boost::asio::awaitable<void> keep(boost::asio::awaitable<T> coroutine, std::optional<T>& value) {
  T result = co_await std::move(coroutine);
  value.emplace(std::move(result));
}

template <class T>
T await(boost::asio::io_context& io, boost::asio::awaitable<T> coroutine) {
  std::optional<T> value;
  await(io, keep(std::move(coroutine), value));
  return std::move(value).value();
}

}  // namespace txcoord::fresh
