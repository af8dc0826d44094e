// UTF-8, checked to the letter (RFC 3629): no overlong forms, no surrogates, nothing above
// U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace txcoord {

struct CodePoint {
  std::uint32_t value = 0;
  std::size_t bytes = 0;  // 0: not valid UTF-8 here
};

// The code point at the start of `text`. Precondition: text is not empty.
CodePoint decode_utf8(std::string_view text);

bool valid_utf8(std::string_view text);

// Words of somebody else, as every database and every JSON document takes them: control characters
// (U+0000 among them) become spaces, each byte that is not UTF-8 a question mark, and what is
// longer than `bytes_max` is cut between two code points.
std::string storable_text(std::string_view text, std::size_t bytes_max);

}  // namespace txcoord
