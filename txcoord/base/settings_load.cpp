// Reads settings: the TOML file first, then the environment, then flags, each over the one before.
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>

#include "txcoord/base/settings.hpp"
#include "txcoord/base/settings_table.hpp"

namespace txcoord {
namespace {

using detail::SettingRow;
using Rows = std::vector<SettingRow>;

constexpr std::size_t value_file_bytes_max = 64 * 1024;

// Levenshtein's distance, for "did you mean".
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string variable_of(std::string_view name) {
  std::string variable = "TXCOORD_";
  for (const char c : name) {
    variable.push_back(c == '.' ? '_'
                                : static_cast<char>(std::toupper(static_cast<unsigned char>(c))));
  }
  return variable;
}

template <class Spell>
std::string nearest(const Rows& rows, std::string_view unknown, Spell spell) {
  std::string best;
  std::size_t best_distance = 0;
  for (const SettingRow& row : rows) {
    const std::string candidate = spell(row.name);
    const std::size_t d = distance(unknown, candidate);
    if (best.empty() || d < best_distance) best = candidate, best_distance = d;
  }
  return best;
}

const SettingRow* find(const Rows& rows, std::string_view name) {
  const auto row =
      std::find_if(rows.begin(), rows.end(), [&](const SettingRow& r) { return r.name == name; });
  return row == rows.end() ? nullptr : &*row;
}

// `source` is what a person must change: a key of the file, a variable, a flag. Values are never
// quoted back: one of them may be a secret put in the wrong place.
[[noreturn]] void bad_number(const SettingRow& row, const std::string& source) {
  throw SettingsError(source + " must be a whole number from " + std::to_string(row.least) +
                      " to " + std::to_string(row.most));
}

void assign_number(const SettingRow& row, std::uint64_t value, const std::string& source) {
  if (value < row.least || value > row.most) bad_number(row, source);
  if (auto* const* target = std::get_if<std::uint16_t*>(&row.target)) {
    **target = static_cast<std::uint16_t>(value);
  } else {
    **std::get_if<std::uint32_t*>(&row.target) = static_cast<std::uint32_t>(value);
  }
}

void assign_text(const SettingRow& row, std::string_view text, const std::string& source) {
  if (auto* const* target = std::get_if<std::string*>(&row.target)) {
    **target = std::string(text);
  } else if (auto* const* flag = std::get_if<bool*>(&row.target)) {
    if (text != "true" && text != "false") throw SettingsError(source + " must be true or false");
    **flag = text == "true";
  } else {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) bad_number(row, source);
    assign_number(row, value, source);
  }
}

// From the environment or a flag, where an empty text is a value that somebody forgot to fill in.
void assign_from_outside(const SettingRow& row, std::string_view text, const std::string& source) {
  const bool blank = text.find_first_not_of(" \t\r\n") == std::string_view::npos;
  const bool secret = row.shown == detail::Shown::dsn || row.shown == detail::Shown::nothing;
  if (blank && secret) throw SettingsError(source + " is empty: give its value, or do not set it");
  assign_text(row, text, source);
}

void assign_toml(const SettingRow& row, const toml::node& node, const std::string& source) {
  if (std::holds_alternative<std::string*>(row.target)) {
    const auto text = node.value_exact<std::string>();
    if (!text) throw SettingsError(source + " must be a string");
    assign_text(row, *text, source);
  } else if (std::holds_alternative<bool*>(row.target)) {
    const auto flag = node.value_exact<bool>();
    if (!flag) throw SettingsError(source + " must be true or false, without quotes");
    **std::get_if<bool*>(&row.target) = *flag;
  } else {
    const auto number = node.value_exact<std::int64_t>();
    if (!number || *number < 0) bad_number(row, source);
    assign_number(row, static_cast<std::uint64_t>(*number), source);
  }
}

void read_table(const Rows& rows, const toml::table& table, const std::string& prefix,
                const std::string& file) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    const std::string source = file + ": " + name;
    if (const SettingRow* row = find(rows, name)) {
      assign_toml(*row, node, source);
      continue;
    }
    const std::string inside = name + ".";
    const bool section = std::any_of(rows.begin(), rows.end(), [&](const SettingRow& row) {
      return row.name.starts_with(inside);
    });
    if (section && node.is_table()) {
      read_table(rows, *node.as_table(), inside, file);
      continue;
    }
    if (section) throw SettingsError(source + " must be a table: [" + name + "]");
    throw SettingsError(source + " is not a setting (line " +
                        std::to_string(node.source().begin.line) + "): did you mean " +
                        nearest(rows, name, [](const std::string& n) { return n; }) + "?");
  }
}

