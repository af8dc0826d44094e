// A request's target, taken apart (RFC 9112, 3.2).
#pragma once

#include <string_view>

namespace txcoord::http {

struct Target {
  std::string_view authority;  // of the absolute form, which a proxy sends; else empty
  std::string_view path, query;
};

// Origin form or absolute form; anything else is a path that no route has. Views into `target`.
Target split_target(std::string_view target);

}  // namespace txcoord::http
