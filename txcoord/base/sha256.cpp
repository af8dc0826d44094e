// SHA-256 by OpenSSL's one-shot function.
#include "txcoord/base/sha256.hpp"

#include <openssl/sha.h>

namespace txcoord {

std::array<std::uint8_t, 32> sha256(std::string_view bytes) {
  std::array<std::uint8_t, 32> digest{};
  static_assert(digest.size() == SHA256_DIGEST_LENGTH);
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  return digest;
}

std::string to_hex(const std::array<std::uint8_t, 32>& digest) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * digest.size());
  for (const std::uint8_t byte : digest) {
    text.push_back(digits[byte >> 4U]);
    text.push_back(digits[byte & 0x0FU]);
  }
  return text;
}

std::optional<std::array<std::uint8_t, 32>> sha256_from_hex(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::array<std::uint8_t, 32> digest{};
  if (text.size() != 2 * digest.size() || text.find_first_not_of(digits) != std::string_view::npos)
    return std::nullopt;
  for (std::size_t i = 0; i < digest.size(); ++i)
    digest[i] =
        static_cast<std::uint8_t>(digits.find(text[2 * i]) * 16 + digits.find(text[2 * i + 1]));
  return digest;
}

}  // namespace txcoord
