// See json_reader.hpp.
#include "txcoord/base/json_reader.hpp"

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/monotonic_resource.hpp>
#include <boost/json/value_stack.hpp>
#include <limits>

namespace txcoord {

namespace json = boost::json;

namespace {

[[noreturn]] void refuse_at(std::string_view what, const std::string& path, std::string_view why) {
  std::string text(what);
  text.append(": ").append(path.empty() ? "it" : path).append(" ").append(why);
  throw JsonReadError(text);
}

// Whether `sought` is in `value`; then `path` is its path there, each step with its "." or "[n]".
bool find_path(const json::value& value, const json::object& sought, std::string& path) {
  if (const json::object* const members = value.if_object()) {
    if (members == &sought) return true;
    for (const auto& member : *members) {
      if (!find_path(member.value(), sought, path)) continue;
      path.insert(0, "." + std::string(member.key()));
      return true;
    }
  } else if (const json::array* const elements = value.if_array()) {
    for (std::size_t i = 0; i < elements->size(); ++i) {
      if (!find_path((*elements)[i], sought, path)) continue;
      path.insert(0, "[" + std::to_string(i) + "]");
      return true;
    }
  }
  return false;
}

// Builds the tree as Boost.JSON's own handler does, and counts the members that are named: an
// object keeps the last of two with one name, and says nothing.
struct CountingHandler {
  using Error = json::error_code;
  using Text = json::string_view;
  static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_object_size = unlimited, max_array_size = unlimited,
                               max_key_size = unlimited, max_string_size = unlimited;

  json::value_stack stack;
  std::size_t named = 0;

  bool on_document_begin(Error&) { return true; }
  bool on_document_end(Error&) { return true; }
  bool on_object_begin(Error&) { return true; }
  bool on_object_end(std::size_t members, Error&) { return stack.push_object(members), true; }
  bool on_array_begin(Error&) { return true; }
  bool on_array_end(std::size_t elements, Error&) { return stack.push_array(elements), true; }
  bool on_key_part(Text part, std::size_t, Error&) { return stack.push_chars(part), true; }
  bool on_key(Text part, std::size_t, Error&) { return ++named, stack.push_key(part), true; }
  bool on_string_part(Text part, std::size_t, Error&) { return stack.push_chars(part), true; }
  bool on_string(Text part, std::size_t, Error&) { return stack.push_string(part), true; }
  bool on_number_part(Text, Error&) { return true; }
  bool on_int64(std::int64_t number, Text, Error&) { return stack.push_int64(number), true; }
  bool on_uint64(std::uint64_t number, Text, Error&) { return stack.push_uint64(number), true; }
  bool on_double(double number, Text, Error&) { return stack.push_double(number), true; }
  bool on_bool(bool flag, Error&) { return stack.push_bool(flag), true; }
  bool on_null(Error&) { return stack.push_null(), true; }
  bool on_comment_part(Text, Error&) { return true; }
  bool on_comment(Text, Error&) { return true; }
};

// Of all objects in the value.
std::size_t members_of(const json::value& value) {
  std::size_t count = 0;
  if (const json::object* const object = value.if_object()) {
    count = object->size();
    for (const auto& member : *object) count += members_of(member.value());
  } else if (const json::array* const elements = value.if_array()) {
    for (const json::value& element : *elements) count += members_of(element);
  }
  return count;
}

}  // namespace

json::value parse_our_json(std::string_view what, std::string_view text) {
  json::basic_parser<CountingHandler> parser{json::parse_options()};
  CountingHandler& handler = parser.handler();
  // One block that goes as a whole: most of the time would else go to small allocations.
  handler.stack.reset(json::make_shared_resource<json::monotonic_resource>(text.size()));
  boost::system::error_code error;
  const std::size_t used = parser.write_some(false, text.data(), text.size(), error);
  if (error || used < text.size()) refuse_at(what, "", "is no JSON");
  json::value parsed = handler.stack.release();
  if (members_of(parsed) != handler.named) refuse_at(what, "", "names a member twice");
  return parsed;
}

JsonReader::JsonReader(std::string_view what, const json::value& value)
    : what_(what), root_(&value), object_(value.if_object()) {
  if (object_ == nullptr) refuse_at(what_, "", "is no object");
}

std::string JsonReader::path(std::string_view member) const {
  std::string path;
  find_path(*root_, *object_, path);
  path.append(".").append(member);
  return path.substr(1);
}

void JsonReader::refuse(std::string_view member, std::string_view why) const {
  refuse_at(what_, path(member), why);
}

const json::value& JsonReader::at(std::string_view member) const {
  const json::value* const value = object_->if_contains(member);
  if (value == nullptr) refuse(member, "is missing");
  return *value;
}

const json::array& JsonReader::array(std::string_view member) const {
  const json::value& value = at(member);
  if (!value.is_array()) refuse(member, "is no array");
  return value.get_array();
}

std::string_view JsonReader::view(std::string_view member) const {
  const json::value& value = at(member);
  if (!value.is_string()) refuse(member, "is no text");
  return value.get_string();
}

std::string JsonReader::text(std::string_view member) const { return std::string(view(member)); }

std::int64_t JsonReader::integer(std::string_view member) const {
  const json::value& value = at(member);
  if (!value.is_int64()) refuse(member, "is no 64-bit integer");
  return value.get_int64();
}

bool JsonReader::flag(std::string_view member) const {
  const json::value& value = at(member);
  if (!value.is_bool()) refuse(member, "is no boolean");
  return value.get_bool();
}

JsonReader::Time JsonReader::time(std::string_view member) const {
  return Time(std::chrono::microseconds(integer(member)));
}

JsonReader JsonReader::object(std::string_view member) const {
  const json::object* const object = at(member).if_object();
  if (object == nullptr) refuse(member, "is no object");
  return {*this, *object};
}

std::vector<JsonReader> JsonReader::objects(std::string_view member) const {
  std::vector<JsonReader> readers;
  const json::array& elements = array(member);
  readers.reserve(elements.size());
  for (const json::value& element : elements) {
    const json::object* const object = element.if_object();
    if (object == nullptr)
      refuse(std::string(member) + "[" + std::to_string(readers.size()) + "]", "is no object");
    readers.push_back({*this, *object});
  }
  return readers;
}

std::vector<std::string> JsonReader::texts(std::string_view member) const {
  std::vector<std::string> texts;
  const json::array& elements = array(member);
  texts.reserve(elements.size());
  for (const json::value& element : elements) {
    if (!element.is_string()) refuse(member, "holds what is no text");
    texts.emplace_back(std::string_view(element.get_string()));
  }
  return texts;
}

std::vector<bool> JsonReader::flags(std::string_view member) const {
  std::vector<bool> flags;
  const json::array& elements = array(member);
  flags.reserve(elements.size());
  for (const json::value& element : elements) {
    if (!element.is_bool()) refuse(member, "holds what is no boolean");
    flags.push_back(element.get_bool());
  }
  return flags;
}

std::optional<std::string> JsonReader::text_if(std::string_view member) const {
  return has(member) ? std::optional(text(member)) : std::nullopt;
}

std::optional<std::int64_t> JsonReader::integer_if(std::string_view member) const {
  return has(member) ? std::optional(integer(member)) : std::nullopt;
}

std::optional<JsonReader::Time> JsonReader::time_if(std::string_view member) const {
  return has(member) ? std::optional(time(member)) : std::nullopt;
}

}  // namespace txcoord
