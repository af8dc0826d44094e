#include "txcoord/cli/commands.hpp"

#include <iomanip>
#include <ostream>
#include <sstream>

#include "txcoord/base/logging.hpp"
#include "txcoord/cli/command_line.hpp"
#include "txcoord/engine/crash_points.hpp"
#include "txcoord/pg/migrate.hpp"
#include "txcoord/pg/preflight.hpp"
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

bool report_preflight(const Settings& settings, std::ostream& err) {
  const auto report = pg::preflight(settings);
  for (const auto& warning : report.warnings) err << "txcoord: warning: " << warning << "\n";
  for (const auto& refusal : report.refusals) err << "txcoord: refused: " << refusal << "\n";
  return report.refusals.empty();
}

bool tell_preflight(const Settings& settings) {
  std::ostringstream said;
  const bool good = report_preflight(settings, said);
  logging::tell(said.str());
  return good;
}

int run_config(const Settings& settings, bool check, std::ostream& out, std::ostream& err) {
  if (!check) {
    out << describe(settings);
    return exit_ok;
  }
  if (!report_preflight(settings, err)) return exit_refused;
  out << "settings and databases are as they must be\n";
  return exit_ok;
}

int run_crash_points(std::ostream& out) {
  for (const auto& point : engine::CrashPoints::all())
    out << std::left << std::setw(30) << point.name << "  " << point.meaning << "\n";
  return exit_ok;
}

}  // namespace txcoord::cli
