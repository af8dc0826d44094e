// UTF-8, checked to the letter (RFC 3629): no overlong forms, no surrogates, nothing above
// U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace txcoord {

struct CodePoint {
  std::uint32_t value = 0;
  std::size_t bytes = 0;  // 0: not valid UTF-8 here
};

// The code point at the start of `text`. Precondition: text is not empty.
CodePoint decode_utf8(std::string_view text);

bool valid_utf8(std::string_view text);

}  // namespace txcoord
