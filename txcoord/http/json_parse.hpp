// Strict JSON for what clients send. Stricter than Boost.JSON alone: a member named twice is
// refused (it would silently keep the last), depth and sizes are bounded. Numbers keep their kind,
// so that the schema check can insist on int64.
#pragma once

#include <boost/json/value.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace txcoord::http {

namespace json = boost::json;

// What is wrong, and where: "items[0].sku", empty for the whole body.
struct FieldError {
  std::string field, message;
};

struct ParsedJson {
  json::value value;
  std::optional<FieldError> error;
};

inline constexpr std::size_t json_depth_max = 32;
inline constexpr std::size_t json_members_max =
    64;  // of one object: a duplicate is found by looking at each
inline constexpr std::size_t json_elements_max = 1000;

ParsedJson parse_json(std::string_view text);

}  // namespace txcoord::http
