// `txcoord participant NAME…`: participants as a service of their own, spoken to over the
// participant protocol (docs/participant-protocol.md), with a REST of their own beside it. It
// decides nothing and remembers nothing that is not in its database: it may be killed and started
// at any time.
#include <signal.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "participants/remote/participant_host.hpp"
#include "txcoord/base/logging.hpp"
#include "txcoord/cli/assembly.hpp"
#include "txcoord/cli/command_line.hpp"
#include "txcoord/cli/commands.hpp"
#include "txcoord/http/participant_api.hpp"
#include "txcoord/http/participant_rest.hpp"
#include "txcoord/http/server.hpp"
#include "txcoord/version.hpp"

namespace txcoord::cli {
namespace {

// A group of many operations with many items. REST keeps its own bound.
constexpr std::uint32_t body_bytes_max = 16 * 1024 * 1024;
// Any installation: readiness asks whether the database answers, not what it says.
constexpr const char* nobodys_installation = "00000000";

// As settings for this process: its databases are opened here, whatever url leads to it.
Settings for_participants(Settings settings, const std::vector<std::string>& names) {
  settings.log.dsn.clear();
  for (auto& [name, database] : settings.participants) {
    database.url.clear();
    if (std::ranges::find(names, name) == names.end()) database.dsn.clear();
  }
  settings.http.body_bytes_max = body_bytes_max;
  return settings;
}

class ParticipantProgram {
 public:
  ParticipantProgram(asio::io_context& context, const Settings& settings,
                     std::uint32_t rest_body_bytes_max, const std::vector<std::string>& names)
      : context_(context),
        services_(make_services(context.get_executor(), settings, metrics_)),
        hosted_(hosted(names)),
        host_(context.get_executor(), hosted_,
              std::chrono::milliseconds(settings.engine.branch_open_ms_max)),
        rest_(context.get_executor(), hosted_, settings, rest_body_bytes_max, metrics_,
              [this] { return health(); }),
        api_(host_, metrics_, settings.http, settings.internal_token, &rest_.handler()),
        server_(context.get_executor(), settings.http, api_),
        signals_(context, SIGINT, SIGTERM) {}

  int run() {
    server_.start();
    spawn(host_.sweep());
    signals_.async_wait([this](const boost::system::error_code& error, int) {
      if (!error) stop();
    });
    context_.run();
    return exit_ok;
  }

 private:
  std::map<std::string, remote::Hosted, std::less<>> hosted(
      const std::vector<std::string>& names) const {
    const std::map<std::string, remote::Hosted> all = {
        {"order",
         {.participant = services_.order.participant.get(),
          .orders = services_.order.service.get()}},
        {"inventory",
         {.participant = services_.inventory.participant.get(),
          .inventory = services_.inventory.service.get()}},
        {"payment",
         {.participant = services_.payment.participant.get(),
          .payments = services_.payment.service.get(),
          .cards = services_.payment.settlement.get()}},
        {"shipping",
         {.participant = services_.shipping.participant.get(),
          .shipping = services_.shipping.service.get()}}};
    std::map<std::string, remote::Hosted, std::less<>> chosen;
    for (const std::string& name : names) chosen[name] = all.at(name);
    return chosen;
  }

  asio::awaitable<std::vector<http::DatabaseHealth>> health() {
    std::vector<http::DatabaseHealth> databases;
    for (const auto& [name, hosted] : hosted_) {
      auto asking = hosted.participant->log_seen(nobodys_installation);
      const auto answer = co_await std::move(asking);
      databases.push_back({name, answer.ok(), answer.ok() ? "" : answer.failure().message});
    }
    co_return databases;
  }

  // Calls under way are answered, new votes refused; what was voted on and not prepared is rolled
  // back by the servers when its session goes. A second signal does not wait.
  void stop() {
    logging::info("stopping");
    signals_.cancel();
    signals_.async_wait([](const boost::system::error_code& error, int) {
      if (!error) std::_Exit(exit_failed);
    });
    spawn(wind_down());
  }

  asio::awaitable<void> wind_down() {
    host_.stop();
    auto close = server_.drain();
    co_await std::move(close);
    logging::info("stopped");
    context_.stop();
  }

  void spawn(asio::awaitable<void> work) {
    asio::co_spawn(context_, std::move(work), [](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);
    });
  }

  asio::io_context& context_;
  Metrics metrics_;
  Services services_;
  std::map<std::string, remote::Hosted, std::less<>> hosted_;
  remote::ParticipantHost host_;
  http::ParticipantRest rest_;
  http::ParticipantApi api_;
  http::Server server_;
  asio::signal_set signals_;
};

}  // namespace

int run_participant(const Settings& all, const std::vector<std::string>& names, std::ostream& err) {
  const Settings settings = for_participants(all, names);
  if (!report_preflight(settings, err)) return exit_refused;
  ::signal(SIGPIPE, SIG_IGN);
  logging::start(settings.log_level);
  for (const std::string& name : names) {
    logging::info("starting a participant", {{"version", version},
                                             {"participant", std::string_view(name)},
                                             {"port", std::int64_t{settings.http.port}}});
  }
  asio::io_context context(1);
  ParticipantProgram program(context, settings, all.http.body_bytes_max, names);
  return program.run();
}

}  // namespace txcoord::cli
