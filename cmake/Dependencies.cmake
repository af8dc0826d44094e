# Third-party libraries. run.d/deps.sh installs them; what a distribution has too old is in a prefix
# under build/deps (TXCOORD_DEPS_DIR moves it). All headers are used as system headers.
if(DEFINED ENV{TXCOORD_DEPS_DIR})
  set(TXCOORD_DEPS_DIR "$ENV{TXCOORD_DEPS_DIR}" CACHE PATH "Where run.d/deps.sh keeps its prefix")
else()
  set(TXCOORD_DEPS_DIR "${CMAKE_SOURCE_DIR}/build/deps" CACHE PATH
    "Where run.d/deps.sh keeps its prefix")
endif()
list(PREPEND CMAKE_PREFIX_PATH "${TXCOORD_DEPS_DIR}/prefix")

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(Boost 1.81 REQUIRED CONFIG COMPONENTS headers json system)
find_package(prometheus-cpp REQUIRED CONFIG)
find_package(CLI11 REQUIRED CONFIG)

# Debian's CMake file for toml++ does not name the compiled library; its pkg-config file does.
pkg_check_modules(TOMLPLUSPLUS REQUIRED IMPORTED_TARGET tomlplusplus)
add_library(tomlplusplus::tomlplusplus INTERFACE IMPORTED)
target_link_libraries(tomlplusplus::tomlplusplus INTERFACE PkgConfig::TOMLPLUSPLUS)

# libpqxx: our own build exports a CMake package, Debian's libpqxx-dev has pkg-config only.
find_package(libpqxx 7 QUIET CONFIG)
if(NOT TARGET libpqxx::pqxx)
  pkg_check_modules(PQXX REQUIRED IMPORTED_TARGET libpqxx>=7)
  add_library(libpqxx::pqxx INTERFACE IMPORTED)
  target_link_libraries(libpqxx::pqxx INTERFACE PkgConfig::PQXX)
endif()

# libpq itself: txcoord/pg asks it what libpqxx does not tell. A shared libpqxx does not pass it on.
pkg_check_modules(PQ REQUIRED IMPORTED_TARGET libpq)

if(TXCOORD_TESTS)
  find_package(Catch2 3 REQUIRED CONFIG)
endif()
