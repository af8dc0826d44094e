// Faults on demand: what an operator or a drill makes a participant suffer, by configuration or
// while it runs. faulty_participant.hpp applies them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace txcoord {

enum class FaultMode : std::uint8_t {
  error,        // the call fails before anything is sent
  lost_answer,  // the call is made, and its answer is lost
  refuse,       // an order is refused: CARD_DECLINED, CARRIER_UNAVAILABLE, OUT_OF_STOCK
  down,         // every call fails, whatever the rate: nobody answers
};
std::string_view to_string(FaultMode mode);
std::optional<FaultMode> parse_fault_mode(std::string_view text);

struct ParticipantFaults {
  double failure_rate = 0;             // 0..1, of calls; of orders for `refuse`
  std::chrono::milliseconds delay{0};  // before each call that a fault may hit
  FaultMode mode = FaultMode::error;

  bool operator==(const ParticipantFaults&) const = default;
};

// The reason that `refuse` gives at this participant; empty: it refuses no order (the order
// service has no reason of its own to).
std::string_view refusal_of(std::string_view participant);

}  // namespace txcoord
