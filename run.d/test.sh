#!/usr/bin/env bash
# ./run test [--all | ctest arguments]: builds the release preset and runs the tests, with --all the
# longest too; the last thing it prints is CTest's summary. ./run test -L unit runs one tier.
set -euo pipefail
# shellcheck source=run.d/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=run.d/deps.sh
source "$TXC_ROOT/run.d/deps.sh"
# shellcheck source=run.d/build.sh
source "$TXC_ROOT/run.d/build.sh"

deps_ensure build test
build_preset release
tier_files() { find "$TXC_ROOT/tests/$1" -name "$2" 2>/dev/null | head -n 1; }
for tier in unit:*.cpp scenarios:*.cpp pg:*.cpp http:*.cpp e2e:test_*.py; do
    if [[ -z "$(tier_files "${tier%%:*}" "${tier#*:}")" ]]; then
        say "skipped: tests/${tier%%:*} has no tests yet"
    fi
done
for program in docker promtool amtool; do
    command -v "$program" >/dev/null || [[ -x "$PREFIX/bin/$program" ]] ||
        say "skipped: what needs $program (it is not installed)"
done
chosen=("$@")
if (($# == 0)); then
    say "left out: tests with the label long; ./run check has them, ./run test --all too"
    chosen=(-LE '^long$')
elif [[ "$1" == --all ]]; then
    chosen=("${@:2}")
fi
# Servers and load in one test each: more than two at once would only measure the machine.
# No exec: as process 1 of a container this shell reaps the servers that tests kill, ctest would not.
ctest --test-dir "$TXC_BUILD/release" --output-on-failure -j "${TXCOORD_TEST_JOBS:-2}" "${chosen[@]}"
