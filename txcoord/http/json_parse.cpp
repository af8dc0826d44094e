// See json_parse.hpp. A handler of our own under Boost.JSON's incremental parser.
#include "txcoord/http/json_parse.hpp"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/monotonic_resource.hpp>
#include <boost/json/value_stack.hpp>
#include <vector>

namespace txcoord::http {
namespace {

struct Handler {
  static constexpr std::size_t max_object_size = json_members_max;
  static constexpr std::size_t max_array_size = json_elements_max;
  static constexpr std::size_t max_key_size = 128;
  static constexpr std::size_t max_string_size = 1024 * 1024;  // the body's own limit is below

  // An object or an array that is still open.
  struct Frame {
    bool array = false;
    std::size_t index = 0;          // of the element under way
    std::vector<std::string> keys;  // seen so far; the last one is under way
  };

  json::value_stack stack;
  std::vector<Frame> frames;
  std::string partial_key;
  std::string duplicate;  // the path of a member that came twice

  std::string path() const {
    std::string text;
    for (const Frame& frame : frames) {
      if (frame.array) {
        text += '[' + std::to_string(frame.index) + ']';
      } else if (!frame.keys.empty()) {
        if (!text.empty()) text += '.';
        text += frame.keys.back();
      }
    }
    return text;
  }

  void value_done() {
    if (!frames.empty() && frames.back().array) ++frames.back().index;
  }

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code&) {
    frames.push_back({.array = false, .index = 0, .keys = {}});
    return true;
  }
  bool on_object_end(std::size_t members, json::error_code&) {
    frames.pop_back();
    stack.push_object(members);
    value_done();
    return true;
  }
  bool on_array_begin(json::error_code&) {
    frames.push_back({.array = true, .index = 0, .keys = {}});
    return true;
  }
  bool on_array_end(std::size_t elements, json::error_code&) {
    frames.pop_back();
    stack.push_array(elements);
    value_done();
    return true;
  }
  bool on_key_part(json::string_view part, std::size_t, json::error_code&) {
    partial_key.append(part.data(), part.size());
    stack.push_chars(part);
    return true;
  }
  bool on_key(json::string_view part, std::size_t, json::error_code& error) {
    partial_key.append(part.data(), part.size());
    std::vector<std::string>& keys = frames.back().keys;
    const bool twice = std::find(keys.begin(), keys.end(), partial_key) != keys.end();
    keys.push_back(std::move(partial_key));
    partial_key.clear();
    if (twice) {
      duplicate = path();
      error = json::error::extra_data;  // any error stops the parser; `duplicate` says which
      return false;
    }
    stack.push_key(part);
    return true;
  }
  bool on_string_part(json::string_view part, std::size_t, json::error_code&) {
    stack.push_chars(part);
    return true;
  }
  bool on_string(json::string_view part, std::size_t, json::error_code&) {
    stack.push_string(part);
    value_done();
    return true;
  }
  bool on_number_part(json::string_view, json::error_code&) { return true; }
  bool on_int64(std::int64_t number, json::string_view, json::error_code&) {
    stack.push_int64(number);
    value_done();
    return true;
  }
  bool on_uint64(std::uint64_t number, json::string_view, json::error_code&) {
    stack.push_uint64(number);
    value_done();
    return true;
  }
  bool on_double(double number, json::string_view, json::error_code&) {
    stack.push_double(number);
    value_done();
    return true;
  }
  bool on_bool(bool flag, json::error_code&) {
    stack.push_bool(flag);
    value_done();
    return true;
  }
  bool on_null(json::error_code&) {
    stack.push_null();
    value_done();
    return true;
  }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }
};

json::parse_options strict() {
  json::parse_options options;
  options.max_depth = json_depth_max;
  return options;
}

std::string explain(const json::error_code& error, std::size_t at) {
  if (error == json::error::too_deep) return "nested deeper than " + std::to_string(json_depth_max);
  if (error == json::error::object_too_large) return "an object has too many members";
  if (error == json::error::array_too_large) return "an array has too many elements";
  if (error == json::error::key_too_large) return "a member's name is too long";
  if (error == json::error::incomplete) return "not JSON: it ends too early";
  return "not JSON: " + error.message() + " at byte " + std::to_string(at);
}

}  // namespace

ParsedJson parse_json(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF"))
    return {nullptr,
            FieldError{"", "not JSON: it begins with a byte order mark (BOM), leave it out"}};
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos)
    return {nullptr, FieldError{"", "not JSON: it is empty"}};
  json::basic_parser<Handler> parser(strict());
  // One block for the whole tree, kept alive by the value itself.
  parser.handler().stack.reset(json::make_shared_resource<json::monotonic_resource>());
  json::error_code error;
  const std::size_t used = parser.write_some(false, text.data(), text.size(), error);
  Handler& handler = parser.handler();
  if (!handler.duplicate.empty()) {
    return {nullptr, FieldError{handler.duplicate, "given twice"}};
  }
  if (!error && used < text.size()) error = json::error::extra_data;
  if (error) return {nullptr, FieldError{handler.path(), explain(error, used)}};
  return {handler.stack.release(), std::nullopt};
}

}  // namespace txcoord::http
