// The families behind Metrics.
#include "txcoord/metrics/metrics.hpp"

#include <prometheus/text_serializer.h>

#include "txcoord/base/logging.hpp"
#include "txcoord/metrics/children.hpp"
#include "txcoord/metrics/process.hpp"
#include "txcoord/version.hpp"

namespace txcoord {
namespace {

using detail::bounded;
using detail::Buckets;
using detail::Children;
using detail::Family;
using detail::SeenGauges;

// 0.5 ms to 10 s.
const Buckets duration_buckets = {0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01,
                                  0.02,   0.03,  0.05,  0.075, 0.1,   0.2,    0.3,
                                  0.5,    1,     2.5,   5,     10};
const Buckets group_buckets = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};

// More routes than the table can hold; a bug in a caller must not fill the memory.
constexpr std::size_t routes_max = 64;
// The codes that are answered, and room for a few more.
constexpr std::size_t codes_max = 40;

}  // namespace

class Metrics::Impl {
 public:
  prometheus::Registry registry;

  Children<prometheus::Counter> orders{registry, Family::orders_total};
  Children<prometheus::Histogram> order_seconds{registry, Family::order_duration_seconds,
                                                &duration_buckets};
  Children<prometheus::Histogram> phase_seconds{registry, Family::phase_duration_seconds,
                                                &duration_buckets};
  Children<prometheus::Histogram> branch_seconds{registry, Family::branch_duration_seconds,
                                                 &duration_buckets};
  Children<prometheus::Histogram> group{registry, Family::group_operations, &group_buckets};
  Children<prometheus::Gauge> queue{registry, Family::queue_operations};
  Children<prometheus::Counter> aborts{registry, Family::aborts_total};
  Children<prometheus::Counter> retries{registry, Family::retries_total};
  Children<prometheus::Counter> admission_refused{registry, Family::admission_refused_total};
  Children<prometheus::Counter> deadlocks{registry, Family::deadlocks_total};
  SeenGauges in_doubt{registry, Family::in_doubt_branches};
  SeenGauges in_doubt_oldest{registry, Family::in_doubt_oldest_seconds};
  SeenGauges slots_used{registry, Family::prepared_slots_used};
  SeenGauges slots_max{registry, Family::prepared_slots_max};
  SeenGauges xmin_age{registry, Family::xmin_age_transactions};
  SeenGauges blocked{registry, Family::blocked_sessions};
  Children<prometheus::Counter> recovery_actions{registry, Family::recovery_actions_total};
  Children<prometheus::Histogram> recovery_seconds{registry, Family::recovery_duration_seconds,
                                                   &duration_buckets};
  Children<prometheus::Counter> heuristic_outcomes{registry, Family::heuristic_outcomes_total};
  SeenGauges heuristic_open{registry, Family::heuristic_open};
  SeenGauges decisions{registry, Family::decisions_retained};
  Children<prometheus::Histogram> saga_steps{registry, Family::saga_step_duration_seconds,
                                             &duration_buckets};
  Children<prometheus::Counter> saga_compensations{registry, Family::saga_compensations_total};
  Children<prometheus::Gauge> sagas_stuck{registry, Family::sagas_stuck};
  Children<prometheus::Gauge> sagas_lost{registry, Family::sagas_lost};
  Children<prometheus::Counter> reservations_expired{registry, Family::reservations_expired_total};
  SeenGauges outbox_lag{registry, Family::outbox_lag_seconds};
  SeenGauges card_errands_refused{registry, Family::card_errands_refused};
  Children<prometheus::Gauge> faults_active{registry, Family::faults_active};
  Children<prometheus::Gauge> breaker_state{registry, Family::breaker_state};
  Children<prometheus::Gauge> degraded_mode{registry, Family::degraded_mode};
  Children<prometheus::Gauge> orders_due{registry, Family::orders_due};
  Children<prometheus::Gauge> quarantined_keys{registry, Family::quarantined_keys};
  Children<prometheus::Counter> http_requests{registry, Family::http_requests_total};
  Children<prometheus::Histogram> http_seconds{registry, Family::http_request_duration_seconds,
                                               &duration_buckets};
  Children<prometheus::Histogram> pool_wait{registry, Family::db_pool_wait_seconds,
                                            &duration_buckets};
  Children<prometheus::Gauge> build_info{registry, Family::build_info};

