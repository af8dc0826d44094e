// The closed sets that label values come from. Anything else becomes "other": series stay bounded.
#pragma once

#include <algorithm>
#include <span>
#include <string_view>

namespace txcoord::detail {

inline constexpr std::string_view other_label = "other";

inline constexpr std::string_view participant_labels[] = {"order", "inventory", "payment",
                                                          "shipping", "log"};
inline constexpr std::string_view mode_labels[] = {"2pc", "saga"};
inline constexpr std::string_view outcome_labels[] = {"confirmed", "refused", "failed", "cancelled",
                                                      "unknown"};
inline constexpr std::string_view reason_labels[] = {"",  // confirmed
                                                     "OUT_OF_STOCK",
                                                     "UNKNOWN_SKU",
                                                     "PRICE_CHANGED",
                                                     "INSUFFICIENT_FUNDS",
                                                     "CARD_DECLINED",
                                                     "UNKNOWN_CUSTOMER",
                                                     "ADDRESS_REFUSED",
                                                     "CARRIER_UNAVAILABLE",
                                                     "VALIDATION_FAILED",
                                                     "NOT_FOUND",
                                                     "ILLEGAL_STATE",
                                                     "KEY_MISSING",
                                                     "KEY_REUSED",
                                                     "REQUEST_IN_FLIGHT",
                                                     "PARTICIPANT_UNAVAILABLE",
                                                     "OVERLOADED",
                                                     "RATE_LIMITED",
                                                     "OUTCOME_UNKNOWN",
                                                     "MODE_NOT_AVAILABLE",
                                                     "RESERVATION_EXPIRED",
                                                     "SAGA_LOST",
                                                     "ROWS_MISSING"};
inline constexpr std::string_view step_labels[] = {
    "order.create",   "inventory.reserve", "payment.charge", "shipping.arrange",
    "order.confirm",  "order.cancel",      "order.fail",     "inventory.release",
    "payment.refund", "shipping.cancel",   "transact",       "order.revoke"};
inline constexpr std::string_view phase_labels[] = {"vote",   "judge", "prepare", "decide",
                                                    "commit", "abort", "step"};
inline constexpr std::string_view cause_labels[] = {
    "refused",      "timeout", "deadlock",    "lock_timeout", "unavailable", "fenced",
    "key_conflict", "poison",  "not_applied", "row_held",     "error"};
inline constexpr std::string_view action_labels[] = {"commit", "rollback", "takeover", "heuristic"};
inline constexpr std::string_view method_labels[] = {"GET",   "HEAD",   "POST",   "PUT",
                                                     "PATCH", "DELETE", "OPTIONS"};

inline std::string_view bounded(std::span<const std::string_view> known, std::string_view value) {
  return std::find(known.begin(), known.end(), value) == known.end() ? other_label : value;
}

}  // namespace txcoord::detail
