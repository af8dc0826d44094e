#include "txcoord/pg/preflight.hpp"

#include <map>
#include <optional>
#include <utility>

#include "txcoord/pg/classify.hpp"
#include "txcoord/pg/migrate.hpp"
#include "txcoord/pg/pool.hpp"
#include "txcoord/pg/preflight_limits.hpp"
#include "txcoord/pg/session.hpp"
#include "txcoord/pg/session_parameters.hpp"

namespace txcoord::pg {
namespace {

constexpr int version_min = 150000;
constexpr int version_end = 180000;
constexpr std::chrono::milliseconds connect_timeout(2000);

constexpr Statement read_server{"preflight_server", R"(
  SELECT current_setting('server_version_num')::int4, current_setting('server_version'),
         pg_is_in_recovery(), current_setting('max_prepared_transactions')::int8,
         current_setting('fsync')::bool, current_setting('full_page_writes')::bool,
         current_setting('server_encoding'), current_setting('transaction_read_only')::bool,
         (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))"};

// COMMIT PREPARED and ROLLBACK PREPARED are for the role that prepared: to be a member of it is not
// enough. So one role must own the tables and run them; branches of another one would stay.
constexpr Statement read_owner{"preflight_owner", R"(
  SELECT (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND c.relowner <> r.oid),
         (SELECT count(*) FROM pg_prepared_xacts
           WHERE database = current_database() AND starts_with(gid, 'txc_')
             AND owner <> r.rolname)
    FROM pg_roles r WHERE r.rolname = current_user AND NOT r.rolsuper)"};

constexpr Statement read_parameter{"preflight_parameter", R"(
  SELECT setting FROM pg_settings WHERE lower(name) = lower($1))"};

// Only an administrator may set these, so a session cannot ask for them, and takes the role's or
// the database's: without triggers nothing checks a foreign key; a transaction that is ended from
// outside may have committed.
constexpr std::pair<const char*, const char*> must_not_be_changed[] = {
    {"session_replication_role", "origin"}, {"transaction_timeout", "0"}};

constexpr const char* backend_of_session = "SELECT pg_backend_pid()";

class Checks {
 public:
  Checks(std::string_view database, PreflightReport& report)
      : database_(database), report_(report) {}

  void good(const std::string& text) { good_ += (good_.empty() ? "" : ", ") + text; }
  void refuse(const std::string& text) { report_.refusals.push_back(name() + text); }
  void warn(const std::string& text) { report_.warnings.push_back(name() + text); }
  void could_not_look(const std::string& text) {
    warn(text);
    ++report_.unseen;
  }
  void end() {
    if (!good_.empty()) report_.good.push_back(name() + good_);
  }
  // What was asked between this and the last call is good if nothing was refused meanwhile.
  void good_unless_refused(const std::string& text) {
    if (report_.refusals.size() == refused_) good(text);
    refused_ = report_.refusals.size();
  }

  void server(const pqxx::row& row, std::uint32_t prepared_slots) {
    const int version = row[0].as<int>();
    if (version < version_min || version >= version_end)
      refuse("PostgreSQL " + row[1].as<std::string>() + " is not supported: 15, 16 and 17 are");
    const bool standby = row[2].as<bool>();
    if (standby) refuse("it is a standby; the dsn must lead to the primary");
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
    if (!standby && row[7].as<bool>())
      warn(
          "it takes no writes: default_transaction_read_only is on, for the role, the database or "
          "the server. Orders get 503 until it is off");
    if (row[8].as<bool>())
      warn("the role is a superuser; a plain role that owns the tables is enough");
  }

 private:
  std::string name() const { return std::string(database_) + ": "; }

