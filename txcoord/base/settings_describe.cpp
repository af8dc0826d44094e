// Shows settings as a TOML file, without what may be secret.
#include "txcoord/base/dsn.hpp"
#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/settings.hpp"
#include "txcoord/base/settings_table.hpp"

namespace txcoord {
namespace {

std::string shown(const std::string& text, detail::Shown how) {
  switch (how) {
    case detail::Shown::whole: return text;
    case detail::Shown::dsn: return shown_dsn(text);
    case detail::Shown::url: return shown_url(text);
    case detail::Shown::nothing: break;
  }
  return text.empty() ? "" : "***";
}

}  // namespace

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
      append_json_string(out, shown(**text, row.shown));
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
