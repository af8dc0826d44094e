# ccache is used when it is there. BASEDIR, NOHASHDIR: build folders of one checkout share results.
# The sloppiness is what ccache's manual asks for with precompiled headers; PCH_EXTSUM makes it
# hash a .sum file that Targets.cmake writes, because g++ writes another .gch every time.
find_program(TXCOORD_CCACHE ccache)
if(TXCOORD_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
    CCACHE_PCH_EXTSUM=1 CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    ${TXCOORD_CCACHE})
endif()
