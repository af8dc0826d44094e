# How our own targets are made: warnings, sanitizers, include root, precompiled headers.

add_library(txcoord_options INTERFACE)
target_compile_features(txcoord_options INTERFACE cxx_std_20)
# missing-field-initializers would forbid Event{.kind = ..., .voter = ...}: what a designated
# initializer leaves out is value-initialized on purpose.
target_compile_options(txcoord_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-missing-field-initializers -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # False alarms from the library headers when g++ 12 to 14 inline them (std::string's operator+,
  # pqxx::params): still shown, not errors. -Wno-restrict: GCC bug 105651; mismatched-new-delete:
  # Asio's frame_base::operator delete belongs to an operator new that g++ does not see inlined.
  target_compile_options(txcoord_options INTERFACE -Wno-restrict -Wno-mismatched-new-delete
    -Wno-error=maybe-uninitialized -Wno-error=stringop-overflow -Wno-error=array-bounds)
endif()
if(TXCOORD_SANITIZE)
  set(txcoord_sanitize_flags -fsanitize=${TXCOORD_SANITIZE} -fno-omit-frame-pointer)
  if(NOT TXCOORD_SANITIZE MATCHES "thread")
    list(APPEND txcoord_sanitize_flags -fno-sanitize-recover=all)
  else()
    # g++ warns that TSan does not model fences; Asio has one, and it is not on a path we use.
    list(APPEND txcoord_sanitize_flags -Wno-tsan)
  endif()
  add_compile_options(${txcoord_sanitize_flags})
  add_link_options(-fsanitize=${TXCOORD_SANITIZE})
endif()

# Sets OUT to every .cpp under the folders.
function(txcoord_glob out)
  set(patterns)
  foreach(folder IN LISTS ARGN)
    list(APPEND patterns ${CMAKE_SOURCE_DIR}/${folder}/*.cpp)
  endforeach()
  file(GLOB_RECURSE files CONFIGURE_DEPENDS ${patterns})
  list(SORT files)
  set(${out} ${files} PARENT_SCOPE)
endfunction()

# A target that holds one precompiled header for others to reuse. Its compile definitions must be
# a subset of theirs, or g++ refuses the header (-Winvalid-pch would say so).
function(txcoord_precompiled name)
  cmake_parse_arguments(arg "" "HEADER" "LINK" ${ARGN})
  if(NOT TXCOORD_PCH)
    return()
  endif()
  set(stub ${CMAKE_BINARY_DIR}/generated/${name}.cpp)
  file(CONFIGURE OUTPUT ${stub} CONTENT "// Carries a precompiled header.\n" @ONLY)
  add_library(${name} OBJECT ${stub})
  target_link_libraries(${name} PRIVATE txcoord_options txcoord_asio ${arg_LINK})
  target_precompile_headers(${name} PRIVATE ${CMAKE_SOURCE_DIR}/${arg_HEADER})
  # What ccache hashes in place of the .gch (see Ccache.cmake): whatever can change its meaning.
  file(READ ${CMAKE_SOURCE_DIR}/${arg_HEADER} text)
  string(SHA256 sum "${text}|${CMAKE_CXX_COMPILER_VERSION}|${CMAKE_BUILD_TYPE}|${TXCOORD_SANITIZE}\
|${CMAKE_CXX_FLAGS}|${CMAKE_CXX_FLAGS_${CMAKE_BUILD_TYPE}}|${Boost_VERSION}|${libpqxx_VERSION}")
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/CMakeFiles/${name}.dir/cmake_pch.hxx.gch.sum
    CONTENT "${sum}\n" @ONLY)
  set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
    ${CMAKE_SOURCE_DIR}/${arg_HEADER})
endfunction()

# What each compiled target of ours gets.
function(txcoord_setup name pch)
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE txcoord_options)
  if(TXCOORD_PCH AND pch)
    target_precompile_headers(${name} REUSE_FROM ${pch})
  endif()
endfunction()

# txcoord_library(NAME SOURCES folders... [PCH target] [LINK targets...])
function(txcoord_library name)
  cmake_parse_arguments(arg "" "PCH" "SOURCES;LINK" ${ARGN})
  txcoord_glob(sources ${arg_SOURCES})
  if(sources)
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PUBLIC ${arg_LINK})
    txcoord_setup(${name} "${arg_PCH}")
  else()
    message(STATUS "${name}: no source yet")
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} INTERFACE ${arg_LINK})
  endif()
endfunction()

# txcoord_executable(NAME [SOURCES folders...] [FILES files...] [PCH target] [LINK targets...])
# Makes no target while none of its FILES (or, without FILES, of its SOURCES) is there.
function(txcoord_executable name)
  cmake_parse_arguments(arg "" "PCH" "SOURCES;FILES;LINK" ${ARGN})
  txcoord_glob(sources ${arg_SOURCES})
  if(arg_FILES)
    set(patterns ${arg_FILES})
    list(TRANSFORM patterns PREPEND ${CMAKE_SOURCE_DIR}/)
    file(GLOB files CONFIGURE_DEPENDS ${patterns})
    if(NOT files)
      set(sources)
    else()
      list(APPEND sources ${files})
    endif()
  endif()
  if(NOT sources)
    message(STATUS "${name}: no source yet")
    return()
  endif()
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE ${arg_LINK})
  txcoord_setup(${name} "${arg_PCH}")
endfunction()
