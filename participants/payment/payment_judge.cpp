// See payment_judge.hpp. Balances are compared by subtraction, so that no sum can overflow.
#include "participants/payment/payment_judge.hpp"

#include <set>
#include <stdexcept>

namespace txcoord {
namespace {

bool given_back(PaymentStatus status) {
  return status == PaymentStatus::refunded || status == PaymentStatus::voided;
}

// One pass over the group: what earlier candidates with yes spent, and which orders they changed.
class PaymentJudge {
 public:
  explicit PaymentJudge(const LockedWallets& rows) : rows_(rows) {}

  protocol::Vote judge(const Operation& operation) {
    switch (operation.kind) {
      case OperationKind::place:
        return operation.place.payment_method == PaymentMethod::card
                   ? place_card(operation.place)
                   : place_wallet(operation.place);
      case OperationKind::cancel: return cancel(operation);
      case OperationKind::ship:
      case OperationKind::deliver:
      case OperationKind::create:
      case OperationKind::confirm:
      case OperationKind::fail: break;  // nothing of theirs is here
    }
    return vote_yes();
  }

 private:
  protocol::Vote place_wallet(const PlaceOrder& order) {
    const auto wallet = rows_.balances.find(order.customer_id);
    if (wallet == rows_.balances.end()) return without_wallet(order.customer_id);
    const Money balance = wallet->second;
    Money& spent = spent_[order.customer_id];
    if (order.total_amount > balance)
      return vote_no("INSUFFICIENT_FUNDS", "the wallet holds too little", true);
    // What a cancel of this group gives back is not counted: it may fall.
    if (order.total_amount > balance - spent) {
      return vote_no("INSUFFICIENT_FUNDS", "the wallet holds too little after earlier orders",
                     false);
    }
    spent += order.total_amount;
    return vote_yes();
  }

  protocol::Vote without_wallet(const std::string& customer_id) const {
    if (auto held = vote_if_held(rows_.held, "payment", customer_id)) return *std::move(held);
    return vote_no("UNKNOWN_CUSTOMER", "no such customer", true);
  }

  protocol::Vote place_card(const PlaceOrder& order) const {
    if (!rows_.balances.contains(order.customer_id)) return without_wallet(order.customer_id);
    const auto card = rows_.cards.find(order.payment_id);
    const CardAnswer answer =
        card == rows_.cards.end() ? CardAnswer::unanswered : card->second.answer;
    switch (answer) {
      case CardAnswer::authorized: return vote_yes();
      case CardAnswer::declined: return vote_no("CARD_DECLINED", "the card was declined", true);
      case CardAnswer::unanswered: break;
    }
    // Not a refusal: the money may be authorised. Nothing is recorded, the client may ask again,
    // and settle_cards() voids what this attempt left behind.
    protocol::Vote vote = vote_retry("card processor did not answer");
    vote.reason = "PARTICIPANT_UNAVAILABLE";
    return vote;
  }

  protocol::Vote cancel(const Operation& operation) {
    const auto payment = rows_.payments.find(operation.order_id);
    if (payment == rows_.payments.end()) return vote_retry("no payment of this order here yet");
    if (auto held = vote_if_held(rows_.held_orders, "payment", operation.order_id))
      return *std::move(held);
    if (auto held = vote_if_held(rows_.held, "payment", payment->second.customer_id))
      return *std::move(held);
    // It came after the wallets to lock were looked up: its wallet row is not locked.
    if (!rows_.balances.contains(payment->second.customer_id)) {
      return vote_retry("a payment appeared during the vote");
    }
    if (given_back(payment->second.status)) {
      return vote_no("ILLEGAL_STATE",
                     "the order is cancelled already, and its payment is given back: nothing was "
                     "changed",
                     true);
    }
    if (!cancelled_.insert(operation.order_id).second) {
      return vote_no("ILLEGAL_STATE",
                     "another request changed the order at the same time: look at it again", false);
    }
    return vote_yes();
  }

  const LockedWallets& rows_;
  std::map<std::string, Money> spent_;  // by customer_id
  std::set<std::string> cancelled_;     // order ids
};

}  // namespace

std::string_view to_string(PaymentStatus status) {
  switch (status) {
    case PaymentStatus::authorized: return "AUTHORIZED";
    case PaymentStatus::captured: return "CAPTURED";
    case PaymentStatus::refunded: return "REFUNDED";
    case PaymentStatus::voided: return "VOIDED";
  }
  return "unknown";
}

PaymentStatus payment_status(std::string_view text) {
  for (const PaymentStatus status : {PaymentStatus::authorized, PaymentStatus::captured,
                                     PaymentStatus::refunded, PaymentStatus::voided}) {
    if (to_string(status) == text) return status;
  }
  throw std::runtime_error("payments.status is unknown: " + std::string(text));
}

protocol::Votes LockedWallets::judge(const Operations& operations,
                                     const OperationMask& candidates) const {
  PaymentJudge judge(*this);
  protocol::Votes votes(operations.size());
  for (std::size_t i = 0; i < operations.size(); ++i) {
    if (candidates[i]) votes[i] = judge.judge(*operations[i]);
  }
  return votes;
}

bool LockedWallets::undone_already(const Operation& operation) const {
  const auto payment = payments.find(operation.order_id);
  return operation.kind == OperationKind::cancel && payment != payments.end() &&
         given_back(payment->second.status);
}

}  // namespace txcoord
