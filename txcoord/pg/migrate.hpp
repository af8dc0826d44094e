// Applies schemas/<database>/NNNN_name.sql, compiled into the program, under an advisory lock.
// Safe to repeat and to run twice at once; refuses a database whose recorded file differs in
// content, or that was migrated by a newer program. Blocks: not for the I/O thread.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "txcoord/pg/embedded_schemas.hpp"

namespace txcoord::pg {

// Names of the files applied now (empty: up to date). Throws std::runtime_error with what to do.
std::vector<std::string> migrate(const std::string& dsn, std::string_view database);
// Names of the files that are not applied yet. Changes nothing.
std::vector<std::string> pending_migrations(const std::string& dsn, std::string_view database);

// The same with other files than the embedded ones; only those of `database` count.
std::vector<std::string> migrate(const std::string& dsn, std::string_view database,
                                 std::span<const SchemaFile> files);
std::vector<std::string> pending_migrations(const std::string& dsn, std::string_view database,
                                            std::span<const SchemaFile> files);

}  // namespace txcoord::pg
