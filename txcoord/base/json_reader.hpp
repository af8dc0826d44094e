// Reads JSON that a program of ours wrote, or that a protocol of ours describes: each member must
// be there with its type, and what is missing or of another type is named. Never says a value.
#pragma once

#include <boost/json/value.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace txcoord {

// Names what was read and the member at fault: "saga payload: place.items[0].sku is missing".
class JsonReadError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A word that stands for a value, on disk or on the wire: not to_string(), which people may change.
template <class T>
struct Word {
  T value;
  std::string_view name;
};

template <class T>
std::string_view word_of(T value, std::span<const Word<T>> words) {
  for (const Word<T>& word : words)
    if (word.value == value) return word.name;
  throw std::logic_error("a value without a word");
}

// The whole text as JSON; throws JsonReadError, also when an object names a member twice (two
// readers could each believe another one of them). Depth is bounded by Boost.JSON (32).
boost::json::value parse_our_json(std::string_view what, std::string_view text);

// An object's members. The value outlives the reader, and does not move. It costs what it reads: a
// member's path is looked for when there is an error to tell.
class JsonReader {
 public:
  using Time = std::chrono::sys_time<std::chrono::microseconds>;

  // `what`: what is read, for errors; it outlives the reader.
  JsonReader(std::string_view what, const boost::json::value& value);

  bool has(std::string_view member) const { return object_->if_contains(member) != nullptr; }
  bool is_null(std::string_view member) const { return at(member).is_null(); }
  std::string text(std::string_view member) const;
  std::int64_t integer(std::string_view member) const;
  bool flag(std::string_view member) const;
  Time time(std::string_view member) const;  // microseconds since 1970
  JsonReader object(std::string_view member) const;
  std::vector<JsonReader> objects(std::string_view member) const;
  std::vector<std::string> texts(std::string_view member) const;
  std::vector<bool> flags(std::string_view member) const;

  // Absent: nothing. There, and of another type: an error.
  std::optional<std::string> text_if(std::string_view member) const;
  std::optional<std::int64_t> integer_if(std::string_view member) const;
  std::optional<Time> time_if(std::string_view member) const;
  std::string text_or_empty(std::string_view member) const {
    return text_if(member).value_or(std::string());
  }
  bool flag_or_false(std::string_view member) const { return has(member) && flag(member); }

  // The value whose word stands there.
  template <class T>
  T one_of(std::string_view member, std::span<const Word<T>> words) const {
    const std::string_view name = view(member);
    for (const Word<T>& word : words)
      if (word.name == name) return word.value;
    refuse(member, "is not known");
  }

  [[noreturn]] void refuse(std::string_view member, std::string_view why) const;

 private:
  JsonReader(const JsonReader& outer, const boost::json::object& object)
      : what_(outer.what_), root_(outer.root_), object_(&object) {}
  std::string path(std::string_view member) const;
  const boost::json::value& at(std::string_view member) const;
  std::string_view view(std::string_view member) const;
  const boost::json::array& array(std::string_view member) const;

  std::string_view what_;
  const boost::json::value* root_ = nullptr;  // what the reader was made of, this object within it
  const boost::json::object* object_ = nullptr;
};

}  // namespace txcoord