void read_file(const Rows& rows, const std::filesystem::path& path) {
  std::ifstream stream(path);
  if (!stream)
    throw SettingsError(path.string() + ": cannot be read: give the path of a TOML file");
  try {
    const toml::table table = toml::parse(stream, path.string());
    read_table(rows, table, "", path.string());
  } catch (const toml::parse_error& error) {
    // Not the parser's own description: it quotes the text, which may be a password.
    throw SettingsError(path.string() + ": line " + std::to_string(error.source().begin.line) +
                        ", column " + std::to_string(error.source().begin.column) +
                        " is not TOML (a text stands in quotes)");
  }
}

std::string read_value_file(const std::string& variable, const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw SettingsError(variable + ": the file it names cannot be read");
  std::string text(value_file_bytes_max + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > value_file_bytes_max)
    throw SettingsError(variable + ": the file it names is too long");
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  // A secret that was never written would leave open what it is to guard.
  if (text.find_first_not_of(" \t") == std::string::npos)
    throw SettingsError(variable + ": the file it names is empty");
  return text;
}

// Of the scripts around the program, and of its tests and builds.
constexpr std::string_view script_variables[] = {"TXCOORD_BENCH_LOAD",
                                                 "TXCOORD_BENCH_ONE_DATABASE",
                                                 "TXCOORD_CCACHE",
                                                 "TXCOORD_DASHBOARDS",
                                                 "TXCOORD_JOBS",
                                                 "TXCOORD_MAINTAINER",
                                                 "TXCOORD_PACKAGE_EPOCH",
                                                 "TXCOORD_PACKAGE_REVISION",
                                                 "TXCOORD_PACKAGE_UPSTREAM",
                                                 "TXCOORD_PCH",
                                                 "TXCOORD_PG_USER",
                                                 "TXCOORD_PROMETHEUS_URL",
                                                 "TXCOORD_REVISION",
                                                 "TXCOORD_ROOT",
                                                 "TXCOORD_SANITIZE",
                                                 "TXCOORD_SKIP_DEPS",
                                                 "TXCOORD_SOURCE",
                                                 "TXCOORD_TESTS",
                                                 "TXCOORD_TEST_JOBS"};

// Where programs and folders are: no setting's name ends so.
bool is_script_variable(std::string_view variable) {
  return variable.ends_with("_BIN") || variable.ends_with("_BINDIR") ||
         variable.ends_with("_DIR") ||
         std::ranges::find(script_variables, variable) != std::end(script_variables);
}

// Kubernetes puts the address of each service of the namespace into every pod; a service named
// txcoord, or txcoord-http, gets names that look like ours:
//   TXCOORD_SERVICE_HOST=10.0.0.1  TXCOORD_SERVICE_PORT=80  TXCOORD_SERVICE_PORT_WEB=80
//   TXCOORD_PORT=tcp://10.0.0.1:80  TXCOORD_PORT_80_TCP=tcp://…  TXCOORD_PORT_80_TCP_ADDR=10.0.0.1
bool is_service_variable(std::string_view variable, std::string_view value) {
  if (variable.ends_with("_SERVICE_HOST") || variable.ends_with("_SERVICE_PORT") ||
      variable.find("_SERVICE_PORT_") != std::string_view::npos)
    return true;
  const bool address =
      value.starts_with("tcp://") || value.starts_with("udp://") || value.starts_with("sctp://");
  constexpr std::string_view mark = "_PORT_";
  const std::size_t port = variable.rfind(mark, variable.find_last_of("0123456789"));
  if (port == std::string_view::npos) return address && variable.ends_with("_PORT");
  std::string_view rest = variable.substr(port + mark.size());
  const std::size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
  rest.remove_prefix(digits);
  const auto one_of = [&rest](std::initializer_list<std::string_view> texts) {
    return std::ranges::find(texts, rest) != texts.end();
  };
  if (digits == 0) return false;
  if (one_of({"_TCP", "_UDP", "_SCTP"})) return address;
  return one_of({"_TCP_PROTO", "_TCP_PORT", "_TCP_ADDR", "_UDP_PROTO", "_UDP_PORT", "_UDP_ADDR",
                 "_SCTP_PROTO", "_SCTP_PORT", "_SCTP_ADDR"});
}

