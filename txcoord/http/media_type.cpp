// See media_type.hpp.
#include "txcoord/http/media_type.hpp"

#include <boost/beast/core/string.hpp>
#include <optional>
#include <string>

namespace txcoord::http {
namespace {

using boost::beast::iequals;

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// Where the parameter ends: a ';' that no quotes hold.
std::size_t parameter_end(std::string_view text) {
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (text[i] == ';' && !quoted) {
      return i;
    }
  }
  return text.size();
}

// A token, or a quoted string without its quotes; nullopt: neither.
std::optional<std::string> parameter_value(std::string_view text) {
  if (!text.starts_with('"')) {
    const bool token =
        !text.empty() && text.find_first_of(" \t\"(),/:;<=>?@[\\]{}") == std::string_view::npos;
    return token ? std::optional(std::string(text)) : std::nullopt;
  }
  std::string value;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') return i + 1 == text.size() ? std::optional(value) : std::nullopt;
    if (text[i] == '\\' && ++i == text.size()) break;
    value.push_back(text[i]);
  }
  return std::nullopt;
}

bool parameter_fits(std::string_view parameter) {
  if (parameter.empty()) return true;
  const std::size_t equals = parameter.find('=');
  if (equals == std::string_view::npos || equals == 0) return false;
  const auto value = parameter_value(parameter.substr(equals + 1));
  if (!value) return false;
  return !iequals(parameter.substr(0, equals), "charset") || iequals(*value, "utf-8");
}

}  // namespace

bool is_json(std::string_view content_type) {
  const std::size_t end = content_type.find(';');
  if (!iequals(trim(content_type.substr(0, end)), "application/json")) return false;
  std::string_view rest =
      end == std::string_view::npos ? std::string_view() : content_type.substr(end + 1);
  while (!rest.empty()) {
    const std::size_t length = parameter_end(rest);
    if (!parameter_fits(trim(rest.substr(0, length)))) return false;
    rest.remove_prefix(length == rest.size() ? length : length + 1);
  }
  return true;
}

bool is_identity(std::string_view content_encoding) {
  const std::string_view coding = trim(content_encoding);
  return coding.empty() || iequals(coding, "identity");
}

}  // namespace txcoord::http
