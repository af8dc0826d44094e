// A saga that the log has lost (it was restored, or failed over), judged by what the participants
// still have: the barriers of its steps, and the rows of its order. Pure.
//
//   1. A saga's start is durable in the log before its first barrier exists. So a barrier that is
//      read first, and whose saga the log then does not know, was forgotten by the log; only the
//      record of a saga that ended can have been trimmed, and its barriers go before it.
//   2. Barriers that say completed, or fully compensated, leave nothing at risk: nobody is needed.
//   3. For all others the rows decide: what stands half done, or is held for an order that failed.
//   4. What may be done about it is written again into the log as a saga of the same id, and run
//      with the same barriers: a step of its first life that comes late meets them.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "txcoord/protocol/saga.hpp"

namespace txcoord::protocol {

// Why an order failed whose lost saga a person had compensated.
inline constexpr std::string_view saga_lost = "SAGA_LOST";

// "<participant>.<step>": done, refused or skipped.
using LostBarriers = std::map<std::string, std::string, std::less<>>;

// The order's rows, over all services.
struct LostRows {
  std::string order_status;  // empty: there is no such order
  std::string order_mode;    // 2pc or saga
  bool order_reason = false;
  bool stock_held = false;   // a reservation is RESERVED
  bool money_taken = false;  // CAPTURED or AUTHORIZED
  bool shipment_arranged = false;
  bool shipment_sent = false;  // SHIPPED or DELIVERED

  bool holds_anything() const { return stock_held || money_taken || shipment_arranged; }
};

struct LostVerdict {
  bool lost = false;  // a person is needed
  std::string type;   // of the plan that a resolution follows
  // Where the saga is to stand when it is written again; nothing: this cannot be done.
  std::optional<SagaPosition> compensate, complete;
};

// Completed or fully compensated, whatever the rows say.
bool ended_by_barriers(const LostBarriers& barriers);

LostVerdict judge_lost_saga(const LostBarriers& barriers, const LostRows& rows);

}  // namespace txcoord::protocol
