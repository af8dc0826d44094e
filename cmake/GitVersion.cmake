# Script: writes OUTPUT (version.cpp) when what `git describe` says of SOURCE has changed. Where there
# is no git, TXCOORD_REVISION in the environment says it (compose/Dockerfile), or the version does.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --tags
  OUTPUT_VARIABLE describe OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR describe STREQUAL "")
  set(describe $ENV{TXCOORD_REVISION})
endif()
if(describe STREQUAL "")
  set(describe ${VERSION})
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT [[
#include "txcoord/version.hpp"

std::string_view txcoord::git_describe() noexcept { return "@describe@"; }
]])
