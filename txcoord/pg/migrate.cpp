// Migrations: one transaction a file, its record in the same transaction, so that a crash between
// two files leaves whole files only and the next run goes on after them.
#include "txcoord/pg/migrate.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <stdexcept>

#include "txcoord/base/sha256.hpp"
#include "txcoord/pg/classify.hpp"
#include "txcoord/pg/session.hpp"

namespace txcoord::pg {
namespace {

constexpr Statement has_record{"migrate_has_record",
                               "SELECT to_regclass('txc_migrations') IS NOT NULL"};
constexpr Statement read_record{"migrate_read_record",
                                "SELECT name, sha256 FROM txc_migrations ORDER BY name"};
// A second program waits here until the first has finished, and then finds nothing to do.
constexpr Statement lock{"migrate_lock", "SELECT pg_advisory_lock(hashtext('txc_migrations'))"};
constexpr Statement create_record{"migrate_create_record",
                                  R"(CREATE TABLE IF NOT EXISTS txc_migrations (
  name       text PRIMARY KEY,
  sha256     text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()))"};
constexpr Statement add_record{"migrate_add_record",
                               "INSERT INTO txc_migrations (name, sha256) VALUES ($1, $2)"};

std::map<std::string, std::string> recorded(Session& session) {
  std::map<std::string, std::string> record;
  if (!session.exec(has_record).at(0).at(0).as<bool>()) return record;
  for (const auto& row : session.exec(read_record))
    record.emplace(row.at(0).as<std::string>(), row.at(1).as<std::string>());
  return record;
}

[[noreturn]] void refuse(std::string_view database, std::string_view name, const char* what) {
  throw std::runtime_error("database '" + std::string(database) + "', migration " +
                           std::string(name) + ": " + what);
}

// The files still to apply, in order.
std::vector<SchemaFile> missing(std::map<std::string, std::string> record,
                                std::string_view database, std::span<const SchemaFile> files) {
  std::vector<SchemaFile> result;
  for (const SchemaFile& file : files) {
    if (file.database != database) continue;
    const auto known = record.find(std::string(file.name));
    if (known == record.end()) {
      result.push_back(file);
      continue;
    }
    if (known->second != to_hex(sha256(file.sql)))
      refuse(database, file.name,
             "the file that was applied differs from this program's. Run the program that "
             "applied it, or restore the database; an applied file is never edited");
    if (!result.empty())
      refuse(database, result.front().name, "a later file was applied before it");
    record.erase(known);
  }
  if (!record.empty())
    refuse(database, record.begin()->first,
           "was applied by a newer program. Run that one, or restore a backup");
  std::ranges::sort(result, {}, &SchemaFile::name);
  return result;
}

// Waits for another migration and for locks as long as it takes: an operator is watching.
Session open(const std::string& dsn) {
  using std::chrono::milliseconds;
  SessionSettings settings;
  settings.lock_timeout = settings.statement_timeout = settings.idle_in_transaction_timeout =
      milliseconds(0);
  settings.application_name = "txcoord-migrate";
  return Session(dsn, settings, milliseconds(5000));
}

void apply(Session& session, const SchemaFile& file) {
  session.exec_simple("BEGIN");
  session.exec_simple(file.sql);
  if (!session.in_transaction())
    throw std::runtime_error("the file ends its own transaction: it must not");
  session.exec(add_record, std::string(file.name), to_hex(sha256(file.sql)));
  session.exec_simple("COMMIT");
}

// The classified message in place of libpqxx's: it holds neither the DSN nor values of rows.
[[noreturn]] void explain(std::string_view database, std::string_view name) {
  try {
    throw;
  } catch (const pqxx::failure&) {
    const Failure failure = classify(std::current_exception());
    const std::string file = name.empty() ? "" : ", migration " + std::string(name);
    throw std::runtime_error("database '" + std::string(database) + "'" + file + ": " +
                             failure.message);
  }
}

}  // namespace

std::vector<std::string> migrate(const std::string& dsn, std::string_view database,
                                 std::span<const SchemaFile> files) {
  std::string_view current;
  try {
    Session session = open(dsn);  // closing it gives the advisory lock back
    session.exec(lock);
    session.exec(create_record);
    std::vector<std::string> applied;
    for (const SchemaFile& file : missing(recorded(session), database, files)) {
      current = file.name;
      apply(session, file);
      applied.emplace_back(file.name);
    }
    return applied;
  } catch (const pqxx::failure&) {
    explain(database, current);
  }
}

std::vector<std::string> pending_migrations(const std::string& dsn, std::string_view database,
                                            std::span<const SchemaFile> files) {
  try {
    Session session = open(dsn);
    std::vector<std::string> names;
    for (const SchemaFile& file : missing(recorded(session), database, files))
      names.emplace_back(file.name);
    return names;
  } catch (const pqxx::failure&) {
    explain(database, "");
  }
}

std::vector<std::string> migrate(const std::string& dsn, std::string_view database) {
  return migrate(dsn, database, embedded_schemas());
}

std::vector<std::string> pending_migrations(const std::string& dsn, std::string_view database) {
  return pending_migrations(dsn, database, embedded_schemas());
}

}  // namespace txcoord::pg
