// Facts of a request's raw header that Beast's parser takes or hides and that we must refuse: each
// of them lets two readers of one byte stream disagree about where a request ends (smuggling), or
// about whom it is for.
#pragma once

#include <optional>
#include <string_view>

namespace txcoord::http {

struct HeaderFault {
  int status = 400;
  std::string_view detail;  // a literal
};

// `header`: from the request line to the empty line, both included. nullopt: nothing to refuse.
std::optional<HeaderFault> check_header(std::string_view header);

}  // namespace txcoord::http
