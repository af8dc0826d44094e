// See utf8.hpp.
#include "txcoord/base/utf8.hpp"

namespace txcoord {

CodePoint decode_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) -> std::uint32_t {
    return static_cast<unsigned char>(text[i]);
  };
  const std::uint32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  std::size_t count = 0;
  std::uint32_t least = 0;  // the smallest value that needs this many bytes
  if ((first & 0xE0U) == 0xC0U) {
    count = 2, least = 0x80;
  } else if ((first & 0xF0U) == 0xE0U) {
    count = 3, least = 0x800;
  } else if ((first & 0xF8U) == 0xF0U) {
    count = 4, least = 0x10000;
  } else {
    return {};
  }
  if (text.size() < count) return {};
  std::uint32_t value = first & (0x7FU >> count);
  for (std::size_t i = 1; i < count; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return {};
    value = (value << 6U) | (byte(i) & 0x3FU);
  }
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < least || value > 0x10FFFF || surrogate) return {};
  return {value, count};
}

bool valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const CodePoint point = decode_utf8(text);
    if (point.bytes == 0) return false;
    text.remove_prefix(point.bytes);
  }
  return true;
}

std::string storable_text(std::string_view text, std::size_t bytes_max) {
  std::string clean;
  while (!text.empty()) {
    const CodePoint point = decode_utf8(text);
    const std::size_t bytes = point.bytes == 0 ? 1 : point.bytes;
    if (clean.size() + bytes > bytes_max) break;
    const bool control = point.value < 0x20 || (point.value >= 0x7F && point.value < 0xA0);
    if (point.bytes == 0) {
      clean += '?';
    } else if (control) {
      clean += ' ';
    } else {
      clean.append(text.substr(0, bytes));
    }
    text.remove_prefix(bytes);
  }
  return clean;
}

}  // namespace txcoord
