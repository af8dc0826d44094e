// SHA-256 (OpenSSL): fingerprints of canonical requests.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace txcoord {

std::array<std::uint8_t, 32> sha256(std::string_view bytes);
std::string to_hex(const std::array<std::uint8_t, 32>& digest);
// nullopt for what to_hex() would not have written.
std::optional<std::array<std::uint8_t, 32>> sha256_from_hex(std::string_view text);

}  // namespace txcoord
