# Script: writes OUTPUT (version.cpp) when what `git describe` says of SOURCE has changed.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --tags
  OUTPUT_VARIABLE describe OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR describe STREQUAL "")
  set(describe ${VERSION})
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT [[
#include "txcoord/version.hpp"

std::string_view txcoord::git_describe() noexcept { return "@describe@"; }
]])
