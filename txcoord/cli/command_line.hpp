// The command line: which command, which settings. Nothing is done here.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace txcoord::cli {

enum class Command { serve, participant, migrate, audit, config, crash_points, health };

struct CommandLine {
  Command command = Command::serve;
  std::filesystem::path config_file;
  std::map<std::string, std::string> flags;  // --set name=value
  std::vector<std::string> participants;     // participant
  std::string url;                           // health
  bool json = false;                         // audit
  bool with_cloudmart = false;               // migrate
  bool check = false;                        // config
};

// Exit codes of the program.
inline constexpr int exit_ok = 0;
inline constexpr int exit_failed = 1;   // audit: a violation; others: it did not work
inline constexpr int exit_usage = 2;    // wrong command line or settings; audit: unreadable
inline constexpr int exit_refused = 3;  // a database is not what it must be
inline constexpr int exit_fenced = 4;   // another process took this coordinator over

// The parsed line, or an exit code when all is said (--help, --version, a mistake).
std::optional<CommandLine> parse(int argc, char** argv, int& exit_code);

}  // namespace txcoord::cli
