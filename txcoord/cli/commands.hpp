// The commands. run_serve and run_participant return when the process is to end.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "txcoord/base/settings.hpp"

namespace txcoord::cli {

// The coordinator, its participants and the REST API (serve.cpp).
int run_serve(const Settings& settings);
// These participants as a service of their own (serve_participant.cpp).
int run_participant(const Settings& settings, const std::vector<std::string>& names);
// Every database that has a dsn.
int run_migrate(const Settings& settings, bool with_cloudmart, std::ostream& out,
                std::ostream& err);
int run_config(const Settings& settings, bool with_checks, std::ostream& out, std::ostream& err);
int run_crash_points(std::ostream& out);
// Asks the URL once: exit_ok if it answers 200 within three seconds (health.cpp).
int run_health(const std::string& text, std::ostream& out, std::ostream& err);

}  // namespace txcoord::cli
