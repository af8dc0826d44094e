// Every setting, with its unit in its name and its default. Loaded once (settings_load.cpp):
// flag, then TXCOORD_* environment, then the TOML file, then the default here. Nobody else reads
// the environment. A setting `a.b_c` in TOML is the variable TXCOORD_A_B_C; any of them with
// `_FILE` appended names a file that holds the value (for secrets). TXCOORD_PORT and
// TXCOORD_ADMIN_PORT are short for TXCOORD_HTTP_PORT and TXCOORD_HTTP_ADMIN_PORT.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace txcoord {

struct HttpSettings {
  std::string address = "127.0.0.1";
  std::uint16_t port = 8080;
  std::string admin_address = "127.0.0.1";
  std::uint16_t admin_port = 0;  // 0: port + 1
  std::uint32_t connections_max = 6000;
  std::uint32_t connections_per_peer_max = 6000;
  std::uint32_t header_bytes_max = 8 * 1024;
  std::uint32_t body_bytes_max = 64 * 1024;
  std::uint32_t header_read_ms_max = 5000;
  std::uint32_t body_read_ms_max = 10000;
  std::uint32_t idle_ms_max = 30000;
  std::uint32_t write_ms_max = 10000;
  std::uint32_t request_wait_ms_max = 5000;  // then 202 + Location
  std::uint32_t read_wait_ms_max = 1800;     // a database's answer to a GET or PUT; then 503
  std::uint32_t drain_ms_max = 10000;        // SIGTERM: how long to finish what is under way
};

struct EngineSettings {
  std::uint32_t group_operations_max = 128;
  std::uint32_t group_rows_max = 2000;  // order items in one group
  std::uint32_t lanes = 2;              // groups under way at once, before their commit phase
  std::uint32_t queue_operations_max = 20000;
  std::uint32_t unfinished_groups_max =
      24;  // decided or aborted, not yet finished: below the prepared slots
  std::uint32_t vote_ms_max = 1500;
  std::uint32_t prepare_ms_max = 2000;
  std::uint32_t decide_ms_max = 3000;
  std::uint32_t commit_ms_max = 2000;      // one try; retried until done
  std::uint32_t queue_wait_ms_max = 1500;  // an operation that waited longer gets 503
  std::uint32_t conflict_retries_max = 5;  // deadlock, lock_timeout: whole group again
  std::uint32_t recovery_interval_ms = 1000;
  std::uint32_t lease_ms = 5000;        // a coordinator silent for longer may be taken over
  std::uint32_t decisions_keep_s = 60;  // complete decisions, before they are deleted
  std::uint32_t key_period_s = 86400;
  std::uint32_t keys_keep_s = 172800;  // ≥ 24 h
  bool trim = true;                    // off for audits of I1, I3, I4
};

struct DatabaseSettings {
  std::string dsn;  // may hold a password: never logged
  std::uint32_t connections_max = 8;
  std::uint32_t lock_ms_max = 1200;  // above decide + commit of the group before
  std::uint32_t statement_ms_max = 3000;
  std::uint32_t idle_in_transaction_ms_max = 15000;
};

struct Settings {
  std::string coordinator_id = "c1";
  std::string default_mode = "2pc";
  std::string currency = "JPY";
  std::string log_level = "info";
  std::string crash_at;  // TXCOORD_CRASH_AT=point[:nth]: SIGKILL to itself there; for drills
  HttpSettings http;
  EngineSettings engine;
  DatabaseSettings log;
  std::map<std::string, DatabaseSettings> participants;  // order, inventory, payment, shipping
};

// Names the setting at fault and what to do about it; never holds a value that may be secret.
class SettingsError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// `toml_file` may be empty: no file. `flags` and the file use the names above ("http.port",
// "participants.order.dsn"). Throws SettingsError.
Settings load_settings(const std::filesystem::path& toml_file,
                       const std::map<std::string, std::string>& flags);

// For `txcoord config`: every setting with its value, passwords hidden.
std::string describe(const Settings& settings);

}  // namespace txcoord