  Children<prometheus::Counter> participant_errors{registry, Family::participant_errors_total};
  Children<prometheus::Counter> fence_refusals{registry, Family::fence_refusals_total};
  SeenGauges database_up{registry, Family::database_up};
  SeenGauges ready{registry, Family::ready};
  Children<prometheus::Counter> log_lines_dropped{registry, Family::log_lines_dropped_total};
  SeenGauges process_start{registry, Family::process_start_time_seconds};
  Children<prometheus::Counter> process_cpu{registry, Family::process_cpu_seconds_total};
  SeenGauges process_memory{registry, Family::process_resident_memory_bytes};

  detail::BoundedSet routes{routes_max};
  detail::BoundedSet codes{codes_max};

  // A series that appears only at its first event hides that event from rate(): the ones that
  // alerts are written on exist from the start.
  void start_at_zero() {
    for (const std::string_view participant : detail::participant_labels) {
      participant_errors.at({participant});
      fence_refusals.at({participant});
    }
    for (const std::string_view action : detail::action_labels) recovery_actions.at({action});
    for (const std::string_view participant : {"payment", "shipping"}) orders_due.at({participant});
    for (const std::string_view cause : detail::cause_labels) retries.at({cause});
    for (const std::string_view mode : detail::mode_labels) {
      for (const std::string_view cause : detail::cause_labels) aborts.at({mode, cause});
      for (const std::string_view reason : {"PARTICIPANT_UNAVAILABLE", "OVERLOADED"})
        orders.at({mode, "failed", reason});
    }
    build_info.at({version, git_describe()}).Set(1);
  }

  void look_at_log_lines() {
    auto& counted = log_lines_dropped.at({});
    const auto dropped = static_cast<double>(logging::lines_dropped());
    if (dropped > counted.Value()) counted.Increment(dropped - counted.Value());
  }

  void look_at_process() {
    const auto seen = detail::look_at_process();
    if (!seen) return;
    process_start.set({}, seen->start_time_seconds);
    auto& cpu = process_cpu.at({});
    if (seen->cpu_seconds > cpu.Value()) cpu.Increment(seen->cpu_seconds - cpu.Value());
    process_memory.set({}, seen->resident_memory_bytes);
  }
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) { impl_->start_at_zero(); }
Metrics::~Metrics() = default;

void Metrics::order(std::string_view mode, std::string_view outcome, std::string_view reason) {
  impl_->orders
      .at({bounded(detail::mode_labels, mode), bounded(detail::outcome_labels, outcome),
           bounded(detail::reason_labels, reason)})
      .Increment();
}

void Metrics::order_duration(std::string_view mode, std::string_view outcome, double seconds) {
  impl_->order_seconds
      .at({bounded(detail::mode_labels, mode), bounded(detail::outcome_labels, outcome)})
      .Observe(seconds);
}

void Metrics::phase(std::string_view mode, std::string_view phase, double seconds) {
  impl_->phase_seconds
      .at({bounded(detail::mode_labels, mode), bounded(detail::phase_labels, phase)})
      .Observe(seconds);
}

void Metrics::branch(std::string_view participant, std::string_view phase, double seconds) {
  impl_->branch_seconds
      .at({bounded(detail::participant_labels, participant), bounded(detail::phase_labels, phase)})
      .Observe(seconds);
}

void Metrics::group(std::size_t operations) {
  impl_->group.at({}).Observe(static_cast<double>(operations));
}
void Metrics::queue(std::size_t operations) {
  impl_->queue.at({}).Set(static_cast<double>(operations));
}

void Metrics::abort(std::string_view mode, std::string_view cause) {
  impl_->aborts.at({bounded(detail::mode_labels, mode), bounded(detail::cause_labels, cause)})
      .Increment();
}

void Metrics::retry(std::string_view cause) {
  impl_->retries.at({bounded(detail::cause_labels, cause)}).Increment();
}

void Metrics::admission_refused() { impl_->admission_refused.at({}).Increment(); }
void Metrics::deadlock() { impl_->deadlocks.at({}).Increment(); }

void Metrics::database(std::string_view participant, const DatabaseGauges& seen) {
  participant = bounded(detail::participant_labels, participant);
  impl_->in_doubt.set({participant}, static_cast<double>(seen.in_doubt_branches));
  impl_->in_doubt_oldest.set({participant}, seen.in_doubt_oldest_seconds);
  impl_->slots_used.set({participant}, static_cast<double>(seen.prepared_slots_used));
  impl_->slots_max.set({participant}, static_cast<double>(seen.prepared_slots_max));
  impl_->xmin_age.set({participant}, static_cast<double>(seen.xmin_age_transactions));
  impl_->blocked.set({participant}, static_cast<double>(seen.blocked_sessions));
}

