// What a JSON value may be: one table, used to check what clients send, to check in tests what we
// answer, and to write /openapi.json.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "txcoord/http/json_parse.hpp"

namespace txcoord::http {

enum class SchemaKind : std::uint8_t {
  text,
  integer,
  share,  // a number from 0 to 1; never of money
  boolean,
  object,
  array,
};

enum class TextRule : std::uint8_t {
  free,     // UTF-8 without characters that are not seen; more than blanks, if one is required
  visible,  // visible ASCII, no space: ids that clients choose
  uuid,
  time,         // RFC 3339, UTC
  correlation,  // letters, digits and -_.:/+=@
  reason,       // A to Z, digits and _
};

struct Schema;

struct Field {
  std::string_view name;
  const Schema* schema = nullptr;
  bool required = true;
};

struct Schema {
  SchemaKind kind = SchemaKind::object;
  std::string_view name = {};         // in components/schemas; empty: written in place
  std::string_view description = {};  // empty: none
  std::int64_t least = 0;             // integer: value; text: code points; array: elements
  std::int64_t most = std::numeric_limits<std::int64_t>::max();
  TextRule rule = TextRule::free;
  std::span<const std::string_view> choices = {};  // text: one of these
  bool more_choices = false;                       // or another that keeps the rule
  const Schema* items = nullptr;                   // array
  std::span<const Field> fields = {};              // object: these and no others
  std::string_view example = {};                   // JSON; for the document
};

inline constexpr std::size_t errors_max = 20;  // of one answer

// Every way in which the value breaks the schema, at most errors_max; empty: none.
std::vector<FieldError> check(const Schema& schema, const json::value& value);

// The same for one text (a path or query parameter). Integers are parsed strictly.
std::vector<FieldError> check_text(const Schema& schema, std::string_view name,
                                   std::string_view text);

}  // namespace txcoord::http
