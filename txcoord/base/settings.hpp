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
  // Names, beside localhost and addresses, under which clients call; comma-separated, "*" for any.
  std::string hosts_allowed;
  // Origins whose web pages may call ("https://shop.example"); comma-separated. Empty: none.
  std::string origins_allowed;
  std::uint32_t connections_max = 6000;           // of the REST port
  std::uint32_t connections_per_peer_max = 3000;  // of these
  std::uint32_t admin_connections_max = 128;      // of the admin port; half of them for one peer
  std::uint32_t header_bytes_max = 8 * 1024;
  std::uint32_t body_bytes_max = 64 * 1024;
  std::uint32_t header_read_ms_max = 5000;
  std::uint32_t body_read_ms_max = 10000;
  std::uint32_t idle_ms_max = 30000;
  std::uint32_t write_ms_max = 10000;
  std::uint32_t request_wait_ms_max = 5000;  // then 202 + Location
  std::uint32_t read_wait_ms_max = 1800;     // a database's answer to a GET or PUT; then 503
  // SIGTERM: how long to go on working while /readyz says no, so that a load balancer looks
  // elsewhere before anything is refused here. Above the time that its checks need.
  std::uint32_t lame_duck_ms = 1000;
  std::uint32_t drain_ms_max = 10000;  // then: how long to finish what is under way
};

struct EngineSettings {
  std::uint32_t group_operations_max = 128;
  std::uint32_t group_rows_max = 2000;  // order items in one group
  std::uint32_t lanes = 2;              // groups under way at once, before their commit phase
  // Groups that ask for locks at once. With more than one, the voters are asked one after the other
  // in one order, so that no cycle of waits over databases is possible.
  std::uint32_t asking_groups_max = 1;
  std::uint32_t queue_operations_max = 20000;
  std::uint32_t unfinished_groups_max =
      24;  // decided or aborted, not yet finished: below the prepared slots
  std::uint32_t vote_ms_max = 1500;
  std::uint32_t prepare_ms_max = 2000;
  // A participant that is a service of its own: a branch that was voted on, and then neither
  // prepared nor released for so long, is released: its coordinator is gone.
  std::uint32_t branch_open_ms_max = 10000;
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

// Sagas, and orders that were accepted before they are tried (Prefer: respond-async).
struct SagaSettings {
  std::uint32_t step_tries_max = 3;  // of a synchronous saga's step; then it is compensated
  std::uint32_t retry_ms_min = 200;  // before the second try; doubles, with jitter
  std::uint32_t retry_ms_max = 10000;
  std::uint32_t stuck_after = 10;     // failures of what must succeed, until a person is called
  std::uint32_t lanes = 1;            // batches under way at once, at each participant and the log
  std::uint32_t running_max = 20000;  // sagas under way in this process
  std::uint32_t reservation_ttl_s = 300;  // then its stock frees itself, and the order fails
  std::uint32_t barriers_keep_s = 600;    // after a saga's end: above all time a late step may take
  std::uint32_t keep_s = 86400;           // after a saga's end: its record and history
};

struct DatabaseSettings {
  std::string dsn;  // may hold a password: never logged
  // Participants only: a service of its own (docs/participant-protocol.md). Then this process does
  // not open its database; a dsn beside it is for `migrate` and `audit`.
  std::string url;
  std::uint32_t connections_max = 8;
  std::uint32_t lock_ms_max = 1200;  // above decide + commit of the group before
  std::uint32_t statement_ms_max = 3000;
  std::uint32_t idle_in_transaction_ms_max = 15000;
};

// A fault that a participant suffers from the start, for drills; the admin port changes it.
struct FaultSettings {
  std::uint32_t failure_percent = 0;
  std::uint32_t delay_ms = 0;
  std::string mode = "error";  // error, lost_answer, refuse, down
};

struct Settings {
  std::string coordinator_id = "c1";
  std::string default_mode = "2pc";
  std::string currency = "JPY";
  std::string log_level = "info";
  std::string crash_at;        // TXCOORD_CRASH_AT=point[:nth]: SIGKILL to itself there; for drills
  std::string internal_token;  // between coordinators and participant services; empty: none
  HttpSettings http;
  EngineSettings engine;
  SagaSettings saga;
  DatabaseSettings log;
  std::map<std::string, DatabaseSettings> participants;  // order, inventory, payment, shipping
  std::map<std::string, FaultSettings> faults;           // the same
};

// Names the setting at fault and what to do about it; never holds a value that may be secret.
class SettingsError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Which databases a command cannot do without.
struct DatabaseNeeds {
  bool log = true;
  std::vector<std::string> participants = {"order", "inventory", "payment", "shipping"};
  bool url_will_do = true;  // in place of a participant's dsn
};

// `toml_file` may be empty: no file. `flags` and the file use the names above ("http.port",
// "participants.order.dsn"). Throws SettingsError.
Settings load_settings(const std::filesystem::path& toml_file,
                       const std::map<std::string, std::string>& flags,
                       const DatabaseNeeds& needs = {});

// For `txcoord config`: every setting with its value, passwords hidden.
std::string describe(const Settings& settings);

}  // namespace txcoord
