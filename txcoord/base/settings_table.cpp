// The table of settings, and the rules between them.
#include "txcoord/base/settings_table.hpp"

#include <algorithm>
#include <cctype>

namespace txcoord::detail {
namespace {

constexpr std::uint64_t hour_ms = 3'600'000;
constexpr std::uint64_t year_s = 366ULL * 86'400ULL;

void http_rows(std::vector<SettingRow>& rows, HttpSettings& http) {
  rows.insert(rows.end(),
              {
                  {"http.address", &http.address},
                  {"http.port", &http.port, 0, 65535},
                  {"http.admin_address", &http.admin_address},
                  {"http.admin_port", &http.admin_port, 0, 65535},
                  {"http.hosts_allowed", &http.hosts_allowed},
                  {"http.origins_allowed", &http.origins_allowed},
                  {"http.connections_max", &http.connections_max, 1, 100'000},
                  {"http.connections_per_peer_max", &http.connections_per_peer_max, 1, 100'000},
                  {"http.admin_connections_max", &http.admin_connections_max, 1, 100'000},
                  {"http.header_bytes_max", &http.header_bytes_max, 1024, 65'536},
                  {"http.body_bytes_max", &http.body_bytes_max, 1024, 1'048'576},
                  {"http.header_read_ms_max", &http.header_read_ms_max, 1, hour_ms},
                  {"http.body_read_ms_max", &http.body_read_ms_max, 1, hour_ms},
                  {"http.idle_ms_max", &http.idle_ms_max, 1, hour_ms},
                  {"http.write_ms_max", &http.write_ms_max, 1, hour_ms},
                  {"http.request_wait_ms_max", &http.request_wait_ms_max, 1, hour_ms},
                  {"http.read_wait_ms_max", &http.read_wait_ms_max, 1, hour_ms},
                  {"http.lame_duck_ms", &http.lame_duck_ms, 0, 300'000},
                  {"http.drain_ms_max", &http.drain_ms_max, 0, hour_ms},
              });
}

void engine_rows(std::vector<SettingRow>& rows, EngineSettings& engine) {
  rows.insert(rows.end(),
              {
                  {"engine.group_operations_max", &engine.group_operations_max, 1, 10'000},
                  {"engine.group_rows_max", &engine.group_rows_max, 100, 100'000},
                  {"engine.lanes", &engine.lanes, 1, 64},
                  {"engine.asking_groups_max", &engine.asking_groups_max, 1, 64},
                  {"engine.queue_operations_max", &engine.queue_operations_max, 1, 1'000'000},
                  {"engine.unfinished_groups_max", &engine.unfinished_groups_max, 1, 10'000},
                  {"engine.vote_ms_max", &engine.vote_ms_max, 1, hour_ms},
                  {"engine.prepare_ms_max", &engine.prepare_ms_max, 1, hour_ms},
                  {"engine.branch_open_ms_max", &engine.branch_open_ms_max, 1, hour_ms},
                  {"engine.decide_ms_max", &engine.decide_ms_max, 1, hour_ms},
                  {"engine.commit_ms_max", &engine.commit_ms_max, 1, hour_ms},
                  {"engine.queue_wait_ms_max", &engine.queue_wait_ms_max, 1, hour_ms},
                  {"engine.conflict_retries_max", &engine.conflict_retries_max, 0, 100},
                  {"engine.recovery_interval_ms", &engine.recovery_interval_ms, 10, hour_ms},
                  {"engine.lease_ms", &engine.lease_ms, 100, hour_ms},
                  {"engine.decisions_keep_s", &engine.decisions_keep_s, 1, year_s},
                  {"engine.key_period_s", &engine.key_period_s, 60, year_s},
                  {"engine.keys_keep_s", &engine.keys_keep_s, 86'400, year_s},
                  {"engine.trim", &engine.trim},
              });
}

void saga_rows(std::vector<SettingRow>& rows, SagaSettings& saga) {
  rows.insert(rows.end(), {
                              {"saga.step_tries_max", &saga.step_tries_max, 1, 1000},
                              {"saga.retry_ms_min", &saga.retry_ms_min, 1, hour_ms},
                              {"saga.retry_ms_max", &saga.retry_ms_max, 1, hour_ms},
                              {"saga.stuck_after", &saga.stuck_after, 1, 1'000'000},
                              {"saga.lanes", &saga.lanes, 1, 64},
                              {"saga.running_max", &saga.running_max, 1, 1'000'000},
                              {"saga.reservation_ttl_s", &saga.reservation_ttl_s, 1, year_s},
                              {"saga.barriers_keep_s", &saga.barriers_keep_s, 60, year_s},
                              {"saga.keep_s", &saga.keep_s, 60, year_s},
                          });
}

void database_rows(std::vector<SettingRow>& rows, const std::string& prefix,
                   DatabaseSettings& database) {
  rows.insert(rows.end(),
              {
                  {prefix + ".dsn", &database.dsn, 0, 0, true},
                  {prefix + ".connections_max", &database.connections_max, 1, 1000},
                  {prefix + ".lock_ms_max", &database.lock_ms_max, 1, hour_ms},
                  {prefix + ".statement_ms_max", &database.statement_ms_max, 1, hour_ms},
                  {prefix + ".idle_in_transaction_ms_max", &database.idle_in_transaction_ms_max, 1,
                   hour_ms},
              });
}

void fault_rows(std::vector<SettingRow>& rows, const std::string& prefix, FaultSettings& fault) {
  rows.insert(rows.end(), {
                              {prefix + ".failure_percent", &fault.failure_percent, 0, 100},
                              {prefix + ".delay_ms", &fault.delay_ms, 0, 60'000},
                              {prefix + ".mode", &fault.mode},
                          });
}

void check(bool holds, const std::string& message) {
  if (!holds) throw SettingsError(message);
}

void check_dsn(const std::string& name, const DatabaseSettings& database) {
  std::string variable = "TXCOORD_" + name + ".dsn";
  std::transform(variable.begin(), variable.end(), variable.begin(), [](unsigned char c) {
    return c == '.' ? '_' : static_cast<char>(std::toupper(c));
  });
  check(!database.dsn.empty(),
        name + ".dsn is not set: give the libpq connection string of that database in the " +
            "file, or in " + variable + ", or the name of a file that holds it in " + variable +
            "_FILE");
}

// What can never match anything is a mistake, and keeps somebody out.
void check_names(const HttpSettings& http) {
  check(http.hosts_allowed.find_first_of("/:@?#\t") == std::string::npos,
        "http.hosts_allowed holds names alone, without scheme and port, such as "
        "\"orders.example.com, txcoord\"");
  std::string_view rest = http.origins_allowed;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    std::string_view origin = rest.substr(0, comma);
    while (origin.starts_with(' ')) origin.remove_prefix(1);
    const std::size_t scheme = origin.find("://");
    check(
        scheme != std::string_view::npos && origin.find('/', scheme + 3) == std::string_view::npos,
        "http.origins_allowed holds origins, each a scheme and a host without a path, such as "
        "\"https://shop.example.com\"");
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
  }
}

void check_idle(const std::string& name, const DatabaseSettings& database,
                const EngineSettings& engine) {
  // A branch idles between its vote and its prepare: the server must not end it before our deadline
  // does.
  const std::uint64_t between = std::uint64_t{engine.vote_ms_max} + engine.prepare_ms_max;
  check(database.idle_in_transaction_ms_max > between,
        name + ".idle_in_transaction_ms_max is " +
            std::to_string(database.idle_in_transaction_ms_max) +
            ": it must be above engine.vote_ms_max + engine.prepare_ms_max (" +
            std::to_string(between) + ")");
}

}  // namespace

std::vector<SettingRow> setting_rows(Settings& settings) {
  std::vector<SettingRow> rows = {
      {"coordinator_id", &settings.coordinator_id},
      {"default_mode", &settings.default_mode},
      {"currency", &settings.currency},
      {"log_level", &settings.log_level},
      {"crash_at", &settings.crash_at},
      {"internal_token", &settings.internal_token, 0, 0, true},
  };
  http_rows(rows, settings.http);
  engine_rows(rows, settings.engine);
  saga_rows(rows, settings.saga);
  database_rows(rows, "log", settings.log);
  for (const std::string_view name : participant_names) {
    const std::string prefix = "participants." + std::string(name);
    DatabaseSettings& database = settings.participants[std::string(name)];
    database_rows(rows, prefix, database);
    rows.push_back({prefix + ".url", &database.url});
  }
  for (const std::string_view name : participant_names)
    fault_rows(rows, "faults." + std::string(name), settings.faults[std::string(name)]);
  return rows;
}

void check_settings(const Settings& settings) {
  const auto id_byte = [](unsigned char c) {
    return std::isdigit(c) != 0 || (c >= 'a' && c <= 'z');
  };
  const std::string& id = settings.coordinator_id;
  check(!id.empty() && id.size() <= 8 && std::all_of(id.begin(), id.end(), id_byte),
        "coordinator_id must be 1 to 8 of a-z and 0-9, and different for each coordinator on one "
        "log");
  check(settings.default_mode == "2pc" || settings.default_mode == "saga",
        "default_mode must be 2pc or saga");
  const auto upper = [](unsigned char c) { return c >= 'A' && c <= 'Z'; };
  check(settings.currency.size() == 3 &&
            std::all_of(settings.currency.begin(), settings.currency.end(), upper),
        "currency must be a code of three capital letters, such as JPY");
  const std::string& level = settings.log_level;
  check(level == "debug" || level == "info" || level == "warn" || level == "error",
        "log_level must be debug, info, warn or error");

  const HttpSettings& http = settings.http;
  check(!http.address.empty(),
        "http.address must not be empty: 127.0.0.1, or 0.0.0.0 for every interface");
  check(!http.admin_address.empty(),
        "http.admin_address must not be empty: 127.0.0.1 keeps it on this machine");
  check(http.port != 65535 || http.admin_port != 0,
        "http.port 65535 leaves no port + 1: set http.admin_port");
  check(http.port == 0 || http.port != http.admin_port,
        "http.admin_port must differ from http.port");

  check_names(http);

  const EngineSettings& engine = settings.engine;
  check(engine.unfinished_groups_max >= engine.lanes,
        "engine.unfinished_groups_max must be at least engine.lanes (" +
            std::to_string(engine.lanes) + ")");
  check(engine.keys_keep_s >= engine.key_period_s,
        "engine.keys_keep_s must be at least engine.key_period_s (" +
            std::to_string(engine.key_period_s) + "): keys are dropped a whole period at a time");
  check(engine.lease_ms >= 2 * std::uint64_t{engine.recovery_interval_ms},
        "engine.lease_ms must be at least twice engine.recovery_interval_ms, or a healthy "
        "coordinator loses it");

  check(engine.asking_groups_max <= engine.lanes,
        "engine.asking_groups_max must be at most engine.lanes (" + std::to_string(engine.lanes) +
            ")");
  check(settings.saga.retry_ms_max >= settings.saga.retry_ms_min,
        "saga.retry_ms_max must be at least saga.retry_ms_min (" +
            std::to_string(settings.saga.retry_ms_min) + ")");
  check(settings.saga.keep_s >= settings.saga.barriers_keep_s,
        "saga.keep_s must be at least saga.barriers_keep_s (" +
            std::to_string(settings.saga.barriers_keep_s) + ")");

  for (const auto& [name, fault] : settings.faults) {
    const bool known = fault.mode == "error" || fault.mode == "lost_answer" ||
                       (fault.mode == "refuse" && name != "order") || fault.mode == "down";
    check(known, "faults." + name + ".mode must be error, lost_answer, refuse (not order) or down");
  }

  check_idle("log", settings.log, engine);
  for (const auto& [name, database] : settings.participants)
    check_idle("participants." + name, database, engine);
  check(engine.branch_open_ms_max >= engine.vote_ms_max,
        "engine.branch_open_ms_max must be at least engine.vote_ms_max (" +
            std::to_string(engine.vote_ms_max) + "): other voters may take that long");
}

void check_databases(const Settings& settings, const DatabaseNeeds& needs) {
  if (needs.log) check_dsn("log", settings.log);
  for (const std::string& name : needs.participants) {
    const DatabaseSettings& database = settings.participants.at(name);
    if (!needs.url_will_do || database.url.empty()) check_dsn("participants." + name, database);
  }
}

}  // namespace txcoord::detail
