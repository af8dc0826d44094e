// The degraded modes as the engine calls them; they are declared beside the log that keeps them.
#pragma once

#include "txcoord/log/degraded_modes.hpp"

namespace txcoord::engine {

using txcoord::degraded_mode_names;
using txcoord::degraded_mode_of;
using txcoord::DegradedModes;

}  // namespace txcoord::engine
