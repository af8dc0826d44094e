// The index of each family in the table of declarations (declarations.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace txcoord::detail {

enum class Family : std::uint8_t {
  orders_total,
  order_duration_seconds,
  phase_duration_seconds,
  branch_duration_seconds,
  group_operations,
  queue_operations,
  aborts_total,
  retries_total,
  admission_refused_total,
  deadlocks_total,
  in_doubt_branches,
  in_doubt_oldest_seconds,
  prepared_slots_used,
  prepared_slots_max,
  xmin_age_transactions,
  blocked_sessions,
  recovery_actions_total,
  recovery_duration_seconds,
  heuristic_outcomes_total,
  heuristic_open,
  decisions_retained,
  saga_step_duration_seconds,
  saga_compensations_total,
  sagas_stuck,
  sagas_lost,
  reservations_expired_total,
  outbox_lag_seconds,
  card_errands_refused,
  faults_active,
  breaker_state,
  degraded_mode,
  orders_due,
  quarantined_keys,
  http_requests_total,
  http_request_duration_seconds,
  db_pool_wait_seconds,
  build_info,
  participant_errors_total,
  fence_refusals_total,
  database_up,
  ready,
  log_lines_dropped_total,
  process_start_time_seconds,
  process_cpu_seconds_total,
  process_resident_memory_bytes,
};
inline constexpr std::size_t family_count =
    static_cast<std::size_t>(Family::process_resident_memory_bytes) + 1;

}  // namespace txcoord::detail
