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

  std::size_t count(std::string_view kind, std::string_view outcome) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(facts_.log_after, [&](const LoggedOperation& operation) {
          return operation.kind == kind && operation.outcome == outcome;
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
    if (status == "PENDING") return false;  // a saga under way: its own invariant
    if (status == "FAILED") return true;    // whatever it holds must be undone: statuses()
    made_by_an_operation();
    if (facts_.order->items.empty()) violation("I1", "order_without_items", where());
    if (!facts_.reservations) violation("I1", "reservation_missing", where());
    if (!facts_.payment) violation("I1", "payment_missing", where());
    if (!facts_.shipment) violation("I1", "shipment_missing", where());
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
    if (!agreed) violation("I1", "statuses_disagree", where());
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
    if (facts_.order->mode != "2pc") return;  // a saga's moves have a log of their own

    std::string_view expected;
    if (delivered > 0) {
      expected = "DELIVERED";
    } else if (shipped > 0) {
      expected = "SHIPPED";
    } else if (cancelled > 0) {
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
    for (const LoggedOperation& operation : facts_.log_after) {
      if (operation.kind != "place" || operation.outcome != "confirmed") continue;
      if (operation.gid != facts_.order->transaction_id) {
        violation(
            "I5", "placed_by_another",
            "the log says " + operation.gid + ", the order says " + facts_.order->transaction_id);
      }
    }
  }

  const OrderFacts& facts_;
  std::vector<Violation> found_;
};

}  // namespace

bool OrderFacts::at_rest() const {
  return log_before == log_after &&
         std::ranges::none_of(log_before,
                              [](const LoggedOperation& operation) { return operation.unapplied; });
}

std::vector<Violation> judge_order(const OrderFacts& facts) { return Judge(facts).run(); }

}  // namespace txcoord::audit
