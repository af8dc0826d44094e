// The coordinator's background loops: start, lease, queue clock, log trimming, gauges, drain.
#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "txcoord/base/logging.hpp"
#include "txcoord/engine/backoff.hpp"
#include "txcoord/engine/coordinator.hpp"

namespace txcoord::engine {
namespace {

constexpr std::chrono::milliseconds log_probe_every{200};  // while the log is away
constexpr std::chrono::milliseconds queue_clock{50};
constexpr std::chrono::milliseconds trim_every{5000};
constexpr std::chrono::milliseconds gauges_every{1000};
// Often enough that a slow round or two leave no gap for who watches (leases.hpp), and that a lease
// that was given back is seen soon, however long leases are.
constexpr std::uint32_t renewals_in_a_lease = 10;
constexpr std::chrono::milliseconds renew_every_max{500};
constexpr std::chrono::milliseconds drain_pause{20};

}  // namespace

asio::awaitable<void> Coordinator::start() {
  identity_.coordinator = settings_.coordinator_id;
  for (;;) {
    auto ask = log_.installation();
    const auto installation = co_await std::move(ask);
    if (installation) {
      // A log that went back may have given this epoch before: the participants know.
      auto ask_fences = fences_.greatest_epoch(installation.value(), identity_.coordinator);
      const std::uint64_t known = co_await std::move(ask_fences);
      auto raise = log_.raise_epoch(identity_.coordinator, known);
      const auto epoch = co_await std::move(raise);
      if (epoch) {
        identity_.installation = installation.value();
        identity_.epoch = epoch.value();
        break;
      }
      logging::warn("cannot raise the epoch yet",
                    {{"error", std::string_view(epoch.failure().message)}});
    } else {
      logging::warn("the log cannot be read yet",
                    {{"error", std::string_view(installation.failure().message)}});
    }
    auto pause = lease_ticker_.wait(log_probe_every);
    const bool go_on = co_await std::move(pause);
    if (!go_on) co_return;
  }
  logging::info("epoch raised", {{"coordinator", std::string_view(identity_.coordinator)},
                                 {"epoch", static_cast<std::int64_t>(identity_.epoch)},
                                 {"installation", std::string_view(identity_.installation)}});
  fences_.own({identity_.installation, identity_.coordinator, identity_.epoch, incarnation_});
  sagas_.own({identity_.coordinator, identity_.epoch});
  started_ = true;
  auto first = renew_lease();
  co_await std::move(first);
  auto modes = read_modes();
  co_await std::move(modes);
  for (Participant* participant : participants_) spawn(recovery_.run(*participant, identity_));
  spawn(run_lease());
  spawn(run_modes());
  spawn(run_queue_clock());
  spawn(run_trim());
  spawn(run_gauges());
  spawn(forgetter_.run());
  spawn(sagas_.run());
}

// Renews the lease, learns who else lives and whether our epoch still stands.
asio::awaitable<bool> Coordinator::renew_lease() {
  const Leases::Time asked = boot_time();
  auto renew = log_.renew_lease(identity_.coordinator);
  const auto round = co_await std::move(renew);
  if (!round) {
    health_.probe_failed(log_name, round.failure());
    co_return false;
  }
  leases_.observe(round.value(), asked, boot_time());
  const auto own = round.value().coordinators.find(identity_.coordinator);
  if (own != round.value().coordinators.end() && own->second.epoch != identity_.epoch)
    fenced("the log holds a higher epoch");
  alone_ = leases_.alone();
  health_.wrote(log_name);
  health_.recovered(log_name);
  co_return true;
}

asio::awaitable<void> Coordinator::run_lease() {
  using std::chrono::milliseconds;
  const auto every = std::clamp(milliseconds(settings_.engine.lease_ms / renewals_in_a_lease),
                                milliseconds(1), renew_every_max);
  milliseconds next = every;
  for (;;) {
    auto pause = lease_ticker_.wait(next);
    const bool go_on = co_await std::move(pause);
    if (!go_on) co_return;
    const auto began = std::chrono::steady_clock::now();
    auto renew = renew_lease();
    const bool ok = co_await std::move(renew);
    // From one asking to the next: what an answer takes is part of the interval.
    const auto took = std::chrono::ceil<milliseconds>(std::chrono::steady_clock::now() - began);
    next = ok ? std::max(every - took, every / 4) : log_probe_every;
  }
}

// Whoever was given back, or was silent for a whole lease under our own eyes; nobody else is asked
// for, and the log checks again that nothing has changed.
asio::awaitable<Result<std::vector<std::string>>> Coordinator::take_over(
    std::vector<std::string> suspects) {
  auto claims = leases_.claims(suspects, boot_time());
  if (claims.empty()) co_return std::vector<std::string>{};
  auto work = log_.take_over(std::move(claims));
  co_return co_await std::move(work);
}

// In a loop of its own: a slow answer may not keep the lease waiting.
asio::awaitable<void> Coordinator::run_modes() {
  const std::chrono::milliseconds every(std::max(settings_.engine.lease_ms / 4, 1U));
  for (;;) {
    auto pause = modes_ticker_.wait(every);
    const bool go_on = co_await std::move(pause);
    if (!go_on) co_return;
    if (!health_.usable(log_name)) continue;
    auto modes = read_modes();
    co_await std::move(modes);
  }
}

// A log that cannot be read now changes nothing: the last known modes stay.
asio::awaitable<void> Coordinator::read_modes() {
  const std::uint64_t set_before = modes_set_;
  auto read = log_.degraded_modes();
  const auto modes = co_await std::move(read);
  if (!modes) {
    health_.failed(log_name, modes.failure());
    co_return;
  }
  // What was read may be older than what was set here meanwhile.
  if (modes_set_ == set_before) adopt_modes(modes.value());
}

asio::awaitable<Result<Done>> Coordinator::set_degraded(std::string participant, bool on) {
  std::string mode(on ? degraded_mode_of(participant) : std::string_view());
  auto set = log_.set_degraded_mode(participant, std::move(mode));
  const auto done = co_await std::move(set);
  if (!done) {
    health_.failed(log_name, done.failure());
    // It may have taken effect, or may yet: what is so is read, now and with each renewal.
    if (done.failure().outcome_unknown) lease_ticker_.kick();
    co_return done;
  }
  ++modes_set_;
  DegradedModes modes = modes_;
  modes.set(participant, on);
  adopt_modes(modes);
  co_return done;
}

void Coordinator::adopt_modes(const DegradedModes& modes) {
  const DegradedModes before = std::exchange(modes_, modes);
  for (const auto& [participant, mode] : degraded_mode_names) {
    const bool on = modes.spares(participant);
    metrics_.degraded_mode(participant, on);
    if (on == before.spares(participant)) continue;
    if (on) {
      logging::warn("a degraded mode is on", {{"participant", participant}, {"mode", mode}});
    } else {
      logging::info("a degraded mode is off", {{"participant", participant}, {"mode", mode}});
    }
  }
}

// Forms groups when the driver has opened the gate (not from inside its step), and gives up on
// what has waited too long.
asio::awaitable<void> Coordinator::run_queue_clock() {
  for (;;) {
    const auto now = std::chrono::steady_clock::now();
    std::chrono::milliseconds time = queue_clock;
    if (const auto due = queue_.next_due(now))
      time = std::min(time, std::chrono::ceil<std::chrono::milliseconds>(*due - now));
    auto pause = queue_ticker_.wait(time);
    const bool go_on = co_await std::move(pause);
    if (!go_on) co_return;
    refuse_queued(false, SubmitStatus::overloaded, "it waited too long for its turn");
    pump();
    show_quarantine();
  }
}

void Coordinator::show_quarantine() {
  auto rows = queue_.quarantine().rows_by_participant();
  if (rows.empty() && !quarantine_shown_) return;
  quarantine_shown_ = !rows.empty();
  for (const auto& [name, health] : health_.all()) metrics_.quarantined_keys(name, rows[name]);
}

asio::awaitable<void> Coordinator::run_trim() {
  for (;;) {
    auto pause = trim_ticker_.wait(trim_every);
    const bool go_on = co_await std::move(pause);
    if (!go_on) co_return;
    if (!settings_.engine.trim || !health_.usable(log_name)) continue;
    auto forgetting =
        forgetter_.forget_old(std::chrono::seconds(settings_.engine.decisions_keep_s));
    co_await std::move(forgetting);
    auto trim = log_.trim(std::chrono::seconds(settings_.engine.decisions_keep_s),
                          std::chrono::seconds(settings_.engine.key_period_s),
                          std::chrono::seconds(settings_.engine.keys_keep_s));
    const auto retained = co_await std::move(trim);
    if (retained && health_.usable(log_name)) metrics_.decisions_retained(retained.value());
  }
}

asio::awaitable<void> Coordinator::run_gauges() {
  for (;;) {
    auto pause = gauge_ticker_.wait(gauges_every);
    const bool go_on = co_await std::move(pause);
    if (!go_on) co_return;
    sagas_.show_due();
    auto log_gauges = look_into_log();
    co_await std::move(log_gauges);
    for (Participant* participant : participants_) {
      auto look = look_into(*participant);
      co_await std::move(look);
    }
  }
}

// What needs a person is read from the log: all coordinators say the same, also after a restart.
asio::awaitable<void> Coordinator::look_into_log() {
  if (!health_.reachable(log_name)) co_return;
  auto count = log_.open_heuristics();
  const auto open = co_await std::move(count);
  if (!open || !health_.reachable(log_name)) {
    metrics_.database_not_seen(log_name);
    co_return;
  }
  metrics_.heuristics_open(open.value());
  auto looking = sagas_.look_for_stuck();
  co_await std::move(looking);
}

// What cannot be seen now is shown as unknown: the last value would look like a fresh one.
asio::awaitable<void> Coordinator::look_into(Participant& participant) {
  const auto name = participant.name();
  if (!health_.reachable(name)) co_return;
  auto ask = participant.gauges(identity_.installation);
  const auto gauges = co_await std::move(ask);
  if (!gauges || !health_.reachable(name)) {
    metrics_.database_not_seen(name);
    health_.not_seen(name);
    co_return;
  }
  const auto& seen = gauges.value();
  metrics_.database(name, {.in_doubt_branches = seen.in_doubt_branches,
                           .in_doubt_oldest_seconds = seen.in_doubt_oldest_seconds,
                           .prepared_slots_used = seen.prepared_slots_used,
                           .prepared_slots_max = seen.prepared_slots_max,
                           .xmin_age_transactions = seen.xmin_age_transactions,
                           .blocked_sessions = seen.blocked_sessions});
  health_.slots(name, seen.prepared_slots_used, seen.prepared_slots_max);
  health_.in_doubt(name, seen.in_doubt_branches, seen.in_doubt_oldest_seconds);
}

asio::awaitable<Result<std::vector<GlobalState>>> Coordinator::global_states(
    std::vector<protocol::Gid> gids) {
  // The order of recovery_plan.hpp: epochs, then the active set, then the decisions.
  protocol::RecoveryView view;
  view.own_coordinator = identity_.coordinator;
  view.own_epoch = identity_.epoch;
  auto read_epochs = log_.coordinators();
  const auto epochs = co_await std::move(read_epochs);
  if (!epochs) co_return epochs.failure();
  for (const auto& [id, state] : epochs.value()) view.epochs[id] = state.epoch;
  const auto active = active_gids();
  auto read_decisions = log_.decisions(gids);
  const auto decisions = co_await std::move(read_decisions);
  if (!decisions) co_return decisions.failure();
  std::map<protocol::Gid, DecisionOutcome> known;
  for (const auto& decision : decisions.value()) known[decision.gid] = decision.outcome;

  std::vector<GlobalState> states;
  for (const auto& gid : gids) {
    const auto outcome = known.find(gid);
    if (outcome != known.end()) {
      states.push_back(outcome->second == DecisionOutcome::commit ? GlobalState::committed
                                                                  : GlobalState::aborted);
    } else if (active.contains(gid) || !protocol::may_finish(gid, view)) {
      states.push_back(GlobalState::active);
    } else {
      // Nobody will decide it any more (rules 1 and 2 of recovery_plan.hpp), or it was complete and
      // trimmed. No tombstone is written: it would contradict the latter.
      states.push_back(GlobalState::aborted);
    }
  }
  co_return states;
}

asio::awaitable<void> Coordinator::drain(std::chrono::milliseconds wait_max) {
  draining_ = true;
  const auto deadline = std::chrono::steady_clock::now() + wait_max;
  auto sagas = sagas_.drain(deadline);
  co_await std::move(sagas);
  // A key in flight is a client who waits, also before its operation has come to the queue.
  const auto busy = [this] {
    return !groups_.empty() || queue_.size() > 0 || !keys_in_flight_.empty();
  };
  while (busy() && std::chrono::steady_clock::now() < deadline) {
    idle_.expires_at(deadline);
    boost::system::error_code ignored;
    auto token = asio::redirect_error(asio::use_awaitable, ignored);
    co_await idle_.async_wait(token);
  }
  refuse_queued(true, SubmitStatus::unavailable, "this coordinator is stopping");
  forgetter_.stop();
  recovery_.stop();
  for (Ticker* ticker :
       {&lease_ticker_, &modes_ticker_, &queue_ticker_, &trim_ticker_, &gauge_ticker_})
    ticker->stop();
  while (!forgetter_.idle() && health_.usable(log_name) &&
         std::chrono::steady_clock::now() < deadline) {
    auto flush = forgetter_.flush_completions();
    co_await std::move(flush);
    if (forgetter_.idle()) break;
    auto pause = sleep(idle_, drain_pause);
    co_await std::move(pause);
  }
  auto trimming = forgetter_.trim_witnesses();
  co_await std::move(trimming);
  if (!started_ || fenced_ || !health_.usable(log_name)) co_return;
  auto end = log_.end_lease(identity_.coordinator);
  co_await std::move(end);
}

}  // namespace txcoord::engine
