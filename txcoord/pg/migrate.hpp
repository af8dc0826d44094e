// Applies schemas/<database>/NNNN_name.sql, compiled into the program, under an advisory lock.
// Safe to repeat and to run twice at once; refuses a database whose recorded file differs in
// content. Blocks: not for the I/O thread.
//
// Programs of two versions run side by side while one replaces the other, so a migration only adds,
// and a program works on a schema that a newer one migrated. A file that takes away or changes what
// an older program reads or writes has a line that begins with `-- breaking:` and says why. It is
// recorded as breaking, and a program that does not know it refuses the database.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "txcoord/pg/embedded_schemas.hpp"

namespace txcoord::pg {

// Names of the files applied now (empty: up to date). Throws std::runtime_error with what to do.
std::vector<std::string> migrate(const std::string& dsn, std::string_view database);
struct SchemaState {
  std::vector<std::string> pending;  // of this program's files: not applied yet
  std::vector<std::string> newer;    // applied by a newer program, which says that they only add
};
// Changes nothing. Throws as migrate() does.
SchemaState compare_schema(const std::string& dsn, std::string_view database);

// The same with other files than the embedded ones; only those of `database` count.
std::vector<std::string> migrate(const std::string& dsn, std::string_view database,
                                 std::span<const SchemaFile> files);
SchemaState compare_schema(const std::string& dsn, std::string_view database,
                           std::span<const SchemaFile> files);

}  // namespace txcoord::pg
