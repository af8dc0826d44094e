// Sample data (schemas/<database>/NAME.sql), compiled into the program. Safe to repeat: the files
// add what is missing and change nothing that is there. Blocks: not for the I/O thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "txcoord/base/settings.hpp"

namespace txcoord::pg {

// Names of the databases that have such data, all loaded. Throws std::runtime_error.
std::vector<std::string> load_sample(std::string_view name, const Settings& settings);

}  // namespace txcoord::pg
