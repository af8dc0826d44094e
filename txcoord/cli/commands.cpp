#include "txcoord/cli/commands.hpp"

#include <iomanip>
#include <ostream>

#include "txcoord/base/logging.hpp"
#include "txcoord/cli/checks.hpp"
#include "txcoord/cli/command_line.hpp"
#include "txcoord/engine/crash_points.hpp"
#include "txcoord/pg/migrate.hpp"
#include "txcoord/pg/sample_data.hpp"

namespace txcoord::cli {
namespace {

void migrate_one(const std::string& dsn, std::string_view database, std::ostream& out) {
  const auto applied = pg::migrate(dsn, database);
  if (applied.empty()) out << database << ": up to date\n";
  for (const auto& name : applied) out << database << ": applied " << name << "\n";
}

}  // namespace

int run_migrate(const Settings& settings, bool with_cloudmart, std::ostream& out,
                std::ostream& err) {
  try {
    // All of them are looked at before one is changed: a set that is migrated in part is no help.
    const Checks checks = check(settings, CheckedFor::migrating);
    report(checks, err);
    if (checks.exit_code() != exit_ok) {
      err << "txcoord migrate: nothing was changed\n";
      return checks.exit_code();
    }
    if (checks.unseen > 0) {
      err << "txcoord migrate: nothing was changed, since not every database could be looked at: "
             "repeat it when they can be reached\n";
      return exit_failed;
    }
    std::size_t migrated = 0;
    const auto migrate = [&](const std::string& dsn, const std::string& name) {
      if (dsn.empty()) {
        out << name << ": left alone, it has no dsn here\n";
        return;
      }
      migrate_one(dsn, name, out);
      ++migrated;
    };
    migrate(settings.log.dsn, "log");
    for (const auto& [name, database] : settings.participants) migrate(database.dsn, name);
    if (migrated == 0) {
      err << "txcoord migrate: no database has a dsn: set log.dsn and participants.NAME.dsn\n";
      return exit_usage;
    }
    if (!with_cloudmart) return exit_ok;
    for (const auto& name : pg::load_sample("cloudmart", settings))
      out << name << ": CloudMart data is there\n";
    return exit_ok;
  } catch (const std::exception& problem) {
    err << "txcoord migrate: " << problem.what() << "\n";
    return exit_failed;
  }
}

int run_config(const Settings& settings, bool with_checks, std::ostream& out, std::ostream& err) {
  if (!with_checks) {
    out << describe(settings);
    return exit_ok;
  }
  logging::start("error");  // standard output is for what is said here
  const Checks checks = check(settings, CheckedFor::serving);
  for (const auto& good : checks.good) out << "good: " << good << "\n";
  report(checks, err);
  if (checks.exit_code() != exit_ok) return checks.exit_code();
  if (checks.unseen > 0)
    out << "nothing is wrong as far as could be seen; " << checks.unseen
        << " could not be looked at: see the warnings\n";
  else if (!checks.warnings.empty())
    out << "nothing stands against a start; see the warnings\n";
  else
    out << "settings and databases are as they must be\n";
  return exit_ok;
}

int run_crash_points(std::ostream& out) {
  for (const auto& point : engine::CrashPoints::all())
    out << std::left << std::setw(30) << point.name << "  " << point.meaning << "\n";
  return exit_ok;
}

}  // namespace txcoord::cli
