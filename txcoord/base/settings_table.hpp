// Every setting as a row: its name, where it is kept, its bounds. The one source for reading
// (settings_load.cpp), checking and showing (settings_describe.cpp).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "txcoord/base/settings.hpp"

namespace txcoord::detail {

// What `txcoord config` may show of a text.
enum class Shown : std::uint8_t {
  whole,
  dsn,      // as far as it is known to be harmless (dsn.hpp)
  url,      // the same
  nothing,  // a secret: only whether it is set
};

struct SettingRow {
  std::string name;  // as in TOML: "http.port"
  std::variant<std::string*, std::uint16_t*, std::uint32_t*, bool*> target;
  std::uint64_t least = 0, most = 0;  // numbers only
  Shown shown = Shown::whole;
};

inline constexpr std::string_view participant_names[] = {"order", "inventory", "payment",
                                                         "shipping"};

// The rows point into `settings`, which must outlive them. Makes the four participants' entries.
std::vector<SettingRow> setting_rows(Settings& settings);

// Checks that hold between settings. Throws SettingsError.
void check_settings(const Settings& settings);
// That the databases a command needs are named. Throws SettingsError.
void check_databases(const Settings& settings, const DatabaseNeeds& needs);

}  // namespace txcoord::detail
