// The token between coordinators and participants.
#pragma once

#include <string_view>

namespace txcoord::http {

// Whether the Authorization header bears the token; always, if there is none (empty). The scheme is
// case-insensitive (RFC 9110).
bool bears(std::string_view authorization, std::string_view token);

}  // namespace txcoord::http
