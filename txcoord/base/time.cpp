// RFC 3339 and PostgreSQL's ISO form, by hand: both stand on hot paths, and the standard library of
// g++ 12 has no chrono::parse.
#include "txcoord/base/time.hpp"

#include <cstdint>

namespace txcoord {
namespace {

using Time = std::chrono::sys_time<std::chrono::microseconds>;

void append_digits(std::string& text, std::int64_t value, int width) {
  char digits[20];
  for (int i = width - 1; i >= 0; --i) {
    digits[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
  text.append(digits, static_cast<std::size_t>(width));
}

// A reader over the text: each step either takes what it expects or fails for good.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  std::optional<int> digits(std::size_t count) {
    if (rest_.size() < count) return std::nullopt;
    int value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const char c = rest_[i];
      if (c < '0' || c > '9') return std::nullopt;
      value = value * 10 + (c - '0');
    }
    rest_.remove_prefix(count);
    return value;
  }

  bool one_of(std::string_view choices) {
    if (rest_.empty() || choices.find(rest_.front()) == std::string_view::npos) return false;
    rest_.remove_prefix(1);
    return true;
  }

  // ".5" is half a second: PostgreSQL drops trailing zeros. Up to microseconds.
  std::optional<int> fraction() {
    if (!one_of(".")) return 0;
    int value = 0;
    int count = 0;
    while (count < 6 && !rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9') {
      value = value * 10 + (rest_.front() - '0');
      rest_.remove_prefix(1);
      ++count;
    }
    if (count == 0) return std::nullopt;
    for (; count < 6; ++count) value *= 10;
    return value;
  }

  // UTC only: every session runs with TimeZone=UTC.
  bool utc_end() const { return rest_ == "Z" || rest_ == "+00" || rest_ == "+00:00"; }

 private:
  std::string_view rest_;
};

}  // namespace

Time now_utc() {
  return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
}

std::string rfc3339(Time time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{time - day};
  std::string text;
  text.reserve(27);
  append_digits(text, static_cast<int>(date.year()), 4);
  text.push_back('-');
  append_digits(text, static_cast<unsigned>(date.month()), 2);
  text.push_back('-');
  append_digits(text, static_cast<unsigned>(date.day()), 2);
  text.push_back('T');
  append_digits(text, clock.hours().count(), 2);
  text.push_back(':');
  append_digits(text, clock.minutes().count(), 2);
  text.push_back(':');
  append_digits(text, clock.seconds().count(), 2);
  text.push_back('.');
  append_digits(text, clock.subseconds().count(), 6);
  text.push_back('Z');
  return text;
}

std::optional<Time> parse_time(std::string_view text) {
  Reader reader(text);
  const auto year = reader.digits(4);
  if (!year || !reader.one_of("-")) return std::nullopt;
  const auto month = reader.digits(2);
  if (!month || !reader.one_of("-")) return std::nullopt;
  const auto day = reader.digits(2);
  if (!day || !reader.one_of("T ")) return std::nullopt;
  const auto hour = reader.digits(2);
  if (!hour || *hour > 23 || !reader.one_of(":")) return std::nullopt;
  const auto minute = reader.digits(2);
  if (!minute || *minute > 59 || !reader.one_of(":")) return std::nullopt;
  const auto second = reader.digits(2);
  if (!second || *second > 59) return std::nullopt;
  const auto micros = reader.fraction();
  if (!micros || !reader.utc_end()) return std::nullopt;

  const std::chrono::year_month_day date{std::chrono::year{*year},
                                         std::chrono::month{static_cast<unsigned>(*month)},
                                         std::chrono::day{static_cast<unsigned>(*day)}};
  if (!date.ok()) return std::nullopt;
  return Time{std::chrono::sys_days{date}} + std::chrono::hours{*hour} +
         std::chrono::minutes{*minute} + std::chrono::seconds{*second} +
         std::chrono::microseconds{*micros};
}

}  // namespace txcoord
