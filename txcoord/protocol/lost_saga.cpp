// See lost_saga.hpp.
#include "txcoord/protocol/lost_saga.hpp"

#include <algorithm>

#include "txcoord/protocol/saga_plans.hpp"

namespace txcoord::protocol {
namespace {

bool is(const LostBarriers& barriers, std::string_view step, std::string_view outcome) {
  const auto found = barriers.find(step);
  return found != barriers.end() && found->second == outcome;
}
bool done(const LostBarriers& barriers, std::string_view step) {
  return is(barriers, step, "done");
}

// Only a cancel has this step: a revoked order's is order.revoke.
bool of_a_cancel(const LostBarriers& barriers) { return barriers.contains("order.cancel"); }

// Every step that was done, or may yet be, is undone; last first, down to the order's creation.
SagaPosition all_the_way_back(std::size_t steps) {
  return {std::string(saga_compensating), steps, std::string(saga_lost),
          "the log lost this saga; a person had it compensated"};
}

LostVerdict judge_cancel(const LostBarriers& barriers, const LostRows& rows) {
  LostVerdict verdict{.type = std::string(cancel_order_type)};
  verdict.lost =
      done(barriers, "order.cancel") && rows.order_status == "CANCELLED" && rows.holds_anything();
  // Once the order is cancelled it goes forward only.
  if (verdict.lost) verdict.complete = SagaPosition{"ORDER_CANCELLED", 1, {}, {}};
  return verdict;
}

LostVerdict judge_pending(const LostBarriers& barriers, const LostRows& rows) {
  LostVerdict verdict{.lost = true};
  const bool created_alone = std::ranges::all_of(
      barriers, [](const auto& barrier) { return barrier.first == "order.create"; });
  if (rows.order_mode == "2pc" && created_alone && !rows.holds_anything()) {
    verdict.type = accepted_order_type;
    verdict.compensate = all_the_way_back(1);
    return verdict;
  }
  verdict.type = place_order_type;
  verdict.compensate = all_the_way_back(4);
  // Everything before order.confirm is done. Earlier than that, what the next step needs (the
  // address, the payment's method and token) stood in the log alone.
  if (rows.stock_held && rows.money_taken && rows.shipment_arranged)
    verdict.complete = SagaPosition{"PAYMENT_COMPLETED", 4, {}, {}};
  return verdict;
}

// Confirmed while something of it was due (degraded modes), or revoked for that.
LostVerdict judge_due(bool unpaid, bool unshipped) {
  LostVerdict verdict{.lost = true, .type = std::string(later_type(unpaid, unshipped))};
  verdict.compensate = all_the_way_back(5);
  return verdict;
}

}  // namespace

bool ended_by_barriers(const LostBarriers& barriers) {
  const bool nothing_done =
      std::ranges::none_of(barriers, [](const auto& barrier) { return barrier.second == "done"; });
  if (nothing_done) return true;
  if (of_a_cancel(barriers))
    return done(barriers, "order.cancel") && done(barriers, "shipping.cancel") &&
           done(barriers, "payment.refund") && done(barriers, "inventory.release");
  // The last compensation of every plan that places an order.
  if (done(barriers, "order.fail")) return true;
  const bool turned_back =
      barriers.contains("order.revoke") || barriers.contains("payment.refund") ||
      barriers.contains("shipping.cancel") || barriers.contains("inventory.release");
  return !turned_back && done(barriers, "order.confirm") && done(barriers, "payment.charge") &&
         done(barriers, "shipping.arrange");
}

LostVerdict judge_lost_saga(const LostBarriers& barriers, const LostRows& rows) {
  if (!barriers.empty() && ended_by_barriers(barriers)) return {};
  if (of_a_cancel(barriers)) return judge_cancel(barriers, rows);
  if (rows.order_status == "PENDING") return judge_pending(barriers, rows);
  if (rows.order_status == "FAILED" || rows.order_status.empty()) {
    if (!rows.holds_anything()) return {};
    return {.lost = true, .type = std::string(place_order_type), .compensate = all_the_way_back(4)};
  }
  if (rows.order_status == "CONFIRMED") {
    const bool unpaid = !rows.money_taken;
    const bool unshipped = !rows.shipment_arranged && !rows.shipment_sent;
    return unpaid || unshipped ? judge_due(unpaid, unshipped) : LostVerdict{};
  }
  // Cancelled with a reason: revoked. A cancel by a client gives none, and is its own saga, or a
  // group's.
  if (rows.order_status == "CANCELLED" && rows.order_reason && rows.holds_anything())
    return judge_due(true, true);
  return {};
}

}  // namespace txcoord::protocol
