// A fresh database with a service's tables, and short ways to look into it.
#pragma once

#include <cctype>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

#include "tests/pg/pg_support.hpp"
#include "txcoord/pg/migrate.hpp"

namespace txcoord::test {

class ServiceDatabase {
 public:
  // order, inventory, payment, shipping or log.
  explicit ServiceDatabase(std::string_view service)
      : own_(std::make_unique<FreshDatabase>(upper(service))), database_(*own_), dsn_(own_->dsn()) {
    pg::migrate(dsn_, service);
    session_ = connect(dsn_);
  }
  // The same in a schema of its own, inside a database that others use too.
  ServiceDatabase(std::string_view service, FreshDatabase& database)
      : database_(database),
        schema_("s_" + random_hex(12)),
        dsn_(database.dsn() + " options='-c search_path=" + schema_ + "'") {
    connect(database.dsn())->exec_simple("CREATE SCHEMA " + schema_);
    pg::migrate(dsn_, service);
    session_ = connect(dsn_);
  }
  ServiceDatabase(const ServiceDatabase&) = delete;
  ServiceDatabase& operator=(const ServiceDatabase&) = delete;
  ~ServiceDatabase() {
    try {  // a database in which something is prepared cannot be dropped
      for (const pqxx::row& row :
           run("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")) {
        run("ROLLBACK PREPARED " + session_->quote(row[0].view()));
      }
      if (!schema_.empty()) run("DROP SCHEMA " + schema_ + " CASCADE");
    } catch (const std::exception&) {  // the server may be down by the test's own doing
    }
  }

  const std::string& dsn() const { return dsn_; }
  // The last statement's result.
  pqxx::result run(std::string_view sql) { return session_->exec_simple(sql); }
  // The first column of the first row; empty when there is none or it is null.
  std::string value(std::string_view sql) {
    const pqxx::result result = run(sql);
    return result.empty() || result[0][0].is_null() ? std::string()
                                                    : result[0][0].as<std::string>();
  }
  std::string prepared() {
    return value("SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()");
  }
  // Of others than this object.
  std::string sessions() {
    return value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
        "pg_backend_pid()");
  }
  FreshDatabase& server() { return database_; }

 private:
  static std::string upper(std::string_view text) {
    std::string result;
    for (const char c : text)
      result += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return result;
  }

  std::unique_ptr<FreshDatabase> own_;  // empty: a schema of somebody else's database
  FreshDatabase& database_;
  std::string schema_, dsn_;
  std::unique_ptr<pg::Session> session_;
};

}  // namespace txcoord::test
