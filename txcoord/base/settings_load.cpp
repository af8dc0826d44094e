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
    throw SettingsError(path.string() + ": line " + std::to_string(error.source().begin.line) +
                        ": " + std::string(error.description()));
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
  return text;
}

std::map<std::string, std::string> environment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (!text.starts_with("TXCOORD_") || equals == std::string_view::npos) continue;
    variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

// A variable under one of our sections that names no setting is a slip of the pen. Others that
// begin with TXCOORD_ belong to the scripts around the program (TXCOORD_STATE_DIR,
// TXCOORD_CRASH_AT).
void refuse_unknown_variables(const Rows& rows,
                              const std::map<std::string, std::string>& variables) {
  for (const auto& [variable, value] : variables) {
    const bool ours =
        variable.starts_with("TXCOORD_HTTP_") || variable.starts_with("TXCOORD_ENGINE_") ||
        variable.starts_with("TXCOORD_LOG_") || variable.starts_with("TXCOORD_PARTICIPANTS_") ||
        variable.starts_with("TXCOORD_SAGA_") || variable.starts_with("TXCOORD_FAULTS_");
    const auto spells = [&](const SettingRow& row) {
      const std::string known = variable_of(row.name);
      return variable == known || variable == known + "_FILE";
    };
    if (!ours || std::any_of(rows.begin(), rows.end(), spells)) continue;
    throw SettingsError(variable + " is not a setting: did you mean " +
                        nearest(rows, variable, variable_of) + "?");
  }
}

void read_environment(const Rows& rows) {
  std::map<std::string, std::string> variables = environment();
  // The short names of the public contract; the full ones win.
  if (const auto port = variables.find("TXCOORD_PORT"); port != variables.end()) {
    variables.emplace("TXCOORD_HTTP_PORT", port->second);
  }
  if (const auto port = variables.find("TXCOORD_ADMIN_PORT"); port != variables.end()) {
    variables.emplace("TXCOORD_HTTP_ADMIN_PORT", port->second);
  }
  refuse_unknown_variables(rows, variables);
  for (const SettingRow& row : rows) {
    const std::string variable = variable_of(row.name);
    const auto direct = variables.find(variable);
    const auto file = variables.find(variable + "_FILE");
    if (direct != variables.end() && file != variables.end()) {
      throw SettingsError(variable + " and " + variable + "_FILE are both set: unset one");
    }
    if (direct != variables.end()) assign_text(row, direct->second, variable);
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
      throw SettingsError("flag " + name + " is not a setting: did you mean " +
                          nearest(rows, name, [](const std::string& n) { return n; }) + "?");
    }
    assign_text(*row, value, "flag " + name);
  }
  detail::check_settings(settings);
  detail::check_databases(settings, needs);
  return settings;
}

}  // namespace txcoord
