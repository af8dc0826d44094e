// See schema.hpp.
#include "txcoord/http/schema.hpp"

#include <algorithm>
#include <charconv>

#include "txcoord/base/ids.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/base/utf8.hpp"

namespace txcoord::http {
namespace {

std::string range_text(const Schema& schema, std::string_view unit) {
  return "must have " + std::to_string(schema.least) + " to " + std::to_string(schema.most) +
         std::string(unit);
}

std::string join(std::span<const std::string_view> choices) {
  std::string text;
  for (const std::string_view choice : choices) {
    if (!text.empty()) text += ", ";
    text += choice;
  }
  return text;
}

struct Range {
  std::uint32_t first, last;
};
// Controls, and what turns the direction of a text, ends its line or has no width: a name that
// holds it is not the name that people see.
constexpr Range unseen[] = {{0x00, 0x1F},     {0x7F, 0x9F},     {0xAD, 0xAD},      {0x061C, 0x061C},
                            {0x200B, 0x200B}, {0x200E, 0x200F}, {0x2028, 0x202E},  {0x2060, 0x206F},
                            {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}, {0xE0000, 0xE007F}};
// Blanks, and joiners, which are nothing without letters.
constexpr Range blanks[] = {{0x20, 0x20},     {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
                            {0x200C, 0x200D}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x2800, 0x2800},
                            {0x3000, 0x3000}, {0x3164, 0x3164}};

bool among(std::span<const Range> ranges, std::uint32_t point) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const Range& range) {
    return point >= range.first && point <= range.last;
  });
}

bool alphanumeric(std::uint32_t point) {
  return (point >= '0' && point <= '9') || (point >= 'a' && point <= 'z') ||
         (point >= 'A' && point <= 'Z');
}

// Empty: the code point may stand in a text of this rule.
std::string_view point_fault(TextRule rule, std::uint32_t point) {
  if (among(unseen, point)) return "must not hold control characters, or others that are not seen";
  if (rule == TextRule::visible && (point <= 0x20 || point >= 0x7F))
    return "must be visible ASCII characters without spaces";
  if (rule == TextRule::correlation && !alphanumeric(point) &&
      (point >= 0x80 ||
       std::string_view("-_.:/+=@").find(static_cast<char>(point)) == std::string_view::npos))
    return "must be letters, digits and -_.:/+=@";
  if (rule == TextRule::reason && (!alphanumeric(point) || point >= 'a') && point != '_')
    return "must be capital letters, digits and _";
  return {};
}

// Empty: the text keeps its schema.
std::string text_fault(const Schema& schema, std::string_view text) {
  if (!schema.choices.empty() && !schema.more_choices) {
    const bool known =
        std::find(schema.choices.begin(), schema.choices.end(), text) != schema.choices.end();
    return known ? "" : "must be one of: " + join(schema.choices);
  }
  std::int64_t points = 0;
  bool blank = true;
  for (std::string_view rest = text; !rest.empty(); ++points) {
    const CodePoint point = decode_utf8(rest);
    if (point.bytes == 0) return "must be valid UTF-8";
    if (const auto why = point_fault(schema.rule, point.value); !why.empty())
      return std::string(why);
    blank = blank && among(blanks, point.value);
    rest.remove_prefix(point.bytes);
  }
  if (points < schema.least || points > schema.most) return range_text(schema, " characters");
  if (schema.least > 0 && blank) return "must not be blank";
  if (schema.rule == TextRule::uuid && !valid_uuid(text)) return "must be a uuid";
  if (schema.rule == TextRule::time && !parse_time(text)) return "must be an RFC 3339 time in UTC";
  return "";
}

std::string integer_fault(const Schema& schema, std::int64_t value) {
  if (value >= schema.least && value <= schema.most) return "";
  return "must be from " + std::to_string(schema.least) + " to " + std::to_string(schema.most);
}

