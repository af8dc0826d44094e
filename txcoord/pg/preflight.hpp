// What a database must be before we work on it, each check with the exact setting to change.
// Blocks: not for the I/O thread.
//
// A check ends in one of three ways: good, wrong, or it could not look. A fault that passes by
// itself (a server that is away, or has no connection left just now) is never "wrong", at whichever
// question it comes: who is refused is not started again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "txcoord/base/settings.hpp"

namespace txcoord::pg {

struct PreflightReport {
  std::vector<std::string> good;      // looked at, and as it must be
  std::vector<std::string> refusals;  // wrong: the program does not start with these
  std::vector<std::string> warnings;  // it starts, and says so: advice, or it could not look
  std::size_t unseen = 0;             // how many of the warnings say that it could not look
};

struct DatabaseCheck {
  std::string name;  // "log" or a participant
  DatabaseSettings settings;
  std::uint32_t prepared_slots = 0;  // 0: this database takes no PREPARE (the log)
  std::size_t sessions_max = 0;      // that this process opens, over all of its pools
  // False before the migrations are applied: then what is missing is not wrong.
  bool schema_needed = true;
};

// All that a process opens: each of them; that no two of them are the same schema of one database;
// and that those that share a server or a role fit into its limits together.
PreflightReport preflight(const std::vector<DatabaseCheck>& databases);

// One of them alone, whatever shares its server.
void preflight(const DatabaseSettings& settings, std::string_view database,
               std::uint32_t prepared_slots, PreflightReport& report);

}  // namespace txcoord::pg
