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

#include <unordered_map>
#include <utility>
#include <vector>

#include "txcoord/pg/session_parameters.hpp"

namespace txcoord::pg {
namespace {

using std::chrono::milliseconds;

// Blanks and backslashes end a word of the startup parameter `options`.
std::string option(std::string_view name, std::string_view value) {
  std::string text = "-c ";
  text.append(name).append("=");
  for (const char c : value) {
    if (c == ' ' || c == '\\') text.push_back('\\');
    text.push_back(c);
  }
  return text;
}

// The DSN's own parameters, with ours over them. Throws ConnectFailure.
DsnParameters connection_parameters(const std::string& dsn, const SessionSettings& settings) {
  auto parsed = parse_dsn(dsn);
  if (!parsed)
    throw ConnectFailure("the DSN is not a valid libpq connection string", {}, /*wrong_dsn=*/true);
  DsnParameters parameters = std::move(*parsed);
  const auto add_default = [&](const char* key, const char* value) {
    parameters.emplace(key, value);
  };
  add_default("keepalives", "1");
  add_default("keepalives_idle", "5");
  add_default("keepalives_interval", "2");
  add_default("keepalives_count", "3");
  add_default("tcp_user_timeout", "10000");
  parameters["application_name"] = settings.application_name;
  // Of two options the later one wins: the DSN's search_path wins over this one, which a role's
  // never does, and what is asked for wins over the DSN.
  std::string& options = parameters["options"];
  options = option("search_path", R"("$user",public)") + ' ' + options;
  for (const auto& [name, value] : session_parameters(settings))
    options += ' ' + option(name, value);
  return parameters;
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
      {"synchronous_commit", "on"},
      // The same of what else they may carry and would change what our statements mean.
      {"default_transaction_isolation", "read committed"},
      {"default_transaction_deferrable", "off"},
      {"row_security", "on"},
      {"idle_session_timeout", "0"},
      {"IntervalStyle", "postgres"},
      {"bytea_output", "hex"},
      {"array_nulls", "on"},
      {"transform_null_equals", "off"}};
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
  explicit Impl(RawConnection connection)
      : raw(connection.get()),
        wrapped(std::make_unique<pqxx::connection>(
            pqxx::connection::seize_raw_connection(connection.release()))) {
    // libpqxx sets one of its own: notices ("there is no transaction in progress") may quote data,
    // and are not for our stderr.
    PQsetNoticeProcessor(
        raw, [](void*, const char*) {}, nullptr);
  }

  PGconn* raw;  // owned by `wrapped`
  std::unique_ptr<pqxx::connection> wrapped;
  std::unordered_map<std::string_view, std::string_view> prepared;  // name to SQL, both static
};

Session::Session(const std::string& dsn, const SessionSettings& settings,
                 milliseconds connect_timeout, const std::atomic<bool>* give_up, HostNames* names) {
  const auto deadline = std::chrono::steady_clock::now() + connect_timeout;
  HostNames own_names;
  impl_ = std::make_unique<Impl>(connect(connection_parameters(dsn, settings), deadline, give_up,
                                         names != nullptr ? *names : own_names));
}

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