class Checker {
 public:
  void run(const Schema& schema, const json::value& value) {
    switch (schema.kind) {
      case SchemaKind::text: return text(schema, value);
      case SchemaKind::integer: return integer(schema, value);
      case SchemaKind::share: return share(value);
      case SchemaKind::boolean:
        if (!value.is_bool()) fault("must be true or false");
        return;
      case SchemaKind::object: return object(schema, value);
      case SchemaKind::array: return array(schema, value);
    }
  }

  std::vector<FieldError> take() { return std::move(errors_); }

 private:
  void fault(std::string message) {
    if (errors_.size() < errors_max) errors_.push_back({path_, std::move(message)});
  }

  void text(const Schema& schema, const json::value& value) {
    const json::string* content = value.if_string();
    if (content == nullptr) return fault("must be a string");
    std::string why = text_fault(schema, {content->data(), content->size()});
    if (!why.empty()) fault(std::move(why));
  }

  // 2^64 arrives as a double, 1e400 as infinity, 1.0 as a double: only the kind int64 is exact.
  void integer(const Schema& schema, const json::value& value) {
    const std::int64_t* number = value.if_int64();
    if (number == nullptr) {
      return fault(value.is_number()
                       ? "must be an integer of at most 64 bits, without fraction or exponent"
                       : "must be an integer");
    }
    std::string why = integer_fault(schema, *number);
    if (!why.empty()) fault(std::move(why));
  }

  void share(const json::value& value) {
    const bool in_range =
        value.is_number() && value.to_number<double>() >= 0.0 && value.to_number<double>() <= 1.0;
    if (!in_range) fault("must be a number from 0 to 1");
  }

  void object(const Schema& schema, const json::value& value) {
    const json::object* members = value.if_object();
    if (members == nullptr) return fault("must be an object");
    for (const Field& field : schema.fields) {
      const json::value* member = members->if_contains({field.name.data(), field.name.size()});
      if (member != nullptr) {
        const Inside inside(*this, field.name);
        run(*field.schema, *member);
      } else if (field.required) {
        const Inside inside(*this, field.name);
        fault("is required");
      }
    }
    for (const auto& member : *members) {
      const std::string_view name(member.key().data(), member.key().size());
      const auto known = [&](const Field& field) { return field.name == name; };
      if (std::none_of(schema.fields.begin(), schema.fields.end(), known)) {
        const Inside inside(*this, name);
        fault("is not a known field");
      }
    }
  }

  void array(const Schema& schema, const json::value& value) {
    const json::array* elements = value.if_array();
    if (elements == nullptr) return fault("must be an array");
    const auto count = static_cast<std::int64_t>(elements->size());
    if (count < schema.least || count > schema.most) return fault(range_text(schema, " elements"));
    for (std::size_t i = 0; i < elements->size() && errors_.size() < errors_max; ++i) {
      const std::size_t before = path_.size();
      path_ += '[' + std::to_string(i) + ']';
      run(*schema.items, (*elements)[i]);
      path_.resize(before);
    }
  }

  // Appends a member's name to the path while it lives.
  class Inside {
   public:
    Inside(Checker& checker, std::string_view name)
        : checker_(checker), before_(checker.path_.size()) {
      if (before_ > 0) checker_.path_ += '.';
      checker_.path_ += name;
    }
    ~Inside() { checker_.path_.resize(before_); }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;

   private:
    Checker& checker_;
    std::size_t before_;
  };

  std::string path_;
  std::vector<FieldError> errors_;
};

}  // namespace

std::vector<FieldError> check(const Schema& schema, const json::value& value) {
  Checker checker;
  checker.run(schema, value);
  return checker.take();
}

std::vector<FieldError> check_text(const Schema& schema, std::string_view name,
                                   std::string_view text) {
  std::string why;
  if (schema.kind == SchemaKind::integer) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool whole = error == std::errc{} && end == text.data() + text.size();
    why = whole ? integer_fault(schema, number) : "must be an integer";
  } else {
    why = text_fault(schema, text);
  }
  if (why.empty()) return {};
  return {{std::string(name), std::move(why)}};
}

}  // namespace txcoord::http
