// Degraded modes: what an operator switches on while a participant is away, so that new orders are
// placed without it. Kept in the log, so that all coordinators work by the same.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace txcoord {

// The participants that an order can be placed without, and the word for it. Without order and
// inventory there is nothing to confirm.
struct DegradedModeName {
  std::string_view participant, mode;
};
inline constexpr std::array<DegradedModeName, 2> degraded_mode_names{
    {{"payment", "pay_later"}, {"shipping", "ship_by_hand"}}};

// Empty: this participant has none.
constexpr std::string_view degraded_mode_of(std::string_view participant) {
  const auto found =
      std::ranges::find(degraded_mode_names, participant, &DegradedModeName::participant);
  return found == degraded_mode_names.end() ? std::string_view() : found->mode;
}

struct DegradedModes {
  bool pay_later = false;
  bool ship_by_hand = false;

  constexpr bool any() const { return pay_later || ship_by_hand; }
  // Its absence keeps no new order from being placed.
  constexpr bool spares(std::string_view participant) const {
    return (pay_later && participant == "payment") || (ship_by_hand && participant == "shipping");
  }
  // A participant without a mode changes nothing.
  constexpr void set(std::string_view participant, bool on) {
    if (participant == "payment") pay_later = on;
    if (participant == "shipping") ship_by_hand = on;
  }
  bool operator==(const DegradedModes&) const = default;
};

}  // namespace txcoord
