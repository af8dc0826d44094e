// A libpq session for libpqxx 7.8 to 7.10. We open the PGconn ourselves and let libpqxx seize it:
// libpqxx shows neither the transaction status nor a connect that ends at a deadline in
// milliseconds.
#include "txcoord/pg/session.hpp"

#include <poll.h>
#if __has_include(<libpq-fe.h>)
#include <libpq-fe.h>
#else
#include <postgresql/libpq-fe.h>  // Debian's and Ubuntu's place
#endif

#include <algorithm>
#include <cerrno>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "txcoord/pg/session_parameters.hpp"

namespace txcoord::pg {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// How often a connect that waits for a silent server looks whether it was given up.
constexpr milliseconds give_up_poll{50};

std::string server_options(const SessionSettings& settings) {
  std::string options;
  for (const auto& [name, value] : session_parameters(settings)) {
    if (!options.empty()) options += ' ';
    options += "-c " + name + "=" + value;
  }
  return options;
}

// The DSN's own parameters, with ours over them. Throws ConnectFailure.
std::map<std::string, std::string> connection_parameters(const std::string& dsn,
                                                         const SessionSettings& settings) {
  char* error = nullptr;
  PQconninfoOption* const parsed = PQconninfoParse(dsn.c_str(), &error);
  if (parsed == nullptr) {
    PQfreemem(error);  // quotes the DSN, which may hold a password
    throw ConnectFailure("the DSN is not a valid libpq connection string");
  }
  std::map<std::string, std::string> parameters;
  for (const PQconninfoOption* option = parsed; option->keyword != nullptr; ++option)
    if (option->val != nullptr) parameters[option->keyword] = option->val;
  PQconninfoFree(parsed);

  const auto add_default = [&](const char* key, const char* value) {
    parameters.emplace(key, value);
  };
  add_default("keepalives", "1");
  add_default("keepalives_idle", "5");
  add_default("keepalives_interval", "2");
  add_default("keepalives_count", "3");
  add_default("tcp_user_timeout", "10000");
  parameters["application_name"] = settings.application_name;
  std::string& options = parameters["options"];
  if (!options.empty()) options += ' ';
  options += server_options(settings);  // later ones win
  return parameters;
}

using RawConnection = std::unique_ptr<PGconn, decltype(&PQfinish)>;

[[noreturn]] void fail_connect(PGconn* connection, const char* otherwise) {
  const char* const message = PQerrorMessage(connection);
  throw ConnectFailure(message != nullptr && *message != '\0' ? message : otherwise);
}

// Waits until the socket is ready. False when the time is up or the caller gave up.
bool wait_for_socket(int socket, short events, Clock::time_point deadline,
                     const std::atomic<bool>* give_up) {
  while (give_up == nullptr || !give_up->load()) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return false;
    pollfd descriptor{socket, events, 0};
    const int ready =
        ::poll(&descriptor, 1, static_cast<int>(std::min(left, give_up_poll).count()));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
  return false;
}

RawConnection connect(const std::string& dsn, const SessionSettings& settings, milliseconds timeout,
                      const std::atomic<bool>* give_up) {
  const auto deadline = Clock::now() + timeout;
  const auto parameters = connection_parameters(dsn, settings);
  std::vector<const char*> keys, values;
  for (const auto& [key, value] : parameters) {
    keys.push_back(key.c_str());
    values.push_back(value.c_str());
  }
  keys.push_back(nullptr);
  values.push_back(nullptr);

  RawConnection connection(PQconnectStartParams(keys.data(), values.data(), /*expand_dbname=*/0),
                           &PQfinish);
  if (connection == nullptr) throw ConnectFailure("out of memory");
  if (PQstatus(connection.get()) == CONNECTION_BAD)
    fail_connect(connection.get(), "connection failed");
  PostgresPollingStatusType status = PGRES_POLLING_WRITING;
  while (status != PGRES_POLLING_OK) {
    const short events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT;
    if (!wait_for_socket(PQsocket(connection.get()), events, deadline, give_up))
      throw ConnectFailure("the server did not answer in time");
    status = PQconnectPoll(connection.get());
    if (status == PGRES_POLLING_FAILED) fail_connect(connection.get(), "connection failed");
  }
  // PQconnectStart leaves the socket blocking for PQexec: what follows blocks, as pool.hpp
  // expects.
  return connection;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> session_parameters(
    const SessionSettings& settings) {
  const auto ms = [](milliseconds value) { return std::to_string(value.count()); };
  std::vector<std::pair<std::string, std::string>> parameters{
      {"lock_timeout", ms(settings.lock_timeout)},
      {"statement_timeout", ms(settings.statement_timeout)},
      {"idle_in_transaction_session_timeout", ms(settings.idle_in_transaction_timeout)},
      {"client_connection_check_interval", ms(settings.client_connection_check_interval)},
      {"jit", "off"},
      {"TimeZone", "UTC"},
      {"DateStyle", "ISO"},
      {"client_encoding", "UTF8"},
      {"standard_conforming_strings", "on"},
      // A role or a database may carry synchronous_commit=off: a commit would be acknowledged
      // before its flush (I2).
      {"synchronous_commit", "on"}};
  if (settings.planning == Planning::each_execution) {
    parameters.emplace_back("plan_cache_mode", "force_custom_plan");
    return parameters;
  }
  parameters.emplace_back("plan_cache_mode", "force_generic_plan");
  for (const char* node : {"enable_seqscan", "enable_hashjoin", "enable_mergejoin"})
    parameters.emplace_back(node, "off");
  return parameters;
}

class Session::Impl {
 public:
  Impl(const std::string& dsn, const SessionSettings& settings, milliseconds connect_timeout,
       const std::atomic<bool>* give_up)
      : Impl(pg::connect(dsn, settings, connect_timeout, give_up)) {}

  explicit Impl(RawConnection connection)
      : raw(connection.get()),
        wrapped(std::make_unique<pqxx::connection>(
            pqxx::connection::seize_raw_connection(connection.release()))) {
    // Notices ("there is no transaction in progress") may quote data: not for our stderr.
    PQsetNoticeProcessor(
        raw, [](void*, const char*) {}, nullptr);
  }

  PGconn* raw;  // owned by `wrapped`
  std::unique_ptr<pqxx::connection> wrapped;
  std::unordered_map<std::string_view, std::string_view> prepared;  // name to SQL, both static
};

Session::Session(const std::string& dsn, const SessionSettings& settings,
                 milliseconds connect_timeout, const std::atomic<bool>* give_up)
    : impl_(std::make_unique<Impl>(dsn, settings, connect_timeout, give_up)) {}

Session::~Session() = default;

pqxx::result Session::exec_simple(std::string_view sql) {
  // nontransaction adds no BEGIN or COMMIT of its own; what is open stays as the SQL leaves it.
  pqxx::nontransaction statement(*impl_->wrapped);
  return statement.exec(sql);
}

pqxx::result Session::exec_params(const Statement& statement, const pqxx::params& parameters) {
  const auto known = impl_->prepared.find(statement.name);
  if (known == impl_->prepared.end()) {
    impl_->wrapped->prepare(statement.name, statement.sql);
    impl_->prepared.emplace(statement.name, statement.sql);
  } else if (known->second != statement.sql) {
    throw pqxx::usage_error(std::string("two statements share the name ") + statement.name);
  }
  pqxx::nontransaction call(*impl_->wrapped);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"  // its heir exists from 7.10 only
  return call.exec_prepared(statement.name, parameters);
#pragma GCC diagnostic pop
}

std::string Session::quote(std::string_view text) { return impl_->wrapped->quote(text); }

int Session::socket() const { return PQsocket(impl_->raw); }

int Session::backend_pid() const { return PQbackendPID(impl_->raw); }

bool Session::in_transaction() const {
  const auto status = PQtransactionStatus(impl_->raw);
  return status == PQTRANS_INTRANS || status == PQTRANS_INERROR || status == PQTRANS_ACTIVE;
}

bool Session::usable() const { return PQstatus(impl_->raw) == CONNECTION_OK; }

bool Session::still_connected() const {
  if (!usable()) return false;
  // An idle session has nothing to read. What can be read is its end, or a change of a setting:
  // reconnecting is right for the first and cheap for the second.
  pollfd descriptor{socket(), POLLIN, 0};
  return ::poll(&descriptor, 1, 0) == 0;
}

}  // namespace txcoord::pg
