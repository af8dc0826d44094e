#include "txcoord/pg/preflight.hpp"

#include <map>
#include <optional>

#include "txcoord/pg/classify.hpp"
#include "txcoord/pg/migrate.hpp"
#include "txcoord/pg/session.hpp"

namespace txcoord::pg {
namespace {

constexpr int version_min = 150000;
constexpr int version_end = 180000;
// Recovery and a second coordinator need slots too.
constexpr std::uint32_t spare_slots = 8;

constexpr Statement read_server{"preflight_server", R"(
  SELECT current_setting('server_version_num')::int4, current_setting('server_version'),
         pg_is_in_recovery(), current_setting('max_prepared_transactions')::int8,
         current_setting('fsync')::bool, current_setting('full_page_writes')::bool,
         current_setting('server_encoding'), current_setting('max_connections')::int8,
         (SELECT system_identifier FROM pg_control_system()) || '/' || current_database() || '/' ||
         coalesce(current_schema(), ''),
         (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))"};

constexpr Statement read_owner{"preflight_owner", R"(
  SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT pg_has_role(c.relowner, 'USAGE'))"};

class Checks {
 public:
  Checks(std::string_view database, PreflightReport& report)
      : database_(database), report_(report) {}

  void refuse(const std::string& text) { report_.refusals.push_back(name() + text); }
  void warn(const std::string& text) { report_.warnings.push_back(name() + text); }

  void server(const pqxx::row& row, std::uint32_t prepared_slots, std::uint32_t connections) {
    const int version = row[0].as<int>();
    if (version < version_min || version >= version_end)
      refuse("PostgreSQL " + row[1].as<std::string>() + " is not supported: 15, 16 and 17 are");
    if (row[2].as<bool>()) refuse("it is a standby; the dsn must lead to the primary");
    const auto slots = row[3].as<std::int64_t>();
    if (prepared_slots > 0 && slots < prepared_slots + spare_slots)
      refuse("max_prepared_transactions is " + std::to_string(slots) +
             ": set max_prepared_transactions = " + std::to_string(prepared_slots + spare_slots) +
             " or more and restart it, or lower engine.unfinished_groups_max");
    if (!row[4].as<bool>())
      refuse("fsync is off: set fsync = on, or what is confirmed can be lost");
    if (!row[5].as<bool>()) refuse("full_page_writes is off: set full_page_writes = on");
    if (row[6].as<std::string>() != "UTF8")
      refuse("server_encoding is " + row[6].as<std::string>() + ": the database must be UTF8");
    if (row[7].as<std::int64_t>() < connections + 5)
      refuse("max_connections is " + row[7].as<std::string>() + ": set max_connections = " +
             std::to_string(connections + 5) + " or more, or lower its connections_max");
    if (row[9].as<bool>())
      warn("the role is a superuser; a plain role that owns the tables is enough");
  }

 private:
  std::string name() const { return std::string(database_) + ": "; }

  std::string_view database_;
  PreflightReport& report_;
};

void check_schema(Session& session, const DatabaseSettings& settings, std::string_view database,
                  Checks& checks) {
  const auto schema = compare_schema(settings.dsn, database);
  if (!schema.pending.empty()) {
    checks.refuse("migration " + schema.pending.front() +
                  " is not applied: run `txcoord migrate --config FILE` first");
    return;
  }
  if (!schema.newer.empty())
    checks.warn("its schema is newer than this program (" + schema.newer.back() +
                ", which only adds): it works, and should be replaced soon");
  const auto foreign = session.exec(read_owner).at(0).at(0).as<std::int64_t>();
  if (foreign > 0)
    checks.refuse(
        "the role of the dsn does not own " + std::to_string(foreign) +
        " of the tables: COMMIT PREPARED needs the role that prepared; use one owner role");
}

// Where the database really is, to see that two DSNs lead to different ones.
std::optional<std::string> check_one(const DatabaseSettings& settings, std::string_view database,
                                     std::uint32_t prepared_slots, PreflightReport& report) {
  Checks checks(database, report);
  try {
    SessionSettings options;
    options.application_name = "txcoord_preflight";
    Session session(settings.dsn, options, std::chrono::milliseconds(2000));
    const auto result = session.exec(read_server);
    checks.server(result.at(0), prepared_slots, settings.connections_max);
    check_schema(session, settings, database, checks);
    return result.at(0).at(8).as<std::string>();
  } catch (const ConnectFailure&) {
    checks.warn("cannot be reached yet; its recovery waits until it can");
  } catch (const std::exception& problem) {
    checks.refuse(problem.what());
  }
  return std::nullopt;
}

}  // namespace

void preflight(const DatabaseSettings& settings, std::string_view database,
               std::uint32_t prepared_slots, PreflightReport& report) {
  check_one(settings, database, prepared_slots, report);
}

PreflightReport preflight(const Settings& settings) {
  PreflightReport report;
  std::map<std::string, std::string> seen;
  const auto check = [&](const DatabaseSettings& database, const std::string& name,
                         std::uint32_t slots) {
    const auto place = check_one(database, name, slots, report);
    if (!place) return;
    const auto [first, inserted] = seen.emplace(*place, name);
    if (!inserted)
      report.refusals.push_back(name + ": its dsn leads to the same database as that of " +
                                first->second +
                                "; give each a database of its own, or a schema (search_path)");
  };
  if (!settings.log.dsn.empty()) check(settings.log, "log", 0);
  for (const auto& [name, database] : settings.participants)
    if (database.url.empty() && !database.dsn.empty())
      check(database, name, settings.engine.unfinished_groups_max);
  return report;
}

}  // namespace txcoord::pg
