#include "txcoord/pg/preflight.hpp"

#include <map>
#include <optional>

#include "txcoord/pg/classify.hpp"
#include "txcoord/pg/migrate.hpp"
#include "txcoord/pg/pool.hpp"
#include "txcoord/pg/session.hpp"
#include "txcoord/pg/session_parameters.hpp"

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

constexpr Statement read_parameter{"preflight_parameter", R"(
  SELECT setting FROM pg_settings WHERE lower(name) = lower($1))"};

// PgBouncer's words, without `ignore_startup_parameters = options`.
constexpr const char* refused_by_pooler = "unsupported startup parameter";

constexpr const char* backend_of_session = "SELECT pg_backend_pid()";

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

// A pooler in transaction mode hands one backend to whoever begins next: then what stays with a
// session (a prepared statement, an advisory lock) is another's, and COMMIT PREPARED waits behind
// branches that wait for it. While `first` is connected its backend is nobody else's, unless it is
// shared: so this never refuses a direct connection. A pooler that is busy may go unnoticed.
bool shares_backends(Session& first, Session& second) {
  const auto of_first = first.exec_simple(backend_of_session).at(0).at(0).as<int>();
  second.exec_simple("BEGIN");
  const auto of_second = second.exec_simple(backend_of_session).at(0).at(0).as<int>();
  second.exec_simple("ROLLBACK");
  return of_first == of_second;
}

// Whether a session's value does what the one that was asked for does.
bool as_good(const std::string& name, const std::string& asked, const std::string& found) {
  if (name.ends_with("_timeout") || name.ends_with("_interval")) return found != "0";
  if (name == "synchronous_commit") return found == "on" || found == "remote_apply";
  if (name == "DateStyle") return found.starts_with(asked);
  return found == asked;
}

// Directly connected, a session has exactly what it asked for. One that has not is behind a pooler
// that drops `options`: it would wait for locks for ever, or acknowledge before the flush.
void check_parameters(Session& session, const SessionSettings& asked, Checks& checks) {
  std::string differ;
  for (const auto& [name, value] : session_parameters(asked)) {
    const pqxx::result row = session.exec(read_parameter, name);
    const auto found = row.empty() ? std::string("unknown") : row[0][0].as<std::string>();
    if (as_good(name, value, found)) continue;
    differ += (differ.empty() ? "" : ", ") + name + " (" + found + ", not " + value + ")";
  }
  if (differ.empty()) return;
  checks.refuse(
      "its sessions do not have what they ask for at connect: " + differ +
      ". A pooler drops it: connect directly, or set each for the role with ALTER ROLE … SET");
}

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
    const SessionSettings options = pool_settings(settings, "preflight", 1).session;
    constexpr std::chrono::milliseconds timeout(2000);
    Session session(settings.dsn, options, timeout);
    Session other(settings.dsn, options, timeout);
    if (shares_backends(session, other)) {
      checks.refuse(
          "two sessions share one backend: a pooler in transaction mode is in between. Connect "
          "directly, or through one in session mode");
      return std::nullopt;
    }
    check_parameters(session, options, checks);
    const auto result = session.exec(read_server);
    checks.server(result.at(0), prepared_slots, settings.connections_max);
    check_schema(session, settings, database, checks);
    return result.at(0).at(8).as<std::string>();
  } catch (const ConnectFailure&) {
    const std::string why = classify(std::current_exception()).message;
    if (why.find(refused_by_pooler) != std::string::npos) {
      checks.refuse("a pooler does not let sessions ask for their settings: " + why +
                    ". Connect directly, or see docs/databases.md");
    } else {
      checks.warn("cannot be reached yet (" + why + "); its recovery waits until it can");
    }
  } catch (const std::exception& problem) {
    // It went away between two of the questions, or has no connection left for one of them: that
    // passes, and an exit with "refused" would not.
    const Failure failure = classify(std::current_exception());
    if (failure.kind == FailureKind::unavailable || failure.kind == FailureKind::timeout) {
      checks.warn("could not be looked at (" + failure.message +
                  "); its recovery waits until it can be reached");
    } else {
      checks.refuse(problem.what());
    }
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
