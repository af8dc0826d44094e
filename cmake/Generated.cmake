# Generated sources: txcoord/version.hpp (project version; git describe at build time) and
# txcoord/pg/embedded_schemas.hpp (schemas/<database>/NNNN_name.sql inside the binary).
set(generated ${CMAKE_BINARY_DIR}/generated)
configure_file(cmake/version.hpp.in ${generated}/txcoord/version.hpp @ONLY)
configure_file(cmake/embedded_schemas.hpp.in ${generated}/txcoord/pg/embedded_schemas.hpp COPYONLY)

# Runs at every build, writes only on a change: a commit recompiles one small file.
add_custom_target(txcoord_git_version
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUTPUT=${generated}/version.cpp
    -DVERSION=${PROJECT_VERSION} -P ${CMAKE_SOURCE_DIR}/cmake/GitVersion.cmake
  BYPRODUCTS ${generated}/version.cpp COMMENT "" VERBATIM)

file(GLOB schema_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/schemas/*/*.sql)
add_custom_command(OUTPUT ${generated}/embedded_schemas.cpp
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUTPUT=${generated}/embedded_schemas.cpp
    -P ${CMAKE_SOURCE_DIR}/cmake/EmbedSchemas.cmake
  DEPENDS ${schema_files} ${CMAKE_SOURCE_DIR}/cmake/EmbedSchemas.cmake
  COMMENT "Embedding schemas" VERBATIM)

add_library(txcoord_generated STATIC ${generated}/version.cpp ${generated}/embedded_schemas.cpp)
add_dependencies(txcoord_generated txcoord_git_version)
target_include_directories(txcoord_generated PUBLIC ${generated})
target_link_libraries(txcoord_generated PRIVATE txcoord_options)
