// The program: which command, with which settings. The commands are in txcoord/cli.
#include <iostream>

#include "txcoord/audit/audit.hpp"
#include "txcoord/base/logging.hpp"
#include "txcoord/cli/command_line.hpp"
#include "txcoord/cli/commands.hpp"
#include "txcoord/cli/ending.hpp"

namespace {

using namespace txcoord;

// What a command needs to know of databases before it can begin.
DatabaseNeeds needs_of(const cli::CommandLine& line) {
  switch (line.command) {
    case cli::Command::participant: return {false, line.participants, false};
    // One database after the other, those that are named: a service apart migrates its own.
    case cli::Command::migrate: return {false, {}, true};
    case cli::Command::audit: return {true, DatabaseNeeds().participants, false};
    case cli::Command::serve:
    case cli::Command::config:
    case cli::Command::crash_points:
    case cli::Command::health: break;
  }
  return {};
}

int run(const cli::CommandLine& line) {
  if (line.command == cli::Command::crash_points) return cli::run_crash_points(std::cout);
  if (line.command == cli::Command::health) return cli::run_health(line.url, std::cout, std::cerr);
  const Settings settings = load_settings(line.config_file, line.flags, needs_of(line));
  switch (line.command) {
    case cli::Command::serve: return cli::run_serve(settings);
    case cli::Command::participant: return cli::run_participant(settings, line.participants);
    case cli::Command::migrate:
      return cli::run_migrate(settings, line.with_cloudmart, std::cout, std::cerr);
    case cli::Command::audit: return audit::run_audit(settings, line.json, std::cout);
    case cli::Command::config: return cli::run_config(settings, line.check, std::cout, std::cerr);
    case cli::Command::crash_points:
    case cli::Command::health: break;
  }
  return cli::exit_usage;
}

}  // namespace

int main(int argc, char** argv) {
  cli::prepare_ending();
  int exit_code = cli::exit_ok;
  const auto line = cli::parse(argc, argv, exit_code);
  if (!line) return exit_code;
  std::string problem;
  try {
    exit_code = run(*line);
  } catch (const SettingsError& error) {
    exit_code = cli::exit_usage;
    problem = error.what();
  } catch (const std::exception& error) {
    exit_code = cli::exit_failed;
    problem = cli::reason_of(error);
  }
  logging::finish();
  if (!problem.empty()) logging::tell("txcoord: " + problem);
  return exit_code;
}
