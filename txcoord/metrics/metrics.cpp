// The families behind Metrics, on prometheus-cpp's core. Its Add() hashes label maps under a mutex,
// so each child is looked up there once and kept here.
#include "txcoord/metrics/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <vector>

#include "txcoord/metrics/declarations.hpp"
#include "txcoord/metrics/labels.hpp"
#include "txcoord/version.hpp"

namespace txcoord {
namespace {

using detail::bounded;
using detail::Family;

using Buckets = prometheus::Histogram::BucketBoundaries;

// 0.5 ms to 10 s.
const Buckets duration_buckets = {0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01,
                                  0.02,   0.03,  0.05,  0.075, 0.1,   0.2,    0.3,
                                  0.5,    1,     2.5,   5,     10};
const Buckets group_buckets = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};

// More routes than the table can hold; a bug in a caller must not fill the memory.
constexpr std::size_t routes_max = 64;
// The codes that are answered, and room for a few more.
constexpr std::size_t codes_max = 40;

std::vector<std::string> split(std::string_view names) {
  std::vector<std::string> parts;
  while (!names.empty()) {
    const std::size_t comma = names.find(',');
    parts.emplace_back(names.substr(0, comma));
    names.remove_prefix(comma == std::string_view::npos ? names.size() : comma + 1);
  }
  return parts;
}

using Values = std::initializer_list<std::string_view>;

// The children of one family, by their label values.
template <class Metric>
class Children {
 public:
  Children(prometheus::Registry& registry, Family family, const Buckets* buckets = nullptr)
      : Children(registry, metric_declarations()[static_cast<std::size_t>(family)], buckets) {}

 private:
  Children(prometheus::Registry& registry, const MetricDeclaration& declaration,
           const Buckets* buckets)
      : label_names_(split(declaration.labels)),
        buckets_(buckets),
        family_(prometheus::detail::Builder<Metric>()
                    .Name(std::string(declaration.name))
                    .Help(std::string(declaration.help))
                    .Register(registry)) {
    if (label_names_.empty()) at({});  // shown as 0 from the start
  }

 public:
  Metric& at(Values values) {
    std::string key;
    for (const std::string_view value : values) key.append(value).push_back('\x1f');
    {
      const std::shared_lock lock(mutex_);
      if (const auto found = children_.find(key); found != children_.end()) return *found->second;
    }
    const std::unique_lock lock(mutex_);
    const auto [place, fresh] = children_.try_emplace(std::move(key), nullptr);
    if (fresh) place->second = &make(values);
    return *place->second;
  }

 private:
  Metric& make(Values values) {
    prometheus::Labels labels;
    auto name = label_names_.begin();
    for (const std::string_view value : values) labels.emplace(*name++, value);
    if constexpr (std::is_same_v<Metric, prometheus::Histogram>) {
      return family_.Add(labels, *buckets_);
    } else {
      return family_.Add(labels);
    }
  }

  std::vector<std::string> label_names_;
  const Buckets* buckets_;
  prometheus::Family<Metric>& family_;
  std::shared_mutex mutex_;
  std::map<std::string, Metric*, std::less<>> children_;
};

// Values that are bounded by number because their set is known elsewhere (routes, codes).
class BoundedSet {
 public:
  explicit BoundedSet(std::size_t most) : most_(most) {}

  std::string_view admit(std::string_view value) {
    {
      const std::shared_lock lock(mutex_);
      if (values_.contains(value)) return value;
    }
    const std::unique_lock lock(mutex_);
    if (values_.size() >= most_ && !values_.contains(value)) return detail::other_label;
    values_.emplace(value);
    return value;
  }

