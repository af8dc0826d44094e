// `txcoord serve`: the coordinator, its participants (here or behind URLs) and the REST API, wired
// together.
#include <signal.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdlib>
#include <random>

#include "participants/faulty_participant.hpp"
#include "txcoord/base/logging.hpp"
#include "txcoord/cli/assembly.hpp"
#include "txcoord/cli/command_line.hpp"
#include "txcoord/cli/commands.hpp"
#include "txcoord/engine/coordinator.hpp"
#include "txcoord/engine/lost_sagas.hpp"
#include "txcoord/engine/reservation_expirer.hpp"
#include "txcoord/http/dispatch.hpp"
#include "txcoord/http/server.hpp"
#include "txcoord/log/pg_lost_saga_log.hpp"
#include "txcoord/log/pg_saga_log.hpp"
#include "txcoord/log/pg_transaction_log.hpp"
#include "txcoord/metrics/metrics.hpp"
#include "txcoord/version.hpp"

namespace txcoord::cli {
namespace {

constexpr std::chrono::seconds cards_settled_every{1};
constexpr std::chrono::seconds cards_settled_every_max{8};  // while the payment database is away
const engine::RecoveryIdentity nobody;

// Everything that serves, wired together. Lives as long as the I/O context runs.
class Program {
 public:
  Program(asio::io_context& context, const Settings& settings)
      : context_(context),
        settings_(settings),
        crash_(settings.crash_at),
        services_(make_services(context.get_executor(), settings, metrics_)),
        faults_(make_faults()),
        log_(make_pg_transaction_log(context.get_executor(), settings, &metrics_)),
        saga_log_(make_pg_saga_log(context.get_executor(), settings, &metrics_)),
        lost_log_(make_pg_lost_saga_log(context.get_executor(), settings)),
        coordinator_(context.get_executor(), settings, faulty_participants(), *log_, *saga_log_,
                     crash_, metrics_, [this](const std::string&) { stop(exit_fenced); }),
        lost_sagas_(context.get_executor(), settings, faulty_participants(),
                    {*services_.order.service, *services_.inventory.service,
                     *services_.payment.service, *services_.shipping.service},
                    *lost_log_, metrics_,
                    [this] { return coordinator_.ready() ? coordinator_.identity() : nobody; }),
        expirer_(
            context.get_executor(), *services_.order.service, *services_.inventory.service,
            metrics_,
            [this](std::vector<std::string> order_ids) {
              return lost_sagas_.paid_and_lost(std::move(order_ids));
            },
            [this](const std::string& order_id) { coordinator_.reservation_expired(order_id); }),
        dispatcher_(
            context.get_executor(),
            {coordinator_, *services_.order.service, *services_.inventory.service,
             *services_.payment.service, *services_.shipping.service, *log_, *saga_log_, *lost_log_,
             lost_sagas_, metrics_, settings, faults_by_name(), breakers_of(services_)}),
        server_(context.get_executor(), settings.http, dispatcher_),
        signals_(context, SIGINT, SIGTERM),
        card_clock_(context),
        lame_duck_(context) {}

  int run() {
    server_.start();
    spawn(coordinator_.start());
    spawn(settle_cards());
    spawn(expirer_.run());
    coordinator_.on_log_went_back([this] { lost_sagas_.search(); });
    lost_sagas_.before_trim([this] { return coordinator_.raise_for_trim(); });
    spawn(lost_sagas_.run());
    signals_.async_wait([this](const boost::system::error_code& error, int) {
      if (!error) stop(exit_ok);
    });
    context_.run();
    return exit_code_;
  }

 private:
  // What a fault set on purpose goes through; without one it does nothing.
  std::map<std::string, std::unique_ptr<FaultyParticipant>> make_faults() {
    std::map<std::string, std::unique_ptr<FaultyParticipant>> made;
    for (Participant* participant : participants_of(services_)) {
      const std::string name(participant->name());
      made[name] = std::make_unique<FaultyParticipant>(*participant, std::random_device{}());
      const FaultSettings& fault = settings_.faults.at(name);
      const bool active = fault.failure_percent > 0 || fault.delay_ms > 0 || fault.mode == "down";
      metrics_.fault_active(name, active);
      if (!active) continue;
      made[name]->set(ParticipantFaults{fault.failure_percent / 100.0,
                                        std::chrono::milliseconds(fault.delay_ms),
                                        parse_fault_mode(fault.mode).value()});
      logging::warn("a fault is set on purpose, by configuration",
                    {{"participant", std::string_view(name)}});
    }
    return made;
  }
  std::vector<Participant*> faulty_participants() const {
    std::vector<Participant*> participants;
    participants.reserve(faults_.size());
    for (const auto& [name, participant] : faults_) participants.push_back(participant.get());
    return participants;
  }
  std::map<std::string, FaultyParticipant*> faults_by_name() const {
    std::map<std::string, FaultyParticipant*> named;
    for (const auto& [name, participant] : faults_) named[name] = participant.get();
    return named;
  }

