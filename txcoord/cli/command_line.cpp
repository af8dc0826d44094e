#include "txcoord/cli/command_line.hpp"

#include <CLI/CLI.hpp>
#include <iostream>

#include "txcoord/version.hpp"

namespace txcoord::cli {
namespace {

// "name=value" pairs, as `--set` gives them.
std::string read_sets(const std::vector<std::string>& sets,
                      std::map<std::string, std::string>& flags) {
  for (const auto& set : sets) {
    const auto equals = set.find('=');
    if (equals == std::string::npos || equals == 0)
      return "--set wants NAME=VALUE";  // what it is instead may be a secret
    flags[set.substr(0, equals)] = set.substr(equals + 1);
  }
  return {};
}

}  // namespace

std::optional<CommandLine> parse(int argc, char** argv, int& exit_code) {
  CommandLine line;
  std::vector<std::string> sets;
  CLI::App app{
      "txcoord: atomic orders over four PostgreSQL databases, by two-phase commit, over REST"};
  app.set_version_flag(
      "--version", "txcoord " + std::string(version) + " (" + std::string(git_describe()) + ")");
  app.require_subcommand(1);
  app.footer(
      "Settings: flag, then TXCOORD_* environment, then the TOML file, then the default.\n"
      "Exit codes: 0 done, 1 failed (audit: a violation), 2 usage, settings or an address in use "
      "(audit: a database could not be read, or orders did not come to rest), 3 a database is not "
      "what it must be, 4 fenced, 134 a defect. What could not be looked at is a warning: migrate "
      "ends with 1, and the others go on.");

  const auto add = [&](const char* name, const char* text, Command command) {
    CLI::App* sub = app.add_subcommand(name, text);
    sub->callback([&line, command] { line.command = command; });
    if (command == Command::crash_points || command == Command::health) return sub;
    sub->add_option("--config,-c", line.config_file, "TOML file with the settings");
    sub->add_option("--set", sets, "one setting, as NAME=VALUE; may be repeated");
    return sub;
  };
  add("serve", "run the coordinator, its participants and the REST API", Command::serve);
  add("participant", "run one participant, or several, as a service of their own",
      Command::participant)
      ->add_option("NAME", line.participants, "order, inventory, payment, shipping")
      ->required()
      ->check(CLI::IsMember({"order", "inventory", "payment", "shipping"}));
  add("migrate", "bring the databases' schemas up to date", Command::migrate)
      ->add_flag("--with-cloudmart", line.with_cloudmart,
                 "add the CloudMart catalogue and wallets");
  add("audit", "check the invariants over all databases", Command::audit)
      ->add_flag("--json", line.json, "write the report as JSON");
  add("config", "show every setting with its value", Command::config)
      ->add_flag("--check", line.check, "check the settings and the databases, change nothing");
  add("crash-points", "list the points for TXCOORD_CRASH_AT", Command::crash_points);
  add("health", "ask a URL such as http://127.0.0.1:8080/readyz once: 0 if it answers 200",
      Command::health)
      ->add_option("URL", line.url, "http://host:port/path")
      ->required();

  try {
    app.parse(argc, argv);
    if (const auto mistake = read_sets(sets, line.flags); !mistake.empty())
      throw CLI::ValidationError("--set", mistake);
  } catch (const CLI::ParseError& error) {
    exit_code = app.exit(error) == 0 ? exit_ok : exit_usage;
    return std::nullopt;
  }
  return line;
}

}  // namespace txcoord::cli
