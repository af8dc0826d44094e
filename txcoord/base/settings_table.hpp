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

struct SettingRow {
  std::string name;  // as in TOML: "http.port"
  std::variant<std::string*, std::uint16_t*, std::uint32_t*, bool*> target;
  std::uint64_t least = 0, most = 0;  // numbers only
  bool secret = false;                // a DSN: may hold a password
};

inline constexpr std::string_view participant_names[] = {"order", "inventory", "payment",
                                                         "shipping"};

// The rows point into `settings`, which must outlive them. Makes the four participants' entries.
std::vector<SettingRow> setting_rows(Settings& settings);

// Checks that hold between settings. Throws SettingsError.
void check_settings(const Settings& settings);
// That the databases a command needs are named. Throws SettingsError.
void check_databases(const Settings& settings, const DatabaseNeeds& needs);

// A libpq connection string, keyword or URI form, with what may be secret replaced by ***.
std::string hide_password(std::string_view dsn);

}  // namespace txcoord::detail
