// What a newer version may send: the same document with a member more in every object of it.
#pragma once

#include <string>
#include <string_view>

namespace txcoord::testing {

inline std::string with_future_members(std::string_view json) {
  std::string out;
  bool quoted = false, escaped = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    out.push_back(c);
    if (quoted) {
      quoted = escaped || c != '"';
      escaped = !escaped && c == '\\';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{') {
      out += R"("of_a_newer_version":{"deep":[1,"a",null,{"b":true}]})";
      if (json.substr(i + 1, 1) != "}") out.push_back(',');
    }
  }
  return out;
}

}  // namespace txcoord::testing