void Metrics::database_not_seen(std::string_view name) {
  name = bounded(detail::participant_labels, name);
  for (SeenGauges* gauges : {&impl_->in_doubt, &impl_->in_doubt_oldest, &impl_->slots_used,
                             &impl_->slots_max, &impl_->xmin_age, &impl_->blocked})
    gauges->forget({name});
  if (name == "log") {
    impl_->decisions.forget({});
    for (const std::string_view one : detail::participant_labels)
      impl_->heuristic_open.forget({one});
  }
  if (name == "payment") outbox_lag_not_seen();
}

void Metrics::database_up(std::string_view name, bool up) {
  impl_->database_up.set({bounded(detail::participant_labels, name)}, up ? 1 : 0);
  if (!up) database_not_seen(name);
}

void Metrics::participant_errors(std::string_view participant, std::size_t operations) {
  impl_->participant_errors.at({bounded(detail::participant_labels, participant)})
      .Increment(static_cast<double>(operations));
}

void Metrics::fence_refusal(std::string_view participant) {
  impl_->fence_refusals.at({bounded(detail::participant_labels, participant)}).Increment();
}

void Metrics::ready(bool ready) { impl_->ready.set({}, ready ? 1 : 0); }

void Metrics::recovery_action(std::string_view action) {
  impl_->recovery_actions.at({bounded(detail::action_labels, action)}).Increment();
}

void Metrics::recovery_duration(double seconds) { impl_->recovery_seconds.at({}).Observe(seconds); }
void Metrics::heuristic_outcome() { impl_->heuristic_outcomes.at({}).Increment(); }
void Metrics::heuristics_open(const std::map<std::string, std::size_t>& by_participant) {
  for (const std::string_view name : detail::participant_labels) {
    if (name == "log") continue;
    const auto found = by_participant.find(std::string(name));
    impl_->heuristic_open.set(
        {name}, found == by_participant.end() ? 0 : static_cast<double>(found->second));
  }
}
void Metrics::decisions_retained(std::uint64_t decisions) {
  impl_->decisions.set({}, static_cast<double>(decisions));
}
void Metrics::outbox_lag(double seconds) { impl_->outbox_lag.set({}, seconds); }
void Metrics::card_errands_refused(std::size_t errands) {
  impl_->card_errands_refused.set({}, static_cast<double>(errands));
}
void Metrics::outbox_lag_not_seen() {
  impl_->outbox_lag.forget({});
  impl_->card_errands_refused.forget({});
}

void Metrics::saga_step(std::string_view step, double seconds) {
  impl_->saga_steps.at({bounded(detail::step_labels, step)}).Observe(seconds);
}
void Metrics::saga_compensation(std::string_view step) {
  impl_->saga_compensations.at({bounded(detail::step_labels, step)}).Increment();
}
void Metrics::sagas_stuck(std::size_t sagas) {
  impl_->sagas_stuck.at({}).Set(static_cast<double>(sagas));
}
void Metrics::sagas_lost(std::size_t sagas) {
  impl_->sagas_lost.at({}).Set(static_cast<double>(sagas));
}
void Metrics::reservations_expired(std::size_t reservations) {
  impl_->reservations_expired.at({}).Increment(static_cast<double>(reservations));
}
void Metrics::fault_active(std::string_view participant, bool active) {
  impl_->faults_active.at({bounded(detail::participant_labels, participant)}).Set(active ? 1 : 0);
}

void Metrics::breaker(std::string_view participant, int state) {
  impl_->breaker_state.at({bounded(detail::participant_labels, participant)}).Set(state);
}

void Metrics::degraded_mode(std::string_view participant, bool on) {
  impl_->degraded_mode.at({bounded(detail::participant_labels, participant)}).Set(on ? 1 : 0);
}
void Metrics::quarantined_keys(std::string_view participant, std::size_t rows) {
  impl_->quarantined_keys.at({bounded(detail::participant_labels, participant)})
      .Set(static_cast<double>(rows));
}

void Metrics::orders_due(std::string_view participant, std::size_t orders) {
  impl_->orders_due.at({bounded(detail::participant_labels, participant)})
      .Set(static_cast<double>(orders));
}

void Metrics::http(std::string_view route, std::string_view method, int code, double seconds) {
  const std::string code_text = std::to_string(code);
  route = impl_->routes.admit(route);
  impl_->http_requests
      .at({route, bounded(detail::method_labels, method), impl_->codes.admit(code_text)})
      .Increment();
  impl_->http_seconds.at({route}).Observe(seconds);
}

void Metrics::pool_wait(std::string_view participant, double seconds) {
  impl_->pool_wait.at({bounded(detail::participant_labels, participant)}).Observe(seconds);
}

std::string Metrics::serialize() const {
  impl_->look_at_process();
  impl_->look_at_log_lines();
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace txcoord
