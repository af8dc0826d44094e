// The commands that do not serve: migrate, config, crash-points.
#pragma once

#include <iosfwd>

#include "txcoord/base/settings.hpp"

namespace txcoord::cli {

int run_migrate(const Settings& settings, bool with_cloudmart, std::ostream& out,
                std::ostream& err);
int run_config(const Settings& settings, bool check, std::ostream& out, std::ostream& err);
int run_crash_points(std::ostream& out);

// Prints what preflight found; true if nothing stands against a start.
bool report_preflight(const Settings& settings, std::ostream& err);

}  // namespace txcoord::cli
