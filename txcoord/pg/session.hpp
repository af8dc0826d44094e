// One libpq session: the only place that knows which libpqxx version is underneath.
// Not thread-safe: belongs to one worker thread (see pool.hpp).
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <pqxx/pqxx>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "txcoord/pg/array.hpp"
#include "txcoord/pg/connect.hpp"

namespace txcoord::pg {

// A named SQL statement. The name is in logs and metrics; it is prepared under that name on first
// use in each session. Both texts must be static. Declare as `constexpr Statement
// lock_stock{"inventory_lock_stock", R"(…)"};`
struct Statement {
  const char* name;
  const char* sql;
};

// When PostgreSQL plans a prepared statement.
enum class Planning {
  // For each execution, from its parameters. For statements whose right plan depends on them.
  each_execution,
  // Once in a session, and again when the table's statistics change. For statements that reach
  // every row by a key: planning them costs more than running them. Sequential scans and hash and
  // merge joins are ruled out, because a plan that is made on an empty table would choose them.
  once,
};

// Zero means no limit, as in PostgreSQL.
struct SessionSettings {
  std::chrono::milliseconds lock_timeout{3000};       // above decide + commit of the group before
  std::chrono::milliseconds statement_timeout{5000};  // for each statement only
  std::chrono::milliseconds idle_in_transaction_timeout{15000};  // above the prepare deadline
  std::chrono::milliseconds client_connection_check_interval{
      1000};  // ends a dead client's lock wait
  Planning planning = Planning::each_execution;
  std::string application_name = "txcoord";
};

class Session {
 public:
  // Connects, with keepalives, tcp_user_timeout, jit=off. Throws ConnectFailure, within
  // connect_timeout, over all hosts of the DSN (connect.hpp), or soon after `give_up` becomes true.
  // `names`: whose addresses of hosts are asked for; they are remembered there.
  Session(const std::string& dsn, const SessionSettings& settings,
          std::chrono::milliseconds connect_timeout, const std::atomic<bool>* give_up = nullptr,
          HostNames* names = nullptr);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Runs a prepared statement with parameters (vectors become PostgreSQL arrays).
  template <class... Args>
  pqxx::result exec(const Statement& statement, Args&&... args) {
    pqxx::params parameters;
    (parameters.append(as_parameter(std::forward<Args>(args))), ...);
    return exec_params(statement, parameters);
  }
  // Runs one simple-query string, maybe of several statements: stops at its first error, and
  // returns the last statement's result.
  pqxx::result exec_simple(std::string_view sql);

  std::string quote(std::string_view text);  // as an SQL literal
  int socket() const;                        // for shutdown() by a deadline
  int backend_pid() const;
  bool in_transaction() const;  // as the server last told (PQtransactionStatus); failed ones too
  bool usable() const;          // false once libpq saw the connection break
  // For a session that was left idle: false if the server hung up meanwhile. Does not block.
  bool still_connected() const;

 private:
  template <class Value>
  static decltype(auto) as_parameter(Value&& value) {
    if constexpr (is_vector<std::remove_cvref_t<Value>>)
      return array_text(value);
    else
      return std::forward<Value>(value);
  }
  pqxx::result exec_params(const Statement& statement, const pqxx::params& parameters);
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace txcoord::pg
