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
// Read as JSON: a program that did not know of breaking files made no such column. What it applied
// and this program does not know is taken for breaking.
constexpr Statement read_record{"migrate_read_record", R"(
SELECT name, sha256, coalesce((to_jsonb(m) ->> 'breaking')::boolean, true)
FROM txc_migrations m ORDER BY name)"};
// A second program waits here until the first has finished, and then finds nothing to do.
constexpr Statement lock{"migrate_lock", "SELECT pg_advisory_lock(hashtext('txc_migrations'))"};
constexpr Statement create_record{"migrate_create_record",
                                  R"(CREATE TABLE IF NOT EXISTS txc_migrations (
  name       text PRIMARY KEY,
  sha256     text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()))"};
constexpr Statement has_breaking{"migrate_has_breaking", R"(
SELECT count(*) > 0 FROM pg_attribute
 WHERE attrelid = 'txc_migrations'::regclass AND attname = 'breaking')"};
constexpr Statement add_breaking{
    "migrate_add_breaking",
    "ALTER TABLE txc_migrations ADD COLUMN breaking boolean NOT NULL DEFAULT false"};
constexpr Statement add_record{
    "migrate_add_record",
    "INSERT INTO txc_migrations (name, sha256, breaking) VALUES ($1, $2, $3)"};

constexpr std::string_view breaking_mark = "-- breaking:";

bool is_breaking(std::string_view sql) {
  return sql.starts_with(breaking_mark) ||
         sql.find("\n" + std::string(breaking_mark)) != std::string_view::npos;
}

struct Applied {
  std::string sha256;
  bool breaking = false;
};
using Record = std::map<std::string, Applied>;

Record recorded(Session& session) {
  Record record;
  if (!session.exec(has_record).at(0).at(0).as<bool>()) return record;
  for (const auto& row : session.exec(read_record))
    record.emplace(row.at(0).as<std::string>(),
                   Applied{row.at(1).as<std::string>(), row.at(2).as<bool>()});
  return record;
}

[[noreturn]] void refuse(std::string_view database, std::string_view name, const char* what) {
  throw std::runtime_error("database '" + std::string(database) + "', migration " +
                           std::string(name) + ": " + what);
}

// What a newer program applied: all right as long as it only adds.
std::vector<std::string> newer(const Record& unknown, std::string_view database) {
  std::vector<std::string> names;
  for (const auto& [name, applied] : unknown) {
    if (applied.breaking)
      refuse(database, name,
             "was applied by a newer program, and older programs cannot work with it. Run that "
             "one, or restore a backup");
    names.push_back(name);
  }
  return names;
}

struct Comparison {
  std::vector<SchemaFile> missing;  // still to apply, in order
  std::vector<std::string> newer;
};

Comparison compare(Record record, std::string_view database, std::span<const SchemaFile> files) {
  std::vector<SchemaFile> result;
  for (const SchemaFile& file : files) {
    if (file.database != database) continue;
    const auto known = record.find(std::string(file.name));
    if (known == record.end()) {
      result.push_back(file);
      continue;
    }
    if (known->second.sha256 != to_hex(sha256(file.sql)))
      refuse(database, file.name,
             "the file that was applied differs from this program's. Run the program that "
             "applied it, or restore the database; an applied file is never edited");
    if (!result.empty())
      refuse(database, result.front().name, "a later file was applied before it");
    record.erase(known);
  }
  const auto unknown = newer(record, database);
  if (!unknown.empty() && !result.empty())
    refuse(database, unknown.front(),
           "was applied by a newer program, which knows files that come before it: migrate with "
           "that one");
  std::ranges::sort(result, {}, &SchemaFile::name);
  return {std::move(result), unknown};
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
  session.exec(add_record, std::string(file.name), to_hex(sha256(file.sql)), is_breaking(file.sql));
  session.exec_simple("COMMIT");
}

// The classified message in place of libpqxx's: it holds neither the DSN nor values of rows.
[[noreturn]] void explain(std::string_view database, std::string_view name) {
  try {
    throw;
  } catch (const pqxx::failure&) {
    const Failure failure = classify(std::current_exception());
    const std::string file = name.empty() ? "" : ", migration " + std::string(name);
    const std::string text =
        "database '" + std::string(database) + "'" + file + ": " + failure.message;
    // Whoever asked whether the schema is right must tell "no" from "could not look".
    if (failure.kind == FailureKind::unavailable || failure.kind == FailureKind::timeout)
      throw ConnectFailure(text, failure.sqlstate);
    throw std::runtime_error(text);
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
    if (!session.exec(has_breaking).at(0).at(0).as<bool>()) session.exec(add_breaking);
    std::vector<std::string> applied;
    for (const SchemaFile& file : compare(recorded(session), database, files).missing) {
      current = file.name;
      apply(session, file);
      applied.emplace_back(file.name);
    }
    return applied;
  } catch (const pqxx::failure&) {
    explain(database, current);
  }
}

SchemaState compare_schema(const std::string& dsn, std::string_view database,
                           std::span<const SchemaFile> files) {
  try {
    Session session = open(dsn);
    Comparison found = compare(recorded(session), database, files);
    SchemaState state{{}, std::move(found.newer)};
    for (const SchemaFile& file : found.missing) state.pending.emplace_back(file.name);
    return state;
  } catch (const pqxx::failure&) {
    explain(database, "");
  }
}

std::vector<std::string> migrate(const std::string& dsn, std::string_view database) {
  return migrate(dsn, database, embedded_schemas());
}

SchemaState compare_schema(const std::string& dsn, std::string_view database) {
  return compare_schema(dsn, database, embedded_schemas());
}

}  // namespace txcoord::pg