 private:
  std::size_t most_;
  std::shared_mutex mutex_;
  std::set<std::string, std::less<>> values_;
};

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
  Children<prometheus::Gauge> in_doubt{registry, Family::in_doubt_branches};
  Children<prometheus::Gauge> in_doubt_oldest{registry, Family::in_doubt_oldest_seconds};
  Children<prometheus::Gauge> slots_used{registry, Family::prepared_slots_used};
  Children<prometheus::Gauge> slots_max{registry, Family::prepared_slots_max};
  Children<prometheus::Gauge> xmin_age{registry, Family::xmin_age_transactions};
  Children<prometheus::Gauge> blocked{registry, Family::blocked_sessions};
  Children<prometheus::Counter> recovery_actions{registry, Family::recovery_actions_total};
  Children<prometheus::Histogram> recovery_seconds{registry, Family::recovery_duration_seconds,
                                                   &duration_buckets};
  Children<prometheus::Counter> heuristic_outcomes{registry, Family::heuristic_outcomes_total};
  Children<prometheus::Gauge> decisions{registry, Family::decisions_retained};
  Children<prometheus::Histogram> saga_steps{registry, Family::saga_step_duration_seconds,
                                             &duration_buckets};
  Children<prometheus::Counter> saga_compensations{registry, Family::saga_compensations_total};
  Children<prometheus::Gauge> sagas_stuck{registry, Family::sagas_stuck};
  Children<prometheus::Counter> reservations_expired{registry, Family::reservations_expired_total};
  Children<prometheus::Gauge> outbox_lag{registry, Family::outbox_lag_seconds};
  Children<prometheus::Gauge> faults_active{registry, Family::faults_active};
  Children<prometheus::Gauge> breaker_state{registry, Family::breaker_state};
  Children<prometheus::Gauge> degraded_mode{registry, Family::degraded_mode};
  Children<prometheus::Gauge> orders_due{registry, Family::orders_due};
  Children<prometheus::Counter> http_requests{registry, Family::http_requests_total};
  Children<prometheus::Histogram> http_seconds{registry, Family::http_request_duration_seconds,
                                               &duration_buckets};
  Children<prometheus::Histogram> pool_wait{registry, Family::db_pool_wait_seconds,
                                            &duration_buckets};
  Children<prometheus::Gauge> build_info{registry, Family::build_info};

  BoundedSet routes{routes_max};
  BoundedSet codes{codes_max};

  // A series that appears only at its first event hides that event from rate(): the ones that
  // alerts are written on exist from the start.
  void start_at_zero() {
    for (const std::string_view participant : detail::participant_labels) {
      if (participant != "log") in_doubt.at({participant}), in_doubt_oldest.at({participant});
    }
    for (const std::string_view action : detail::action_labels) recovery_actions.at({action});
    for (const std::string_view cause : detail::cause_labels)
      aborts.at({"2pc", cause}), retries.at({cause});
    for (const std::string_view participant : {"payment", "shipping"}) orders_due.at({participant});
    build_info.at({version, git_describe()}).Set(1);
  }
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) { impl_->start_at_zero(); }
Metrics::~Metrics() = default;

void Metrics::order(std::string_view mode, std::string_view outcome, std::string_view reason,
                    double seconds) {
  mode = bounded(detail::mode_labels, mode);
  outcome = bounded(detail::outcome_labels, outcome);
  impl_->orders.at({mode, outcome, bounded(detail::reason_labels, reason)}).Increment();
  impl_->order_seconds.at({mode, outcome}).Observe(seconds);
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

void Metrics::in_doubt(std::string_view participant, std::size_t branches, double oldest_seconds) {
  participant = bounded(detail::participant_labels, participant);
  impl_->in_doubt.at({participant}).Set(static_cast<double>(branches));
  impl_->in_doubt_oldest.at({participant}).Set(oldest_seconds);
}

void Metrics::prepared_slots(std::string_view participant, std::size_t used, std::size_t max) {
  participant = bounded(detail::participant_labels, participant);
  impl_->slots_used.at({participant}).Set(static_cast<double>(used));
  impl_->slots_max.at({participant}).Set(static_cast<double>(max));
}

void Metrics::xmin_age(std::string_view participant, std::int64_t transactions) {
  impl_->xmin_age.at({bounded(detail::participant_labels, participant)})
      .Set(static_cast<double>(transactions));
}

void Metrics::blocked_sessions(std::string_view participant, std::size_t sessions) {
  impl_->blocked.at({bounded(detail::participant_labels, participant)})
      .Set(static_cast<double>(sessions));
}

void Metrics::recovery_action(std::string_view action) {
  impl_->recovery_actions.at({bounded(detail::action_labels, action)}).Increment();
}

void Metrics::recovery_duration(double seconds) { impl_->recovery_seconds.at({}).Observe(seconds); }
void Metrics::heuristic_outcome() { impl_->heuristic_outcomes.at({}).Increment(); }
void Metrics::decisions_retained(std::uint64_t decisions) {
  impl_->decisions.at({}).Set(static_cast<double>(decisions));
}
void Metrics::outbox_lag(double seconds) { impl_->outbox_lag.at({}).Set(seconds); }

void Metrics::saga_step(std::string_view step, double seconds) {
  impl_->saga_steps.at({bounded(detail::step_labels, step)}).Observe(seconds);
}
void Metrics::saga_compensation(std::string_view step) {
  impl_->saga_compensations.at({bounded(detail::step_labels, step)}).Increment();
}
void Metrics::sagas_stuck(std::size_t sagas) {
  impl_->sagas_stuck.at({}).Set(static_cast<double>(sagas));
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
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace txcoord
