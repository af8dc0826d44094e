// Pure: judges a group's operations from the wallets and payments that the vote locked, and from
// what the card processor said before.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "participants/locked_rows.hpp"

namespace txcoord {

enum class PaymentStatus : std::uint8_t { authorized, captured, refunded, voided };
std::string_view to_string(PaymentStatus status);
PaymentStatus payment_status(std::string_view text);  // throws std::runtime_error on anything else

struct PaymentRow {
  std::string payment_id, customer_id, provider_reference;
  PaymentMethod method = PaymentMethod::wallet;
  Money amount = 0;
  PaymentStatus status = PaymentStatus::captured;
};

// The processor's answer to one authorisation; `unanswered` may have authorised all the same.
enum class CardAnswer : std::uint8_t { authorized, declined, unanswered };

struct CardOutcome {
  CardAnswer answer = CardAnswer::unanswered;
  std::string authorization_id;  // for authorized
};

class LockedWallets final : public LockedRows {
 public:
  std::map<std::string, Money> balances;       // by customer_id; every row is locked
  std::map<std::string, PaymentRow> payments;  // by order_id, read after the locks
  std::map<std::string, CardOutcome> cards;    // by payment_id, for the group's card orders
  // What is there and held by somebody else: wallets by customer_id, payments by order_id.
  HeldRows held, held_orders;

  protocol::Votes judge(const Operations& operations,
                        const OperationMask& candidates) const override;
  bool undone_already(const Operation& operation) const override;
};

}  // namespace txcoord