  // Say so, refuse new work, finish what is decided, go. A second signal does not wait.
  void stop(int exit_code) {
    if (std::exchange(stopping_, true)) return;
    exit_code_ = exit_code;
    logging::info("stopping", {{"exit_code", static_cast<std::int64_t>(exit_code)}});
    signals_.cancel();
    signals_.async_wait([](const boost::system::error_code& error, int) {
      if (!error) std::_Exit(exit_failed);
    });
    spawn(wind_down());
  }

  asio::awaitable<void> wind_down() {
    const std::chrono::milliseconds wait_max(settings_.http.drain_ms_max);
    if (exit_code_ == exit_ok) {
      auto duck = be_lame_duck();
      co_await std::move(duck);
    }
    expirer_.stop();
    lost_sagas_.stop();
    auto drain = coordinator_.drain(wait_max);
    co_await std::move(drain);
    auto close = server_.drain();
    co_await std::move(close);
    logging::info("stopped");
    context_.stop();
  }

  // Working on while /readyz says 503: nobody is refused because a load balancer does not know yet.
  // A fenced coordinator has nothing to give.
  asio::awaitable<void> be_lame_duck() {
    coordinator_.leave();
    server_.close_after_answers();
    lame_duck_.expires_after(std::chrono::milliseconds(settings_.http.lame_duck_ms));
    boost::system::error_code ignored;
    auto token = asio::redirect_error(asio::use_awaitable, ignored);
    co_await lame_duck_.async_wait(token);
  }

  // Whatever else is away: captures and reversals need the payment database alone. Only to void
  // what nobody used, the log is asked; if it does not answer, that waits.
  asio::awaitable<void> settle_cards() {
    GlobalStates states = [this](std::vector<protocol::Gid> gids) {
      return coordinator_.global_states(std::move(gids));
    };
    auto pause = cards_settled_every;
    for (;;) {
      card_clock_.expires_after(pause);
      auto token = asio::use_awaitable;
      co_await card_clock_.async_wait(token);
      if (coordinator_.draining()) co_return;
      auto settle = services_.payment.settlement->settle_cards(states);
      const auto report = co_await std::move(settle);
      const bool away = !report && report.failure().kind == FailureKind::unavailable;
      pause = away ? std::min(2 * pause, cards_settled_every_max) : cards_settled_every;
      if (!report && !away)
        logging::warn("card settlement failed",
                      {{"failure", to_string(report.failure().kind)},
                       {"error", std::string_view(report.failure().message)}});
    }
  }

  void spawn(asio::awaitable<void> work) {
    asio::co_spawn(context_, std::move(work), [](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);
    });
  }

  asio::io_context& context_;
  const Settings& settings_;
  Metrics metrics_;
  engine::CrashPoints crash_;
  Services services_;
  std::map<std::string, std::unique_ptr<FaultyParticipant>> faults_;
  std::unique_ptr<TransactionLog> log_;
  std::unique_ptr<SagaLog> saga_log_;
  std::unique_ptr<LostSagaLog> lost_log_;
  engine::Coordinator coordinator_;
  engine::LostSagas lost_sagas_;
  engine::ReservationExpirer expirer_;
  http::Dispatcher dispatcher_;
  http::Server server_;
  asio::signal_set signals_;
  asio::steady_timer card_clock_, lame_duck_;
  bool stopping_ = false;
  int exit_code_ = exit_ok;
};

}  // namespace

int run_serve(const Settings& settings, std::ostream& err) {
  if (!report_preflight(settings, err)) return exit_refused;
  ::signal(SIGPIPE, SIG_IGN);
  logging::start(settings.log_level);
  logging::info("starting", {{"version", version},
                             {"coordinator", std::string_view(settings.coordinator_id)},
                             {"port", static_cast<std::int64_t>(settings.http.port)}});
  asio::io_context context(1);
  Program program(context, settings);
  return program.run();
}

}  // namespace txcoord::cli
