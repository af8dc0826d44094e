// The simulated carriers: whom they serve, which of them serves where, their tracking numbers.
// Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace txcoord {

struct Prefecture {
  std::string_view name;    // 東京都
  std::string_view romaji;  // Tokyo
  std::string_view suffix;  // -to, -fu, -ken; empty for Hokkaido
  std::string_view carrier;
  std::string_view tracking_prefix;  // the carrier's, two letters
};

// What stands in a carrier's place where an operator has people ship by hand.
inline constexpr std::string_view by_hand_carrier = "by hand";
inline constexpr std::string_view by_hand_prefix = "BH";

// NNN-NNNN or NNNNNNN.
bool valid_postal_code(std::string_view text);

// By 東京都, Tokyo or Tokyo-to; romaji in any case. nullopt: not one of the 47.
std::optional<Prefecture> find_prefecture(std::string_view text);

// One shipment, one number, the same however often it is made: the prefix and the id's 128 bits in
// Crockford's base 32, most significant first. Two ids never share one, so no insert waits for
// another's; and numbers of time-ordered ids are time-ordered, so inserts stay local in the index.
// Precondition: valid_uuid(shipment_id).
std::string tracking_number(std::string_view prefix, std::string_view shipment_id);

}  // namespace txcoord
