// Applies schemas/<database>/NNNN_name.sql, compiled into the program, under an advisory lock.
// Safe to repeat and to run twice at once; refuses a database whose recorded file differs in content.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace txcoord::pg {

// Names of the files applied now (empty: up to date). Throws std::runtime_error with what to do.
std::vector<std::string> migrate(const std::string& dsn, std::string_view database);
// Names of the files that are not applied yet.
std::vector<std::string> pending_migrations(const std::string& dsn, std::string_view database);

}  // namespace txcoord::pg
