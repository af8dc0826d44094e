# One Catch2 executable a tier, one ctest test for each, labelled by tier; e2e tests are Python.
# Targets: tests_unit_protocol (tests/unit/protocol, links the pure core alone), tests_unit (the
# rest of tests/unit), tests_scenarios, tests_pg, tests_http.
set(sanitizer_environment
  ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
  UBSAN_OPTIONS=print_stacktrace=1
  TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1)

# txcoord_test(NAME LABEL label SOURCES folders... [EXCLUDE regex] [PCH t] [LINK t...] [WRAP cmd...]
# [SHARDS n]): with shards, NAME_1 … NAME_n run a part each.
function(txcoord_test name)
  cmake_parse_arguments(arg "" "LABEL;PCH;EXCLUDE;TIMEOUT;SHARDS" "SOURCES;LINK;WRAP" ${ARGN})
  txcoord_glob(sources ${arg_SOURCES})
  if(arg_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "${arg_EXCLUDE}")
  endif()
  if(NOT sources)
    message(STATUS "${name}: no source yet")
    return()
  endif()
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE ${arg_LINK} Catch2::Catch2WithMain)
  txcoord_setup(${name} "${arg_PCH}")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  set(tests ${name})
  if(arg_SHARDS)
    set(tests)
    foreach(shard RANGE 1 ${arg_SHARDS})
      math(EXPR index "${shard} - 1")
      add_test(NAME ${name}_${shard}
        COMMAND ${arg_WRAP} $<TARGET_FILE:${name}> --shard-count ${arg_SHARDS} --shard-index ${index}
        WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
      list(APPEND tests ${name}_${shard})
    endforeach()
  else()
    add_test(NAME ${name} COMMAND ${arg_WRAP} $<TARGET_FILE:${name}>
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  endif()
  set_tests_properties(${tests} PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT}
    SKIP_RETURN_CODE 77
    ENVIRONMENT "${sanitizer_environment};TXCOORD_ROOT=${CMAKE_SOURCE_DIR}")
endfunction()

txcoord_test(tests_unit_protocol LABEL unit SOURCES tests/unit/protocol LINK txcoord_protocol)
txcoord_test(tests_unit LABEL unit SOURCES tests/unit EXCLUDE "/tests/unit/protocol/"
  PCH txcoord_pch_asio LINK txcoord_protocol txcoord_participants txcoord_log txcoord_engine)
txcoord_test(tests_scenarios LABEL scenarios SOURCES tests/scenarios tests/sim LINK txcoord_protocol)
txcoord_test(tests_pg LABEL pg SOURCES tests/pg PCH txcoord_pch_pqxx TIMEOUT 300 SHARDS 2
  LINK txcoord_http txcoord_audit
  WRAP ${CMAKE_SOURCE_DIR}/run.d/with-pg.sh)
# The participants' tests once more, each behind HTTP; TXC_SHAPE=apart ./run test runs everything so.
add_test(NAME tests_pg_apart COMMAND ${CMAKE_SOURCE_DIR}/run.d/with-pg.sh $<TARGET_FILE:tests_pg> -\#
  "[#order_test],[#inventory_test],[#payment_test],[#shipping_test],[#pg_participant_test],[#saga_steps_order_test],[#saga_steps_payment_test],[#saga_steps_shipping_test],[#saga_steps_barrier_test]"
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(tests_pg_apart PROPERTIES LABELS pg TIMEOUT 300 SKIP_RETURN_CODE 77
  ENVIRONMENT "${sanitizer_environment};TXCOORD_ROOT=${CMAKE_SOURCE_DIR};TXC_SHAPE=apart")
txcoord_test(tests_http LABEL http SOURCES tests/http PCH txcoord_pch_asio LINK txcoord_http)
# The independent checker's own test: every kind of violation planted, each named.
add_test(NAME checker COMMAND ${CMAKE_SOURCE_DIR}/run.d/with-pg.sh /usr/bin/python3 tests/checker/test_checker.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(checker PROPERTIES LABELS checker TIMEOUT 120 SKIP_RETURN_CODE 77
  ENVIRONMENT "TXCOORD_ROOT=${CMAKE_SOURCE_DIR};PYTHONDONTWRITEBYTECODE=1")

# The observer of ./run compare: for every counter a planted fault that makes it count. One fault is
# a program that commits a branch early: the shipped one, with another payment.
add_executable(txcoord_commits_early $<TARGET_OBJECTS:txcoord>
  ${CMAKE_SOURCE_DIR}/tests/bench/commits_early.cpp)
target_link_libraries(txcoord_commits_early PRIVATE txcoord_http txcoord_audit CLI11::CLI11)
target_link_options(txcoord_commits_early PRIVATE
  "LINKER:--wrap=_ZN7txcoord12make_paymentERKN5boost4asio15any_io_executorERKNS_16DatabaseSettingsEPNS_7MetricsERKNS_20ParticipantDeadlinesE")
txcoord_setup(txcoord_commits_early "")
add_test(NAME commits_early COMMAND /usr/bin/python3 tests/bench/test_commits_early.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(commits_early PROPERTIES LABELS checker TIMEOUT 120 SKIP_RETURN_CODE 77
  ENVIRONMENT "TXCOORD_BIN=$<TARGET_FILE:txcoord>;TXC_COMMITS_EARLY=$<TARGET_FILE:txcoord_commits_early>;TXCOORD_ROOT=${CMAKE_SOURCE_DIR};PYTHONDONTWRITEBYTECODE=1")
add_test(NAME observer COMMAND ${CMAKE_SOURCE_DIR}/run.d/with-pg.sh /usr/bin/python3 tests/bench/test_observer.py
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(observer PROPERTIES LABELS checker TIMEOUT 300 SKIP_RETURN_CODE 77
  ENVIRONMENT "TXCOORD_ROOT=${CMAKE_SOURCE_DIR};PYTHONDONTWRITEBYTECODE=1")

# --- monitoring: rules, alerts and dashboards; needs promtool and amtool (run.d/deps.sh unpacks them).
# test_live.py beside it scrapes a real run with a real Prometheus: ./run check live.
add_test(NAME monitoring COMMAND /usr/bin/python3 tests/monitoring/test_rules.py WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(monitoring PROPERTIES LABELS monitoring TIMEOUT 240 SKIP_RETURN_CODE 77
  ENVIRONMENT "TXCOORD_ROOT=${CMAKE_SOURCE_DIR};PYTHONDONTWRITEBYTECODE=1")

# --- packaging: the Debian package, unpacked; needs cpack and dpkg-dev, else skipped
if(TARGET txcoord)
  add_test(NAME packaging COMMAND /usr/bin/python3 tests/packaging/test_package.py WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(packaging PROPERTIES LABELS packaging TIMEOUT 240 SKIP_RETURN_CODE 77
    ENVIRONMENT "TXC_BUILD=${CMAKE_BINARY_DIR};TXCOORD_ROOT=${CMAKE_SOURCE_DIR};PYTHONDONTWRITEBYTECODE=1")
endif()

# --- docs: what the documents name (files, functions, headings, metrics, settings) is there
add_test(NAME docs COMMAND /usr/bin/python3 tests/docs/test_docs.py WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(docs PROPERTIES LABELS docs TIMEOUT 60)
# --- and what they tell people to type works: each command, taken from their text
if(TARGET txcoord)
  add_test(NAME procedures COMMAND /usr/bin/python3 tests/docs/test_procedures.py WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  add_test(NAME procedures_long COMMAND /usr/bin/python3 tests/docs/test_procedures_long.py
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(procedures procedures_long PROPERTIES LABELS docs TIMEOUT 300 SKIP_RETURN_CODE 77
    ENVIRONMENT "TXCOORD_BIN=$<TARGET_FILE:txcoord>;TXCOORD_ROOT=${CMAKE_SOURCE_DIR};PYTHONDONTWRITEBYTECODE=1")
endif()

# --- e2e: the shipped binary, real servers, one Python file a test
if(TARGET txcoord)
  file(GLOB e2e_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/e2e/test_*.py)
  foreach(file IN LISTS e2e_files)
    get_filename_component(name ${file} NAME_WE)
    string(REGEX REPLACE "^test_" "e2e_" name ${name})
    add_test(NAME ${name} COMMAND /usr/bin/python3 ${file} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES LABELS e2e TIMEOUT 300
      SKIP_RETURN_CODE 77
      ENVIRONMENT "${sanitizer_environment};TXCOORD_BIN=$<TARGET_FILE:txcoord>;TXCOORD_ROOT=${CMAKE_SOURCE_DIR};PYTHONDONTWRITEBYTECODE=1")
  endforeach()
endif()

# The kills once more, with each participant a process of its own.
if(TARGET txcoord)
  add_test(NAME e2e_apart_random_kills COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/e2e/test_random_kills.py
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(e2e_apart_random_kills PROPERTIES LABELS e2e TIMEOUT 300 SKIP_RETURN_CODE 77
    ENVIRONMENT "TXCOORD_BIN=$<TARGET_FILE:txcoord>;TXCOORD_ROOT=${CMAKE_SOURCE_DIR};PYTHONDONTWRITEBYTECODE=1;TXC_SHAPE=apart;TXC_KILLS=8")
  add_test(NAME conformance COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/conformance/test_conformance.py
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(conformance PROPERTIES LABELS e2e TIMEOUT 600 SKIP_RETURN_CODE 77
    ENVIRONMENT "TXCOORD_BIN=$<TARGET_FILE:txcoord>;TXCOORD_ROOT=${CMAKE_SOURCE_DIR};PYTHONDONTWRITEBYTECODE=1")
endif()

# Left out of a plain `./run test`, which is to end within five minutes: the longest, the tests of what
# only tests use, and those of the shapes around the coordinator. `./run check` has them.
foreach(name IN ITEMS tests_pg_apart e2e_apart_random_kills e2e_services_apart e2e_participant_rest conformance
                      e2e_rolling e2e_versions e2e_desync e2e_door e2e_log_restored e2e_full_disk e2e_accept_now
                      e2e_degraded_modes e2e_cards e2e_fence e2e_log_failover e2e_log_outage e2e_ownership e2e_random_faults e2e_witnesses
                      e2e_saga_crash_points checker observer commits_early monitoring packaging procedures_long)
  if(TEST ${name})
    set_property(TEST ${name} APPEND PROPERTY LABELS long)
  endif()
endforeach()

# --- ./run bench: the baseline
add_executable(txcoord_bench_one_database ${CMAKE_SOURCE_DIR}/tests/bench/one_database.cpp
  ${CMAKE_SOURCE_DIR}/tests/bench/load_tally.cpp)
target_link_libraries(txcoord_bench_one_database PRIVATE txcoord_pg CLI11::CLI11)
txcoord_setup(txcoord_bench_one_database "")

# --- ./run compare: the load generator
add_executable(txcoord_bench_load ${CMAKE_SOURCE_DIR}/tests/bench/load.cpp
  ${CMAKE_SOURCE_DIR}/tests/bench/load_client.cpp ${CMAKE_SOURCE_DIR}/tests/bench/load_tally.cpp)
target_link_libraries(txcoord_bench_load PRIVATE txcoord_asio CLI11::CLI11)
txcoord_setup(txcoord_bench_load "")
# Its statistics; and clients.
add_test(NAME compare COMMAND /usr/bin/python3 tests/bench/test_compare.py WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
add_test(NAME clients COMMAND /usr/bin/python3 tests/bench/test_clients.py WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(compare clients PROPERTIES LABELS bench TIMEOUT 120
  ENVIRONMENT "TXC_LOAD=$<TARGET_FILE:txcoord_bench_load>;PYTHONDONTWRITEBYTECODE=1")
# All of it, small; and the load generator beside wrk.
if(TARGET txcoord)
  add_test(NAME load_against_wrk COMMAND ${CMAKE_SOURCE_DIR}/run.d/with-pg.sh /usr/bin/python3
    tests/bench/test_load_against_wrk.py WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(load_against_wrk PROPERTIES LABELS "bench;long" TIMEOUT 240 SKIP_RETURN_CODE 77 RUN_SERIAL ON
    ENVIRONMENT "TXCOORD_BIN=$<TARGET_FILE:txcoord>;TXC_LOAD=$<TARGET_FILE:txcoord_bench_load>;PYTHONDONTWRITEBYTECODE=1")
  add_test(NAME compare_run COMMAND /usr/bin/python3 tests/bench/test_compare_run.py WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(compare_run PROPERTIES LABELS "bench;long" TIMEOUT 300 SKIP_RETURN_CODE 77
    ENVIRONMENT "TXCOORD_BIN=$<TARGET_FILE:txcoord>;TXCOORD_BENCH_LOAD=$<TARGET_FILE:txcoord_bench_load>;TXCOORD_BENCH_ONE_DATABASE=$<TARGET_FILE:txcoord_bench_one_database>;TXCOORD_SKIP_DEPS=1;PYTHONDONTWRITEBYTECODE=1")
endif()