  std::string_view database_;
  PreflightReport& report_;
  std::size_t refused_ = report_.refusals.size();
  std::string good_;
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
  if (asked == "0") return found == "0";
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
  if (!differ.empty())
    checks.refuse(
        "its sessions do not have what they ask for at connect: " + differ +
        ". A pooler drops it: connect directly, or set each for the role with ALTER ROLE … SET");
  for (const auto& [name, value] : must_not_be_changed) {
    const pqxx::result row = session.exec(read_parameter, std::string(name));
    const auto found = row.empty() ? std::string(value) : row[0][0].as<std::string>();
    if (found == value) continue;
    checks.refuse(std::string(name) + " is " + found + ": it must be " + value +
                  ". Take it from the role, the database and the server (ALTER ROLE … RESET, ALTER "
                  "DATABASE … RESET)");
  }
}

void check_schema(Session& session, const DatabaseCheck& database, Checks& checks) {
  const auto schema = compare_schema(database.settings.dsn, database.name);
  if (!schema.pending.empty() && database.schema_needed)
    checks.refuse("migration " + schema.pending.front() +
                  " is not applied: run `txcoord migrate --config FILE` first");
  if (!schema.newer.empty())
    checks.warn("its schema is newer than this program (" + schema.newer.back() +
                ", which only adds): it works, and should be replaced soon");
  const pqxx::result foreign = session.exec(read_owner);
  if (foreign.empty()) return;  // a superuser may end whatever others prepared
  const auto tables = foreign[0][0].as<std::int64_t>(), branches = foreign[0][1].as<std::int64_t>();
  if (tables > 0)
    checks.refuse(
        "the role of the dsn does not own " + std::to_string(tables) +
        " of the tables: COMMIT PREPARED needs the role that prepared; use one owner role");
  if (branches > 0)
    checks.refuse(std::to_string(branches) +
                  " branches there were prepared by another role, and the role of the dsn cannot "
                  "end them: use the role that prepared");
}

bool passes(const Failure& failure) {
  return failure.kind == FailureKind::unavailable || failure.kind == FailureKind::timeout;
}

// What the server says of where this is, and of its limits; none if it could not be asked.
std::optional<Place> check_one(const DatabaseCheck& database, PreflightReport& report) {
  Checks checks(database.name, report);
  std::optional<Place> place;
  try {
    const SessionSettings options = pool_settings(database.settings, "preflight", 1).session;
    Session session(database.settings.dsn, options, connect_timeout);
    checks.good("reached");
    place = read_place(session);
    Session other(database.settings.dsn, options, connect_timeout);
    if (shares_backends(session, other)) {
      checks.refuse(
          "two sessions share one backend: a pooler in transaction mode is in between. Connect "
          "directly, or through one in session mode");
      return std::nullopt;
    }
    check_parameters(session, options, checks);
    checks.good_unless_refused("sessions");
    const auto result = session.exec(read_server);
    checks.server(result.at(0), database.prepared_slots);
    checks.good_unless_refused("server");
    check_schema(session, database, checks);
    checks.good_unless_refused("schema and its owner");
  } catch (const ConnectFailure& failure) {
    const std::string why = failure.what();
    if (failure.wrong_dsn())
      checks.refuse("its server does not let us in, or the dsn is wrong (" + why + ")");
    else if (place)
      checks.could_not_look("could not be looked at (" + why +
                            "); its recovery waits until it can be reached");
    else
      checks.could_not_look("cannot be reached yet (" + why + "); its recovery waits until it can");
  } catch (const std::exception& problem) {
    // It went away between two of the questions: that passes, and an exit with "refused" would not.
    const Failure failure = classify(std::current_exception());
    const bool ours = dynamic_cast<const pqxx::failure*>(&problem) == nullptr;
    if (passes(failure))
      checks.could_not_look("could not be looked at (" + failure.message +
                            "); its recovery waits until it can be reached");
    else
      checks.refuse(ours ? problem.what() : "a question was refused: " + failure.message);
  }
  checks.end();
  return place;
}

}  // namespace

void preflight(const DatabaseSettings& settings, std::string_view database,
               std::uint32_t prepared_slots, PreflightReport& report) {
  check_one({.name = std::string(database), .settings = settings, .prepared_slots = prepared_slots},
            report);
}

PreflightReport preflight(const std::vector<DatabaseCheck>& databases) {
  PreflightReport report;
  std::vector<Located> located;
  std::map<std::string, std::string> seen;
  for (const DatabaseCheck& database : databases) {
    auto place = check_one(database, report);
    if (!place) continue;
    const auto [first, inserted] = seen.emplace(place->schema_id(), database.name);
    if (!inserted)
      report.refusals.push_back(database.name + ": its dsn leads to the same database as that of " +
                                first->second +
                                "; give each a database of its own, or a schema (search_path)");
    located.push_back(
        {database.name, std::move(*place), database.prepared_slots, database.sessions_max});
  }
  check_limits(located, report);
  return report;
}

}  // namespace txcoord::pg
