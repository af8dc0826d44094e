// One database in one REPEATABLE READ READ ONLY transaction, read through cursors: memory is
// bounded however many rows there are.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "txcoord/pg/session.hpp"

namespace txcoord::audit {

class Snapshot {
 public:
  // Connects and takes the snapshot at once. Throws std::runtime_error that names the database. A
  // standby is refused: what it has not replayed yet would look like a violation.
  Snapshot(std::string database, const std::string& dsn);

  // `what` names the query in errors.
  pqxx::result read(const char* what, const std::string& sql);
  std::string quote(std::string_view text) { return session_->quote(text); }
  const std::string& database() const { return database_; }

 private:
  friend class Cursor;
  std::string database_;
  std::unique_ptr<pg::Session> session_;
  unsigned cursors_ = 0;
};

// Rows of one query, one at a time. The snapshot outlives it.
class Cursor {
 public:
  Cursor(Snapshot& snapshot, const char* what, const std::string& sql);
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;

  // The row under the cursor; nullopt at the end.
  std::optional<pqxx::row> row() const;
  void next();

 private:
  void fetch();
  Snapshot& snapshot_;
  const char* what_;
  std::string fetch_sql_;
  pqxx::result batch_;
  pqxx::result::size_type position_ = 0;
};

}  // namespace txcoord::audit
