// The one list of checks, for `config --check`, `migrate`, `serve` and `participant`: what one of
// them would refuse, none of the others calls good.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "txcoord/base/settings.hpp"

namespace txcoord::cli {

struct Checks {
  std::vector<std::string> good;
  std::vector<std::string> wrong_settings;   // exit_usage
  std::vector<std::string> wrong_databases;  // exit_refused
  // Advice, and what could not be looked at, with the reason: nothing stands against a start.
  std::vector<std::string> warnings;
  std::size_t unseen = 0;  // how many of the warnings say that it could not look

  int exit_code() const;
};

enum class CheckedFor : std::uint8_t {
  serving,    // the databases that this process opens, and the services behind URLs
  migrating,  // every database that has a dsn; migrations may be missing
};

// Asks every database and service; changes nothing. Blocks, some seconds at most.
Checks check(const Settings& settings, CheckedFor purpose);

// Prints all but what is good.
void report(const Checks& checks, std::ostream& err);
// The same on standard error, for a process that is to serve: nobody who reads slowly keeps it.
void tell(const Checks& checks);

}  // namespace txcoord::cli
