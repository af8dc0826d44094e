// Every metric declared once (names, help, buckets). Golden list: tests/unit/metrics_golden.txt.
// Thread-safe: prometheus-cpp locks inside; handles are looked up once and kept.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace txcoord {

enum class MetricType : std::uint8_t { counter, gauge, histogram };

// One family as declared: what the golden list, the dashboards and the alerts are checked against.
struct MetricDeclaration {
  std::string_view name;
  MetricType type = MetricType::counter;
  std::string_view labels;  // names, comma-separated, in the order values are given
  std::string_view help;
};
std::span<const MetricDeclaration> metric_declarations();

// What one look into a participant's database saw.
struct DatabaseGauges {
  std::size_t in_doubt_branches = 0;
  double in_doubt_oldest_seconds = 0;
  std::size_t prepared_slots_used = 0, prepared_slots_max = 0;
  std::int64_t xmin_age_transactions = 0;
  std::size_t blocked_sessions = 0;
};

// Label values come from small closed sets. One that is in none of them counts as "other", so that
// no caller can make series without bound.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // orders
  void order(std::string_view mode, std::string_view outcome, std::string_view reason);
  void order_duration(std::string_view mode, std::string_view outcome, double seconds);
  void phase(std::string_view mode, std::string_view phase,
             double seconds);  // vote prepare decide commit abort
  void branch(std::string_view participant, std::string_view phase, double seconds);
  void group(std::size_t operations);
  void queue(std::size_t operations);
  void abort(std::string_view mode, std::string_view cause);
  void retry(std::string_view cause);
  void admission_refused();
  void deadlock();
  // databases: what cannot be seen has no value, rather than its last one
  void database(std::string_view participant, const DatabaseGauges& seen);
  void database_not_seen(std::string_view name);
  void database_up(std::string_view name, bool up);
  void participant_errors(std::string_view participant, std::size_t operations);
  void fence_refusal(std::string_view participant);
  void ready(bool ready);
  // recovery
  void recovery_action(std::string_view action);  // commit rollback takeover heuristic
  void recovery_duration(double seconds);
  void heuristic_outcome();
  void heuristics_open(const std::map<std::string, std::size_t>& by_participant);
  void decisions_retained(std::uint64_t decisions);
  void outbox_lag(double seconds);
  void card_errands_refused(std::size_t errands);
  void outbox_lag_not_seen();  // and what is refused with it
  // sagas
  void saga_step(std::string_view step, double seconds);
  void saga_compensation(std::string_view step);
  void sagas_stuck(std::size_t sagas);
  void sagas_lost(std::size_t sagas);
  void reservations_expired(std::size_t reservations);
  void fault_active(std::string_view participant, bool active);
  void breaker(std::string_view participant, int state);  // 0 closed, 1 half open, 2 open
  // degraded modes
  void degraded_mode(std::string_view participant, bool on);
  void orders_due(std::string_view participant, std::size_t orders);
  void quarantined_keys(std::string_view participant, std::size_t rows);
  // http and pools
  void http(std::string_view route, std::string_view method, int code, double seconds);
  void pool_wait(std::string_view participant, double seconds);

  std::string serialize() const;  // the text exposition format

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace txcoord
