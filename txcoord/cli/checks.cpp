// See checks.hpp.
#include "txcoord/cli/checks.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <functional>
#include <iterator>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "participants/pg_pools.hpp"
#include "participants/remote/http_link.hpp"
#include "txcoord/base/dsn.hpp"
#include "txcoord/base/logging.hpp"
#include "txcoord/cli/assembly.hpp"
#include "txcoord/cli/command_line.hpp"
#include "txcoord/engine/crash_points.hpp"
#include "txcoord/log/pg_lost_saga_log.hpp"
#include "txcoord/log/pg_saga_log.hpp"
#include "txcoord/log/pg_transaction_log.hpp"
#include "txcoord/pg/preflight.hpp"

namespace txcoord::cli {
namespace {

// Any installation: the question is whether the service answers, not what it says.
constexpr const char* nobodys_installation = "00000000";
constexpr std::uint32_t service_answer_ms_max = 1000;

bool is_address(const std::string& text, boost::asio::ip::address& address) {
  boost::system::error_code error;
  address = boost::asio::ip::make_address(text, error);
  return !error;
}

// --- settings: what cannot work, whatever the databases are like --------------------------------

void check_addresses(const HttpSettings& http, Checks& checks) {
  boost::asio::ip::address address;
  if (!is_address(http.address, address))
    checks.wrong_settings.push_back(
        "http.address is not an IP address: 127.0.0.1, or 0.0.0.0 for every interface");
  if (!is_address(http.admin_address, address))
    checks.wrong_settings.push_back(
        "http.admin_address is not an IP address: 127.0.0.1 keeps it on this machine");
}

void check_texts(const Settings& settings, Checks& checks) {
  try {
    const engine::CrashPoints crash(settings.crash_at);
  } catch (const std::invalid_argument& wrong) {
    checks.wrong_settings.push_back(std::string("crash_at: ") + wrong.what());
  }
  const auto dsn = [&checks](const std::string& name, const DatabaseSettings& database) {
    if (!parse_dsn(database.dsn))
      checks.wrong_settings.push_back(
          name +
          ".dsn is not a valid libpq connection string (its text is not shown: it may hold a "
          "password). In a URI, a password's @ : / ? % # must be percent-encoded");
  };
  dsn("log", settings.log);
  for (const auto& [name, database] : settings.participants) {
    dsn("participants." + name, database);
    if (database.url.empty()) continue;
    try {
      remote::parse_url(database.url);
    } catch (const std::invalid_argument& wrong) {
      checks.wrong_settings.push_back("participants." + name + ".url: " + wrong.what());
    }
  }
}

// --- databases ----------------------------------------------------------------------------------

std::size_t log_sessions_max(const Settings& settings) {
  return pg_transaction_log_sessions_max(settings) + pg_saga_log_sessions_max(settings) +
         pg_lost_saga_log_sessions_max;
}

std::vector<pg::DatabaseCheck> databases_of(const Settings& settings, CheckedFor purpose) {
  const bool serving = purpose == CheckedFor::serving;
  std::vector<pg::DatabaseCheck> databases;
  if (!settings.log.dsn.empty())
    databases.push_back({"log", settings.log, 0, log_sessions_max(settings), serving});
  for (const auto& [name, database] : settings.participants) {
    if (database.dsn.empty() || (serving && !database.url.empty())) continue;
    const std::size_t cards = name == "payment" ? card_sessions : 0;
    databases.push_back({name, database, settings.engine.unfinished_groups_max,
                         pool_sessions_max(database) + cards, serving});
  }
  return databases;
}

void check_databases(const Settings& settings, CheckedFor purpose, Checks& checks) {
  pg::PreflightReport report = pg::preflight(databases_of(settings, purpose));
  const auto move = [](std::vector<std::string>& from, std::vector<std::string>& to) {
    std::ranges::move(from, std::back_inserter(to));
  };
  move(report.good, checks.good);
  move(report.refusals, checks.wrong_databases);
  move(report.warnings, checks.warnings);
  checks.unseen += report.unseen;
}

// --- services behind URLs -----------------------------------------------------------------------

// The same call that a coordinator begins with: it needs the service, its database and the token.
asio::awaitable<void> ask(Participant& participant, Checks& checks) {
  const std::string name(participant.name());
  auto asking = participant.log_seen(nobodys_installation);
  const auto answer = co_await std::move(asking);
  if (answer.ok()) {
    checks.good.push_back(name + ": the service answers");
    co_return;
  }
  checks.warnings.push_back(name + ": its service could not be asked (" +
                            words_for_anybody(answer.failure()) +
                            "); its url and internal_token must be right on both sides");
  ++checks.unseen;
}

void check_services(Settings settings, Checks& checks) {
  const bool apart = std::ranges::any_of(
      settings.participants, [](const auto& entry) { return !entry.second.url.empty(); });
  if (!apart) return;
  settings.engine.commit_ms_max = service_answer_ms_max;
  boost::asio::io_context context(1);
  Metrics metrics;
  const Services services = make_services(context.get_executor(), settings, metrics);
  std::size_t asked = 0;
  for (Participant* participant : participants_of(services)) {
    if (!services.remote.contains(std::string(participant->name()))) continue;
    ++asked;
    boost::asio::co_spawn(context, ask(*participant, checks), [&](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);
      if (--asked == 0) context.stop();
    });
  }
  context.run();
}

}  // namespace

int Checks::exit_code() const {
  if (!wrong_settings.empty()) return exit_usage;
  return wrong_databases.empty() ? exit_ok : exit_refused;
}

Checks check(const Settings& settings, CheckedFor purpose) {
  Checks checks;
  check_addresses(settings.http, checks);
  check_texts(settings, checks);
  // What follows would fail with them, and say less.
  if (!checks.wrong_settings.empty()) return checks;
  checks.good.emplace_back("settings");
  check_databases(settings, purpose, checks);
  if (purpose == CheckedFor::serving) check_services(settings, checks);
  return checks;
}

void report(const Checks& checks, std::ostream& err) {
  for (const auto& warning : checks.warnings) err << "txcoord: warning: " << warning << "\n";
  for (const auto& wrong : checks.wrong_settings) err << "txcoord: refused: " << wrong << "\n";
  for (const auto& wrong : checks.wrong_databases) err << "txcoord: refused: " << wrong << "\n";
}

void tell(const Checks& checks) {
  std::ostringstream said;
  report(checks, said);
  logging::tell(said.str());
}

}  // namespace txcoord::cli
