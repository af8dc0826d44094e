// Snapshots and cursors over pg::Session.
#include "txcoord/audit/snapshot.hpp"

#include <chrono>
#include <exception>
#include <stdexcept>

#include "txcoord/pg/classify.hpp"

namespace txcoord::audit {
namespace {

constexpr int rows_a_fetch = 2000;

pg::SessionSettings session_settings() {
  pg::SessionSettings settings;
  settings.lock_timeout = std::chrono::seconds(5);  // we take no row locks; DDL may hold a table's
  settings.statement_timeout = std::chrono::minutes(30);  // a sort of everything there is
  settings.idle_in_transaction_timeout =
      std::chrono::hours(2);  // while the other databases are read
  settings.application_name = "txcoord audit";
  return settings;
}

// Call in a catch block. A server's words are classified first: they may hold values of rows.
std::runtime_error cannot_read(const std::string& database, const char* what,
                               const std::exception& error) {
  const bool of_server = dynamic_cast<const pqxx::failure*>(&error) != nullptr;
  return std::runtime_error(
      "cannot read database '" + database + "' (" + what +
      "): " + (of_server ? pg::classify(std::current_exception()).message : error.what()));
}

}  // namespace

Snapshot::Snapshot(std::string database, const std::string& dsn) : database_(std::move(database)) {
  try {
    session_ = std::make_unique<pg::Session>(dsn, session_settings(), std::chrono::seconds(5));
    // The first query fixes the snapshot.
    const pqxx::result standby = session_->exec_simple(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_is_in_recovery()");
    if (standby[0][0].as<bool>()) throw std::runtime_error("it is a standby; name the primary");
  } catch (const std::exception& error) {
    throw cannot_read(database_, "connect", error);
  }
}

pqxx::result Snapshot::read(const char* what, const std::string& sql) {
  try {
    return session_->exec_simple(sql);
  } catch (const std::exception& error) {
    throw cannot_read(database_, what, error);
  }
}

Cursor::Cursor(Snapshot& snapshot, const char* what, const std::string& sql)
    : snapshot_(snapshot), what_(what) {
  const std::string name = "audit_" + std::to_string(++snapshot.cursors_);
  snapshot_.read(what_, "DECLARE " + name + " NO SCROLL CURSOR FOR " + sql);
  fetch_sql_ = "FETCH " + std::to_string(rows_a_fetch) + " FROM " + name;
  fetch();
}

std::optional<pqxx::row> Cursor::row() const {
  if (position_ >= batch_.size()) return std::nullopt;
  return batch_[position_];
}

void Cursor::next() {
  if (++position_ >= batch_.size() && batch_.size() == rows_a_fetch) fetch();
}

void Cursor::fetch() {
  batch_ = snapshot_.read(what_, fetch_sql_);
  position_ = 0;
}

}  // namespace txcoord::audit
