// What a body is said to be.
#pragma once

#include <string_view>

namespace txcoord::http {

// "application/json", in any case, with any parameters (RFC 9110, 8.3.1; empty ones too); a charset
// must be utf-8.
bool is_json(std::string_view content_type);

// No coding at all, or identity by its name: nothing is unpacked here.
bool is_identity(std::string_view content_encoding);

}  // namespace txcoord::http
