// The rules for one order, as small named checks. Each names its invariant.
#include "txcoord/audit/order_facts.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace txcoord::audit {
namespace {

// What the services hold beside an order of this status. One row, one agreement (I1).
struct Agreement {
  std::string_view order;
  std::string_view reservations;
  std::array<std::string_view, 2> payment;
  std::string_view shipment;
};
// AUTHORIZED: a card that was not captured yet; the capture follows the decision.
constexpr std::array<Agreement, 5> agreements{{
    {"CONFIRMED", "RESERVED", {"CAPTURED", "AUTHORIZED"}, "ARRANGED"},
    {"SHIPPED", "SHIPPED", {"CAPTURED", "AUTHORIZED"}, "SHIPPED"},
    {"DELIVERED", "SHIPPED", {"CAPTURED", "AUTHORIZED"}, "DELIVERED"},
    {"CANCELLED", "RELEASED", {"REFUNDED", "VOIDED"}, "CANCELLED"},
    {"FAILED", "RELEASED", {"REFUNDED", "VOIDED"}, "CANCELLED"},
}};

// How many confirmed moves lead to a status.
int moves_made(std::string_view status) {
  if (status == "DELIVERED") return 3;
  if (status == "SHIPPED" || status == "CANCELLED") return 2;
  return status == "CONFIRMED" ? 1 : 0;
}

class Judge {
 public:
  explicit Judge(const OrderFacts& facts) : facts_(facts) {}

  std::vector<Violation> run() {
    if (const LoggedSaga* open = facts_.open_saga()) {
      worked_on(*open);
      return std::move(found_);
    }
    // What is at risk is counted: lost_sagas_check.hpp.
    if (!facts_.log_after.lost.empty()) return {};
    for (const LoggedSaga& saga : facts_.log_after.sagas) ended_as_the_order_says(saga);
    if (refused_and_present()) return std::move(found_);
    if (!existence()) return std::move(found_);
    contents();
    statuses();
    history();
    return std::move(found_);
  }

 private:
  void violation(std::string_view invariant, std::string_view check, std::string text) {
    found_.push_back(
        {std::string(invariant), std::string(check), facts_.order_id, std::move(text)});
  }

