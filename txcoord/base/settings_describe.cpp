// Shows settings as a TOML file, passwords hidden.
#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/settings.hpp"
#include "txcoord/base/settings_table.hpp"

namespace txcoord {
namespace {

constexpr std::string_view hidden = "***";

bool ends_word(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// The end of a keyword=value value that starts at `at`: quoted with ', \ escapes.
std::size_t value_end(std::string_view dsn, std::size_t at) {
  const bool quoted = at < dsn.size() && dsn[at] == '\'';
  if (quoted) ++at;
  while (at < dsn.size()) {
    if (dsn[at] == '\\') {
      at += 2;
      continue;
    }
    if (quoted && dsn[at] == '\'') return at + 1;
    if (!quoted && ends_word(dsn[at])) return at;
    ++at;
  }
  return dsn.size();
}

bool secret_keyword(std::string_view word) { return word == "password" || word == "sslpassword"; }

std::string hide_in_keywords(std::string_view dsn) {
  std::string out;
  std::size_t at = 0;
  while (at < dsn.size()) {
    if (ends_word(dsn[at])) {
      out.push_back(dsn[at++]);
      continue;
    }
    const std::size_t equals = dsn.find('=', at);
    if (equals == std::string_view::npos)
      return out + std::string(hidden);  // no keyword: show nothing of it
    std::string_view keyword = dsn.substr(at, equals - at);
    while (!keyword.empty() && ends_word(keyword.back())) keyword.remove_suffix(1);
    std::size_t start = equals + 1;
    while (start < dsn.size() && ends_word(dsn[start])) ++start;
    const std::size_t end = value_end(dsn, start);
    out.append(keyword).push_back('=');
    out.append(secret_keyword(keyword) ? hidden : dsn.substr(start, end - start));
    at = end;
  }
  return out;
}

// scheme://user:password@host/database?password=…
std::string hide_in_uri(std::string_view dsn) {
  const std::size_t authority = dsn.find("://") + 3;
  const std::size_t query = dsn.find('?', authority);
  // A password may hold a bare slash by mistake: look for the last @ before the query.
  const std::size_t at = dsn.substr(0, query).rfind('@');
  std::string out(dsn.substr(0, authority));
  std::size_t rest = authority;
  if (at != std::string_view::npos && at >= authority) {
    const std::string_view user_info = dsn.substr(authority, at - authority);
    const std::size_t colon = user_info.find(':');
    out.append(user_info.substr(0, colon));
    if (colon != std::string_view::npos) out.append(":").append(hidden);
    rest = at;
  }
  out.append(dsn.substr(rest, query == std::string_view::npos ? query : query - rest));
  for (std::size_t part = query; part != std::string_view::npos && part < dsn.size();) {
    const std::size_t next = dsn.find('&', part + 1);
    const std::string_view pair =
        dsn.substr(part, next == std::string_view::npos ? next : next - part);
    const std::size_t equals = pair.find('=');
    const bool secret =
        equals != std::string_view::npos && secret_keyword(pair.substr(1, equals - 1));
    out.append(secret ? pair.substr(0, equals + 1) : pair);
    if (secret) out.append(hidden);
    part = next;
  }
  return out;
}

}  // namespace

namespace detail {

std::string hide_password(std::string_view dsn) {
  const bool uri = dsn.starts_with("postgresql://") || dsn.starts_with("postgres://");
  return uri ? hide_in_uri(dsn) : hide_in_keywords(dsn);
}

}  // namespace detail

std::string describe(const Settings& settings) {
  Settings copy = settings;
  std::string out;
  std::string section;
  for (const detail::SettingRow& row : detail::setting_rows(copy)) {
    const std::size_t dot = row.name.rfind('.');
    const std::string its_section = dot == std::string::npos ? "" : row.name.substr(0, dot);
    if (its_section != section) {
      section = its_section;
      out.append("\n[").append(section).append("]\n");
    }
    out.append(dot == std::string::npos ? row.name : row.name.substr(dot + 1)).append(" = ");
    if (auto* const* text = std::get_if<std::string*>(&row.target)) {
      append_json_string(out, row.secret ? detail::hide_password(**text) : **text);
    } else if (auto* const* flag = std::get_if<bool*>(&row.target)) {
      out.append(**flag ? "true" : "false");
    } else if (auto* const* small = std::get_if<std::uint16_t*>(&row.target)) {
      out.append(std::to_string(**small));
    } else {
      out.append(std::to_string(**std::get_if<std::uint32_t*>(&row.target)));
    }
    out.push_back('\n');
  }
  return out;
}

}  // namespace txcoord
