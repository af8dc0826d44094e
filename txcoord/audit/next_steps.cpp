// Which page of the runbook a violation leads to.
#include <algorithm>

#include "txcoord/audit/audit.hpp"

namespace txcoord::audit {
namespace {

struct NextStep {
  std::string_view check, text;
};

constexpr std::string_view lost_branch =
    "docs/operating.md#a-heuristic-outcome: find the branch before you write anything";
constexpr std::string_view in_doubt =
    "docs/operating.md#in-doubt-branches-stay: see that a coordinator runs and reaches both "
    "databases";
constexpr std::string_view nobody_works =
    "docs/operating.md#a-coordinator-is-down: see that one runs; it adopts the saga within a lease";
constexpr std::string_view does_not_go_on =
    "docs/operating.md#a-saga-is-stuck: GET /v1/sagas/{saga_id} has its last_error";
constexpr std::string_view processor =
    "docs/operating.md#card-errands-are-refused: compare with the processor's own books";
constexpr std::string_view counters =
    "docs/operating.md#a-violation-is-found: correct counters and ledger in one transaction";
constexpr std::string_view log_lost =
    "docs/operating.md#the-log-was-restored-or-failed-over: stop the coordinators first";
constexpr std::string_view any_other =
    "docs/operating.md#a-violation-is-found: compare the order in all databases, and report it";

constexpr NextStep steps[] = {
    {"witness_missing", lost_branch},
    {"committed_and_aborted", lost_branch},
    {"confirmed_and_aborted", lost_branch},
    {"order_without_items", lost_branch},
    {"items_without_order", lost_branch},
    {"reservation_missing", lost_branch},
    {"reservation_without_order", lost_branch},
    {"payment_missing", lost_branch},
    {"payment_without_order", lost_branch},
    {"shipment_missing", lost_branch},
    {"shipment_without_order", lost_branch},
    {"confirmed_but_absent", lost_branch},
    {"prepared_too_long", in_doubt},
    {"prepared_in_wrong_database", in_doubt},
    {"decided_not_applied", in_doubt},
    {"saga_abandoned", nobody_works},
    {"saga_silent", does_not_go_on},
    {"card_errand_refused", processor},
    {"card_taken_for_nothing", processor},
    {"capture_forgotten", processor},
    {"reversal_forgotten", processor},
    {"stock_not_conserved", counters},
    {"reserved_differs", counters},
    {"stock_negative", counters},
    {"wallet_not_conserved", counters},
    {"wallet_negative", counters},
    {"committed_without_decision", log_lost},
    {"confirmed_without_decision", log_lost},
    {"decision_changed", log_lost},
    {"order_without_operation", log_lost},
    {"epoch_never_granted", log_lost},
    {"barrier_without_saga", log_lost},
    {"pending_without_saga", log_lost},
};

}  // namespace

std::string_view next_step(std::string_view check) {
  const auto* const found = std::ranges::find(steps, check, &NextStep::check);
  return found == std::end(steps) ? any_other : found->text;
}

}  // namespace txcoord::audit