  // Of clients. An accepted order's turn in a group is a half of its client's operation.
  std::size_t count(std::string_view kind, std::string_view outcome) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(facts_.log_after.operations, [&](const LoggedOperation& operation) {
          return !operation.internal && operation.kind == kind && operation.outcome == outcome;
        }));
  }

  std::string where() const {
    std::string text = "order ";
    text += facts_.order && facts_.order->row ? facts_.order->status : "absent";
    text += ", reservations " +
            (facts_.reservations ? facts_.reservations->statuses : std::string("absent"));
    text += ", payment " + (facts_.payment ? facts_.payment->status : std::string("absent"));
    text += ", shipment " + facts_.shipment.value_or("absent");
    return text;
  }

  bool anything() const {
    return facts_.order || facts_.reservations || facts_.payment || facts_.shipment;
  }

  // Confirmed by a saga while something of it was due, and cancelled when that was refused: the
  // order's row says why, which no cancel by a client does.
  bool revoked() const {
    if (!facts_.order || facts_.order->status != "CANCELLED" || facts_.order->reason.empty())
      return false;
    // As long as the log has its saga: by one that can.
    return std::ranges::none_of(facts_.log_after.sagas,
                                [](const LoggedSaga& saga) { return saga.type == "place_order"; });
  }

  // I8: what is open is worked on, or shown as needing a person.
  void worked_on(const LoggedSaga& saga) {
    if (saga.stuck || !saga.silent) return;
    const std::string text = saga.type + ' ' + saga.saga_id + " stands at " + saga.status;
    if (!saga.owned) {
      violation("I8", "saga_abandoned", text + ", and no coordinator that lives owns it");
    } else {
      violation("I8", "saga_silent", text + "; its coordinator lives and does not go on");
    }
  }

  // I8, I10: COMPLETED or FAILED, and the order's row says the same. What came later is history().
  void ended_as_the_order_says(const LoggedSaga& saga) {
    const std::string_view status =
        facts_.order && facts_.order->row ? std::string_view(facts_.order->status) : "";
    const bool done = saga.status == "COMPLETED";
    const std::string text = saga.type + " ended " + saga.status + "; found: " + where();
    if (saga.type == "cancel_order") {
      if (done && status != "CANCELLED") violation("I8", "saga_and_order_disagree", text);
      return;
    }
    if (!done && revoked() && facts_.order->reason == saga.reason) return;
    // FAILED without an order: its very creation was refused.
    if (done ? moves_made(status) == 0 : !status.empty() && status != "FAILED") {
      violation("I8", "saga_and_order_disagree", text);
    } else if (!done && status == "FAILED" && facts_.order->reason != saga.reason) {
      violation("I10", "reasons_differ",
                "the order failed for " + facts_.order->reason + ", its saga for " + saga.reason);
    }
  }

  // I10: a refused place left nothing, or (a saga's, an accepted-and-failed one) a FAILED order.
  bool refused_and_present() {
    if (count("place", "refused") == 0) return false;
    if (count("place", "confirmed") > 0) {
      violation("I10", "refused_and_confirmed",
                "the log holds both answers for placing this order");
      return true;
    }
    if (!anything()) return true;
    if (facts_.order && facts_.order->status == "FAILED") return false;
    violation("I10", "refused_but_present", "the log says refused; found: " + where());
    return true;
  }

  // I1, I2: in all services or in none. False: the rest of the rules would only repeat it.
  bool existence() {
    const bool confirmed = count("place", "confirmed") > 0;
    if (!anything()) {
      if (confirmed)
        violation("I2", "confirmed_but_absent", "the log says confirmed; it is in no service");
      return false;
    }
    if (!facts_.order || !facts_.order->row) {
      if (facts_.order)
        violation("I1", "items_without_order", facts_.order->items + "; " + where());
      if (facts_.reservations) violation("I1", "reservation_without_order", where());
      if (facts_.payment) violation("I1", "payment_without_order", where());
      if (facts_.shipment) violation("I1", "shipment_without_order", where());
      return false;
    }
    const std::string& status = facts_.order->status;
    if (status == "PENDING") {
      // Another installation's may have a saga that our log does not know. No log at all knows one
      // that it has lost.
      if (facts_.log_after.sagas.empty() && (facts_.logged() || !facts_.log.shared))
        violation("I8", "pending_without_saga", "nobody will bring it to an end; " + where());
      return false;
    }
    if (status == "FAILED") return true;  // whatever it holds must be undone: statuses()
    made_by_an_operation();
    if (facts_.order->items.empty()) violation("I1", "order_without_items", where());
    if (!facts_.reservations) violation("I1", "reservation_missing", where());
    if (!facts_.payment && !revoked()) violation("I1", "payment_missing", where());
    if (!facts_.shipment && !revoked()) violation("I1", "shipment_missing", where());
    return true;
  }

  // I4: an order of ours that the log should know was made by an operation.
  void made_by_an_operation() {
    const OrderRow& order = *facts_.order;
    if (order.mode != "2pc" || facts_.logged() || order.created_us <= facts_.log.complete_since_us)
      return;
    if (!order.transaction_id.starts_with(facts_.log.installation_prefix)) return;
    violation("I4", "order_without_operation",
              "no operation in the log made it; found: " + where());
  }

  // I1: what is reserved and paid is what was ordered.
  void contents() {
    const OrderRow& order = *facts_.order;
    const std::string total = std::to_string(order.total_amount);
    if (!order.items.empty() && order.items_total != total) {
      violation("I1", "total_differs",
                "total_amount " + total + ", its items come to " + order.items_total);
    }
    if (facts_.reservations && facts_.reservations->items != order.items) {
      violation("I1", "items_differ",
                "ordered " + order.items + "; reserved " + facts_.reservations->items);
    }
    if (!facts_.payment) return;
    if (facts_.payment->amount != order.total_amount) {
      violation("I1", "amount_differs",
                "total_amount " + total + ", paid " + std::to_string(facts_.payment->amount));
    }
    if (facts_.payment->customer_id != order.customer_id) {
      violation("I1", "payer_differs",
                "ordered by " + order.customer_id + ", paid by " + facts_.payment->customer_id);
    }
  }

  void statuses() {
    const auto row =
        std::ranges::find(agreements, std::string_view(facts_.order->status), &Agreement::order);
    if (row == agreements.end()) {
      violation("I1", "status_unknown", where());
      return;
    }
    const bool agreed =
        (!facts_.reservations || facts_.reservations->statuses == row->reservations) &&
        (!facts_.payment ||
         std::ranges::find(row->payment, facts_.payment->status) != row->payment.end()) &&
        (!facts_.shipment || *facts_.shipment == row->shipment);
    if (agreed) return;
    violation("I1", "statuses_disagree",
              where() + "; expected beside that order: reservations " +
                  std::string(row->reservations) + ", payment " + std::string(row->payment[0]) +
                  " or " + std::string(row->payment[1]) + ", shipment " +
                  std::string(row->shipment));
  }

  // The answers in the log against each other and against the order. Old keys are dropped, oldest
  // first: so what came last is there, and what came first may not be.
  void history() {
    const std::size_t placed = count("place", "confirmed"),
                      cancelled = count("cancel", "confirmed"),
                      shipped = count("ship", "confirmed"),
                      delivered = count("deliver", "confirmed");
    if (placed > 1)
      violation("I5", "placed_twice", std::to_string(placed) + " operations placed it");
    for (const auto& [kind, times] :
         {std::pair{"cancel", cancelled}, {"ship", shipped}, {"deliver", delivered}}) {
      if (times > 1)
        violation("I9", "moved_twice", std::to_string(times) + " times confirmed: " + kind);
    }
    if (cancelled > 0 && shipped + delivered > 0) {
      violation("I9", "cancelled_and_shipped", "the log confirmed a cancel and a shipping of it");
    }
    accepted_once();

    std::string_view expected;
    if (delivered > 0) {
      expected = "DELIVERED";
    } else if (shipped > 0) {
      expected = "SHIPPED";
    } else if (cancelled > 0 || revoked()) {
      expected = "CANCELLED";
    } else if (placed > 0) {
      expected = "CONFIRMED";
    } else {
      return;
    }
    if (facts_.order->status != expected) {
      // Behind the log: an answer was lost (I2). Ahead of it: something moved without a decision
      // (I4).
      const bool ahead = moves_made(facts_.order->status) > moves_made(expected);
      violation(ahead ? "I4" : "I2", ahead ? "moved_without_decision" : "answer_lost",
                "the log's answers lead to " + std::string(expected) + "; found: " + where());
    }
    // An accepted order is placed by its group, and carries that gid.
    const bool accepted = internal_place() != nullptr;
    for (const LoggedOperation& operation : facts_.log_after.operations) {
      if (operation.kind != "place" || operation.outcome != "confirmed") continue;
      if (operation.internal != accepted) continue;
      if (operation.gid != facts_.order->transaction_id) {
        violation(
            "I5", "placed_by_another",
            "the log says " + operation.gid + ", the order says " + facts_.order->transaction_id);
      }
    }
  }

  const LoggedOperation* internal_place() const {
    const auto& operations = facts_.log_after.operations;
    const auto found = std::ranges::find_if(operations, &LoggedOperation::internal);
    return found == operations.end() ? nullptr : &*found;
  }

  // I5, I10: the two halves of an accepted order say the same.
  void accepted_once() {
    const LoggedOperation* internal = internal_place();
    if (!internal) return;
    const bool confirmed = internal->outcome == "confirmed";
    if (count("place", confirmed ? "refused" : "confirmed") > 0) {
      violation("I10", "accepted_differently",
                "its group " + internal->outcome + " it, its client was told otherwise");
    }
  }

  const OrderFacts& facts_;
  std::vector<Violation> found_;
};

}  // namespace

bool OrderFacts::at_rest() const {
  return log_before == log_after &&
         std::ranges::none_of(log_before.operations, &LoggedOperation::unapplied) &&
         std::ranges::all_of(log_before.sagas, &LoggedSaga::ended);
}

const LoggedSaga* OrderFacts::open_saga() const {
  const auto open = std::ranges::find(log_after.sagas, false, &LoggedSaga::ended);
  return open == log_after.sagas.end() ? nullptr : &*open;
}

std::vector<Violation> judge_order(const OrderFacts& facts) { return Judge(facts).run(); }

}  // namespace txcoord::audit
