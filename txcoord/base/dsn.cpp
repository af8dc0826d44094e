// See dsn.hpp.
#include "txcoord/base/dsn.hpp"

#if __has_include(<libpq-fe.h>)
#include <libpq-fe.h>
#else
#include <postgresql/libpq-fe.h>  // Debian's and Ubuntu's place
#endif

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>

namespace txcoord {
namespace {

constexpr std::string_view hidden = "***";
constexpr std::string_view not_valid = "(not a valid connection string; its text is not shown)";
constexpr std::string_view not_shown =
    "(not shown: a part of it does not look like what it stands for; in a URI, a password's "
    "@ : / ? % # must be percent-encoded)";

enum class Form : std::uint8_t {
  text,    // letters, digits, and the marks
  number,  // digits, and the marks
  word,    // one of `words`
};

struct Harmless {
  std::string_view keyword;
  Form form;
  std::string_view marks = {};
};

constexpr std::array<Harmless, 17> harmless{{
    {"host", Form::text, "._-:/,%"},
    {"hostaddr", Form::text, ".:,%"},
    {"port", Form::number, ","},
    {"dbname", Form::text, "._-$"},
    {"user", Form::text, "._-$@"},
    {"target_session_attrs", Form::word},
    {"load_balance_hosts", Form::word},
    {"connect_timeout", Form::number, "-"},
    {"sslmode", Form::word},
    {"sslnegotiation", Form::word},
    {"gssencmode", Form::word},
    {"channel_binding", Form::word},
    {"keepalives", Form::number},
    {"keepalives_idle", Form::number},
    {"keepalives_interval", Form::number},
    {"keepalives_count", Form::number},
    {"tcp_user_timeout", Form::number},
}};

constexpr std::array<std::string_view, 15> words{
    "any",     "read-write", "read-only", "primary", "standby",   "prefer-standby",
    "disable", "allow",      "prefer",    "require", "verify-ca", "verify-full",
    "random",  "postgres",   "direct"};

bool fits(const Harmless& rule, std::string_view value) {
  if (rule.form == Form::word)
    return value.empty() || std::ranges::find(words, value) != words.end();
  return std::ranges::all_of(value, [&rule](unsigned char c) {
    const bool letter = rule.form == Form::text && c < 128 && std::isalpha(c) != 0;
    return letter || std::isdigit(c) != 0 ||
           rule.marks.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

bool all_fit(const DsnParameters& parameters) {
  return std::ranges::all_of(harmless, [&parameters](const Harmless& rule) {
    const auto found = parameters.find(std::string(rule.keyword));
    return found == parameters.end() || fits(rule, found->second);
  });
}

// Whether a text that libpq quotes is one that shown_dsn() shows.
bool is_shown(const DsnParameters& parameters, std::string_view text) {
  if (text.empty() || !all_fit(parameters)) return text.empty();
  if (parameters.contains(std::string(text))) return true;  // a keyword
  for (const Harmless& rule : harmless) {
    const auto found = parameters.find(std::string(rule.keyword));
    if (found == parameters.end()) continue;
    for (const std::string& part : dsn_list(found->second)) {
      if (part == text) return true;
      const std::string socket = part + "/.s.PGSQL.";
      if (rule.keyword == "host" && part.starts_with('/') && text.starts_with(socket) &&
          fits({"port", Form::number}, text.substr(socket.size())))
        return true;
    }
  }
  return false;
}

}  // namespace

std::optional<DsnParameters> parse_dsn(const std::string& dsn) {
  char* error = nullptr;
  PQconninfoOption* const parsed = PQconninfoParse(dsn.c_str(), &error);
  if (parsed == nullptr) {
    PQfreemem(error);
    return std::nullopt;
  }
  DsnParameters parameters;
  for (const PQconninfoOption* option = parsed; option->keyword != nullptr; ++option)
    if (option->val != nullptr) parameters[option->keyword] = option->val;
  PQconninfoFree(parsed);
  return parameters;
}

std::vector<std::string> dsn_list(std::string_view list) {
  std::vector<std::string> elements;
  for (;;) {
    const std::size_t comma = list.find(',');
    elements.emplace_back(list.substr(0, comma));
    if (comma == std::string_view::npos) return elements;
    list.remove_prefix(comma + 1);
  }
}

std::string shown_dsn(const std::string& dsn) {
  if (dsn.empty()) return {};
  const auto parameters = parse_dsn(dsn);
  if (!parameters) return std::string(not_valid);
  if (!all_fit(*parameters)) return std::string(not_shown);
  std::string out;
  const auto add = [&out](std::string_view keyword, std::string_view value) {
    if (!out.empty()) out += ' ';
    out.append(keyword).append("=").append(value);
  };
  DsnParameters others = *parameters;
  for (const Harmless& rule : harmless) {
    const auto found = others.find(std::string(rule.keyword));
    if (found == others.end()) continue;
    add(rule.keyword, found->second.empty() ? "''" : std::string_view(found->second));
    others.erase(found);
  }
  for (const auto& [keyword, value] : others) add(keyword, hidden);
  return out;
}

std::string shown_host(const std::string& host) {
  return fits(harmless.front(), host) ? host : std::string(hidden);
}

std::string shown_message(const DsnParameters& parameters, std::string_view message) {
  message = message.substr(0, message.find('\n'));
  std::string out;
  while (!message.empty()) {
    const std::size_t open = message.find('"');
    out += message.substr(0, open);
    if (open == std::string_view::npos) break;
    message.remove_prefix(open + 1);
    const std::size_t close = message.find('"');
    const std::string_view text = message.substr(0, close);
    const bool whole = close != std::string_view::npos;
    out.append("\"").append(whole && is_shown(parameters, text) ? text : hidden).append("\"");
    if (!whole) break;
    message.remove_prefix(close + 1);
  }
  return out;
}

std::string shown_url(const std::string& url) {
  constexpr std::string_view scheme = "http://";
  const bool plain =
      url.empty() || (url.starts_with(scheme) && fits({"url", Form::text, "._-:/[]"},
                                                      std::string_view(url).substr(scheme.size())));
  return plain ? url : "(not shown: it is not http://host[:port][/prefix])";
}

}  // namespace txcoord
