// Writes compact JSON into one string, in the order it is told: for answers, log lines and
// canonical forms, where a tree of values would only be built to be thrown away. Knows no floating
// point: money and counts are int64.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace txcoord {

// Appends the text as a JSON string. Bytes that are not UTF-8 become U+FFFD: the result is valid
// JSON whatever comes in.
void append_json_string(std::string& out, std::string_view text);

class JsonWriter {
 public:
  JsonWriter() { out_.reserve(512); }

  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name);

  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(std::same_as<bool> auto flag) { return raw(flag ? "true" : "false"); }
  JsonWriter& value(std::integral auto number) requires(!std::same_as<decltype(number), bool>) {
    return raw(std::to_string(number));
  }
  // Text that is JSON already.
  JsonWriter& raw(std::string_view json);

  template <class T>
  JsonWriter& field(std::string_view name, const T& content) {
    key(name);
    return value(content);
  }
  // Leaves the field out when there is nothing to say.
  JsonWriter& field_if(std::string_view name, std::string_view text) {
    return text.empty() ? *this : field(name, text);
  }
  JsonWriter& field_set(std::string_view name, const std::optional<std::string>& text) {
    return text ? field(name, std::string_view(*text)) : *this;
  }

  const std::string& text() const { return out_; }
  std::string take() { return std::move(out_); }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  void separate();

  std::string out_;
};

}  // namespace txcoord
