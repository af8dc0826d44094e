// Every metric family, once. A family is declared when something uses it, not before.
#include "txcoord/metrics/declarations.hpp"

#include <array>

#include "txcoord/metrics/metrics.hpp"

namespace txcoord {
namespace {

using enum MetricType;

// In the order of detail::Family.
constexpr std::array<MetricDeclaration, detail::family_count> declarations{{
    {"txcoord_orders_total", counter, "mode,outcome,reason",
     "Order operations ended or refused at the door, by outcome."},
    {"txcoord_order_duration_seconds", histogram, "mode,outcome",
     "From an operation's arrival to its first answer."},
    {"txcoord_phase_duration_seconds", histogram, "mode,phase",
     "One phase of one group, over all participants."},
    {"txcoord_branch_duration_seconds", histogram, "participant,phase", "One phase of one branch."},
    {"txcoord_group_operations", histogram, "", "Operations that one global transaction carried."},
    {"txcoord_queue_operations", gauge, "", "Operations waiting to join a group."},
    {"txcoord_aborts_total", counter, "mode,cause",
     "Groups aborted and sagas turned back, by cause."},
    {"txcoord_retries_total", counter, "cause", "Groups run again under a new gid, by cause."},
    {"txcoord_admission_refused_total", counter, "",
     "Operations refused before they reached the queue."},
    {"txcoord_deadlocks_total", counter, "", "Deadlocks that a database reported."},
    {"txcoord_in_doubt_branches", gauge, "participant",
     "Prepared branches of ours at the last look."},
    {"txcoord_in_doubt_oldest_seconds", gauge, "participant",
     "Age of the oldest prepared branch of ours."},
    {"txcoord_prepared_slots_used", gauge, "participant",
     "Prepared transactions in the database, anybody's."},
    {"txcoord_prepared_slots_max", gauge, "participant",
     "The database's max_prepared_transactions."},
    {"txcoord_xmin_age_transactions", gauge, "participant",
     "Transactions since the oldest snapshot still held."},
    {"txcoord_blocked_sessions", gauge, "participant", "Sessions waiting for a lock."},
    {"txcoord_recovery_actions_total", counter, "action", "What recovery did, by action."},
    {"txcoord_recovery_duration_seconds", histogram, "",
     "From a database and the log answering again to the end of the recovery pass."},
    {"txcoord_heuristic_outcomes_total", counter, "",
     "Decided branches found lost by this process since its start."},
    {"txcoord_heuristic_open", gauge, "participant",
     "Heuristic outcomes that nobody has repaired yet; every process shows the same."},
    {"txcoord_decisions_retained", gauge, "", "Decisions and tombstones that the log still holds."},
    {"txcoord_saga_step_duration_seconds", histogram, "step",
     "One step of one saga, from being asked for to its answer."},
    {"txcoord_saga_compensations_total", counter, "step", "Compensations begun."},
    {"txcoord_sagas_stuck", gauge, "",
     "Sagas that need a person; every process shows at least those that the log knows."},
    {"txcoord_sagas_lost", gauge, "",
     "Sagas that the log has lost and that need a person; every process shows the same."},
    {"txcoord_reservations_expired_total", counter, "", "Reservations that freed themselves."},
    {"txcoord_outbox_lag_seconds", gauge, "", "Age of the oldest outbox entry not yet delivered."},
    {"txcoord_card_errands_refused", gauge, "",
     "Card errands whose answer contradicts the payment: each needs a person."},
    {"txcoord_faults_active", gauge, "participant", "1 while a fault is set on purpose."},
    {"txcoord_breaker_state", gauge, "participant",
     "Circuit breaker to a participant's service: 0 closed, 1 half open, 2 open."},
    {"txcoord_degraded_mode", gauge, "participant",
     "1 while new orders are placed without the participant: an operator switched it so."},
    {"txcoord_orders_due", gauge, "participant",
     "Orders confirmed whose payment or shipment is still to come."},
    {"txcoord_quarantined_keys", gauge, "participant",
     "Rows that somebody else holds and that operations of this process wait for."},
    {"txcoord_http_requests_total", counter, "route,method,code", "HTTP requests answered."},
    {"txcoord_http_request_duration_seconds", histogram, "route",
     "From a request's last byte to its answer."},
    {"txcoord_db_pool_wait_seconds", histogram, "participant", "Waiting for a database session."},
    {"txcoord_build_info", gauge, "version,revision", "Always 1; which build this is."},
    {"txcoord_participant_errors_total", counter, "participant",
     "Orders that failed because this database or its service was away or did not answer."},
    {"txcoord_fence_refusals_total", counter, "participant",
     "Writes refused here because their owner was fenced: a process that was stopped and woke."},
    {"txcoord_database_up", gauge, "database", "1 while the database answers this coordinator."},
    {"txcoord_ready", gauge, "", "1 while /readyz would answer 200."},
    {"txcoord_log_lines_dropped_total", counter, "",
     "Log lines that nobody will read: standard output was not read, or refused them."},
    {"process_start_time_seconds", gauge, "", "When this process started, in Unix time."},
    {"process_cpu_seconds_total", counter, "", "User and system time of this process."},
    {"process_resident_memory_bytes", gauge, "", "Memory of this process that is in RAM."},
}};

}  // namespace

std::span<const MetricDeclaration> metric_declarations() { return declarations; }

}  // namespace txcoord