std::map<std::string, std::string> environment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (!text.starts_with("TXCOORD_") || equals == std::string_view::npos) continue;
    const std::string_view variable = text.substr(0, equals), value = text.substr(equals + 1);
    if (!is_service_variable(variable, value)) variables.emplace(variable, value);
  }
  return variables;
}

// What is meant as a setting and is none must not be passed over: a token would not be set.
void refuse_unknown_variables(const Rows& rows,
                              const std::map<std::string, std::string>& variables) {
  for (const auto& [variable, value] : variables) {
    const auto spells = [&, &name = variable](const SettingRow& row) {
      const std::string known = variable_of(row.name);
      return name == known || name == known + "_FILE";
    };
    if (is_script_variable(variable) || std::any_of(rows.begin(), rows.end(), spells)) continue;
    throw SettingsError(variable + " is not a setting: did you mean " +
                        nearest(rows, variable, variable_of) + "?");
  }
}

// A connection string that was put in the name's place is not repeated.
std::string shown_name(std::string_view name) {
  const auto plain = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '.'; };
  return std::all_of(name.begin(), name.end(), plain) ? std::string(name) : "(not shown)";
}

void read_environment(const Rows& rows) {
  std::map<std::string, std::string> variables = environment();
  // The short names of the public contract; the full ones win.
  std::map<std::string, std::string> spelled;  // full name to the one that a person must change
  const auto short_for = [&](const char* name, const char* full) {
    const auto found = variables.extract(name);
    if (!found.empty() && variables.emplace(full, found.mapped()).second) spelled[full] = name;
  };
  short_for("TXCOORD_PORT", "TXCOORD_HTTP_PORT");
  short_for("TXCOORD_ADMIN_PORT", "TXCOORD_HTTP_ADMIN_PORT");
  refuse_unknown_variables(rows, variables);
  for (const SettingRow& row : rows) {
    const std::string variable = variable_of(row.name);
    const auto direct = variables.find(variable);
    const auto file = variables.find(variable + "_FILE");
    if (direct != variables.end() && file != variables.end()) {
      throw SettingsError(variable + " and " + variable + "_FILE are both set: unset one");
    }
    if (direct != variables.end()) {
      const auto other = spelled.find(variable);
      assign_from_outside(row, direct->second, other == spelled.end() ? variable : other->second);
    }
    if (file != variables.end()) {
      assign_text(row, read_value_file(file->first, file->second), file->first);
    }
  }
}

}  // namespace

Settings load_settings(const std::filesystem::path& toml_file,
                       const std::map<std::string, std::string>& flags,
                       const DatabaseNeeds& needs) {
  Settings settings;
  const Rows rows = detail::setting_rows(settings);
  if (!toml_file.empty()) read_file(rows, toml_file);
  read_environment(rows);
  for (const auto& [name, value] : flags) {
    const SettingRow* row = find(rows, name);
    if (row == nullptr) {
      throw SettingsError("flag " + shown_name(name) + " is not a setting: did you mean " +
                          nearest(rows, name, [](const std::string& n) { return n; }) + "?");
    }
    assign_from_outside(*row, value, "flag " + name);
  }
  detail::check_settings(settings);
  detail::check_databases(settings, needs);
  return settings;
}

}  // namespace txcoord
