// Vectors as PostgreSQL arrays, in its text form. Ours and not libpqxx's: 7.8.1 (Ubuntu 24.04)
// forgets the separators in the size of its buffer, and writes past the end of it where strings are
// empty.
#pragma once

#include <charconv>
#include <concepts>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace txcoord::pg {

namespace detail {

// Quoted always: the word NULL, an empty string and one of spaces stay what they are.
inline void append_element(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

template <std::integral Number>
void append_element(std::string& out, Number number) {
  if constexpr (std::same_as<Number, bool>) {
    out += number ? 't' : 'f';
  } else {
    char digits[std::numeric_limits<Number>::digits10 + 3];
    out.append(digits, std::to_chars(std::begin(digits), std::end(digits), number).ptr);
  }
}

template <class Value>
void append_element(std::string& out, const std::optional<Value>& value) {
  if (value)
    append_element(out, *value);
  else
    out += "NULL";
}

}  // namespace detail

template <class Type>
inline constexpr bool is_vector = false;
template <class Value>
inline constexpr bool is_vector<std::vector<Value>> = true;

// {"a","b \"c\""}, {1,2}, {t,NULL}
template <class Value>
std::string array_text(const std::vector<Value>& values) {
  std::string out = "{";
  for (const auto& value : values) {
    if (out.size() > 1) out += ',';
    detail::append_element(out, static_cast<const Value&>(value));
  }
  out += '}';
  return out;
}

}  // namespace txcoord::pg
