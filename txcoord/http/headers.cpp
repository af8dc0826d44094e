// See headers.hpp.
#include "txcoord/http/headers.hpp"

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <charconv>

#include "txcoord/base/ids.hpp"

namespace txcoord::http {
namespace {

constexpr std::size_t key_bytes_max = 255;
constexpr std::size_t correlation_bytes_max = 128;
constexpr std::int64_t wait_s_max = 3600;

bool visible(char c) { return c > 0x20 && c < 0x7F; }

bool correlation_byte(char c) {
  const bool alphanumeric =
      (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return alphanumeric ||
         (c != '\0' && std::string_view("-_.:/+=@").find(c) != std::string_view::npos);
}

bool lower_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool all_zero(std::string_view text) {
  return text.find_first_not_of('0') == std::string_view::npos;
}

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

void read_preference(std::string_view text, Preferences& found) {
  const std::string_view token =
      trim(text.substr(0, text.find(';')));  // parameters mean nothing to us
  if (boost::beast::iequals(token, "applied")) found.applied = true;
  if (boost::beast::iequals(token, "respond-async")) found.respond_async = true;
  constexpr std::string_view wait = "wait=";
  if (token.size() > wait.size() && boost::beast::iequals(token.substr(0, wait.size()), wait)) {
    const std::string_view digits = token.substr(wait.size());
    std::int64_t seconds = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), seconds);
    const bool whole = error == std::errc{} && end == digits.data() + digits.size();
    if (whole && seconds >= 0 && seconds <= wait_s_max) found.wait = std::chrono::seconds(seconds);
  }
}

}  // namespace

KeyHeader read_key(const std::vector<std::string_view>& values) {
  if (values.empty()) {
    return {
        {},
        Problem{
            .status = 400, .reason = "KEY_MISSING", .detail = "send the header Idempotency-Key"}};
  }
  const auto refuse = [](std::string detail) {
    std::vector<FieldError> errors{{"Idempotency-Key", detail}};
    return KeyHeader{{},
                     validation_problem(400, "Idempotency-Key is not valid", std::move(errors))};
  };
  if (values.size() > 1) return refuse("is given more than once");
  std::string_view key = values.front();
  if (!key.empty() && key.front() == '"') {
    if (key.size() < 2 || key.back() != '"') return refuse("its quotes do not match");
    key = key.substr(1, key.size() - 2);
    if (key.find('"') != std::string_view::npos) return refuse("holds a quote inside its quotes");
  }
  const bool valid =
      !key.empty() && key.size() <= key_bytes_max && std::all_of(key.begin(), key.end(), visible);
  if (!valid) return refuse("must be 1 to 255 visible ASCII characters, bare or quoted");
  return {std::string(key), std::nullopt};
}

Preferences read_prefer(const std::vector<std::string_view>& values) {
  Preferences found;
  for (std::string_view value : values) {
    while (!value.empty()) {
      const std::size_t comma = value.find(',');
      read_preference(value.substr(0, comma), found);
      value.remove_prefix(comma == std::string_view::npos ? value.size() : comma + 1);
    }
  }
  return found;
}

std::string correlation_or_new(std::string_view sent) {
  const bool valid = !sent.empty() && sent.size() <= correlation_bytes_max &&
                     std::all_of(sent.begin(), sent.end(), correlation_byte);
  return valid ? std::string(sent) : uuid_v7();
}

std::string traceparent_or_new(std::string_view sent) {
  // 00-<32 hex>-<16 hex>-<2 hex>; ids of zeros only are not valid.
  const bool shaped =
      sent.size() == 55 && sent.starts_with("00-") && sent[35] == '-' && sent[52] == '-';
  if (shaped) {
    const std::string_view trace = sent.substr(3, 32);
    const std::string_view parent = sent.substr(36, 16);
    const bool hex = lower_hex(trace) && lower_hex(parent) && lower_hex(sent.substr(53));
    if (hex && !all_zero(trace) && !all_zero(parent)) return std::string(sent);
  }
  std::string made = "00-";
  made += random_hex(32);
  made += '-';
  made += random_hex(16);
  made += "-01";
  return made;
}

}  // namespace txcoord::http
