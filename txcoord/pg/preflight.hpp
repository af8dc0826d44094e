// What a database must be before we work on it, each check with the exact setting to change.
// Blocks: not for the I/O thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "txcoord/base/settings.hpp"

namespace txcoord::pg {

struct PreflightReport {
  std::vector<std::string> refusals;  // the program does not start with these
  std::vector<std::string> warnings;  // it starts, and says so
};

// `database` is "log" or a participant. A database that cannot be reached is a warning: it delays
// its own recovery only. `prepared_slots` 0: this database takes no PREPARE (the log).
void preflight(const DatabaseSettings& settings, std::string_view database,
               std::uint32_t prepared_slots, PreflightReport& report);

// All that this process opens (not those behind a url), and that no two of them are the same
// schema of the same database.
PreflightReport preflight(const Settings& settings);

}  // namespace txcoord::pg
