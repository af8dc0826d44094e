#!/usr/bin/env bash
# ./run check [part...]: format, shell, layers, tidy, api, asan, tsan, long (all of them without arguments);
# live and dashboards, which need Prometheus and npm, only where they are named.
# TXC_CHECK_MINUTES=N begins no part that would usually end after N minutes, and says which parts were
# not run. Each commit begins with another one of the long parts, so that all of them are run in turn.
set -euo pipefail
# shellcheck source=run.d/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=run.d/deps.sh
source "$TXC_ROOT/run.d/deps.sh"
# shellcheck source=run.d/build.sh
source "$TXC_ROOT/run.d/build.sh"
cd "$TXC_ROOT"

sources() { find txcoord participants tests -name '*.cpp' -o -name '*.hpp' | sort; }

check_format() {
    local files
    mapfile -t files < <(sources)
    ((${#files[@]})) || return 0
    say "format: clang-format on ${#files[@]} files"
    if clang-format --dry-run -Werror "${files[@]}"; then return 0; fi
    # Versions disagree in details; the code is kept as version 14 (Debian 12) writes it.
    clang-format --version | grep -q 'version 14\.' ||
        { say "format: not counted, this is not clang-format 14"; return 0; }
    die "clang-format -i would change the files above"
}

check_shell() {
    say "shell: shellcheck"
    shellcheck -x run .ci/run run.d/*.sh compose/*.sh compose/postgres/*.sh tests/compose/*.sh \
        tests/compose/stand_ins/*.sh
}

# The core is pure: std and itself only (its CMake target links nothing; headers could still leak).
check_layers() {
    say "layers: txcoord/protocol includes std only; dependencies point one way"
    local bad
    bad="$(grep -rnE '^[[:space:]]*#[[:space:]]*include' txcoord/protocol |
        grep -vE 'include (<[a-z0-9_]+>|"txcoord/protocol/)' || true)"
    bad+="$(grep -rnE '^[[:space:]]*#[[:space:]]*include "txcoord/(engine|http|cli)/' \
        txcoord/protocol txcoord/base txcoord/pg txcoord/metrics txcoord/log participants || true)"
    bad+="$(grep -rnE '^[[:space:]]*#[[:space:]]*include "txcoord/(http|cli)/' txcoord/engine || true)"
    [[ -z "$bad" ]] || die "includes against the layers:"$'\n'"$bad"
}

check_tidy() {
    local log="$TXC_BUILD/log/tidy.log" files
    mapfile -t files < <(find txcoord participants -name '*.cpp' | sort)
    ((${#files[@]})) || return 0
    mkdir -p "$TXC_BUILD/log"
    cmake --preset tidy >"$TXC_BUILD/log/tidy.configure.log" 2>&1 || die "see $TXC_BUILD/log/tidy.configure.log"
    cmake --build --preset tidy --target txcoord_generated >>"$TXC_BUILD/log/tidy.configure.log" 2>&1 ||
        die "see $TXC_BUILD/log/tidy.configure.log"
    with_progress "clang-tidy on ${#files[@]} files" "$log" run_tidy "${files[@]}"
}

# clang does not know g++'s own warning options. What it counts in headers that are not ours is left
# out: it would push the findings out of the part of the log that a failure shows.
run_tidy() {
    local tidy=clang-tidy
    if command -v clang-tidy-16 >/dev/null; then tidy=clang-tidy-16; fi
    "$tidy" --version | grep -i version
    printf '%s\0' "$@" | xargs -0 -n 1 -P "$TXC_JOBS" \
        "$tidy" -p "$TXC_BUILD/tidy" --quiet --warnings-as-errors='*' \
        --extra-arg=-Wno-unknown-warning-option 2>&1 | sed '/ warnings\{0,1\} generated\.$/d'
}

# check_sanitizer PRESET TIERS_REGEX TARGETS...
check_sanitizer() {
    local preset="$1" tiers="$2" targets=() target
    shift 2
    [[ -e "$TXC_BUILD/$preset/build.ninja" ]] ||
        with_progress "configuring ($preset)" "$TXC_BUILD/log/$preset.configure.log" cmake --preset "$preset"
    cmake --preset "$preset" >/dev/null
    for target in "$@"; do
        if ninja -C "$TXC_BUILD/$preset" -t query "$target" >/dev/null 2>&1; then targets+=("$target"); fi
    done
    ((${#targets[@]})) || { say "$preset: no tests yet"; return 0; }
    build_preset "$preset" "${targets[@]}"
    ctest --test-dir "$TXC_BUILD/$preset" --output-on-failure -L "$tiers"
}

check_asan() { check_sanitizer asan '^(unit|scenarios|pg|http)$' tests_unit_protocol tests_unit tests_scenarios tests_pg tests_http; }
check_tsan() { check_sanitizer tsan '^(unit|http)$' tests_unit_protocol tests_unit tests_http; }

# What ./run test leaves out.
check_long() {
    build_preset release
    ctest --test-dir "$TXC_BUILD/release" --output-on-failure -L '^long$' -j "${TXCOORD_TEST_JOBS:-2}"
}

# Skipped, and said so, where exit code 77 says that something is missing.
check_python() {
    local status=0
    say "$1: $2"
    TXCOORD_ROOT="$TXC_ROOT" TXCOORD_BIN="${TXCOORD_BIN:-$TXC_BUILD/release/txcoord}" \
        PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$TXC_ROOT/$2" "${@:3}" || status=$?
    if ((status == 77)); then say "$1: skipped, see above"; return 0; fi
    ((status == 0)) || die "$1: failed"
}

# A real Prometheus over a real run with faults: a minute and a half.
check_live() {
    [[ -n "${TXCOORD_BIN:-}" ]] || build_preset release txcoord
    check_python live tests/monitoring/test_live.py
}

# Schemathesis against every kind of port: what it is asked, and what its document says. It is installed
# from PyPI into the build folder, and used for nothing else.
check_api() {
    local place="$TXC_BUILD/schemathesis" version=4.32.5
    [[ -n "${TXCOORD_BIN:-}" ]] || build_preset release txcoord
    if [[ "$("$place/bin/schemathesis" --version 2>/dev/null)" != *" $version" ]]; then
        say "api: installing schemathesis $version into $place"
        mkdir -p "$TXC_BUILD/log"
        if ! install_schemathesis "$place" "$version" >"$TXC_BUILD/log/schemathesis.log" 2>&1; then
            say "api: skipped, schemathesis cannot be installed: see $TXC_BUILD/log/schemathesis.log"
            return 0
        fi
    fi
    SCHEMATHESIS="$place/bin/schemathesis" check_python api tests/e2e/api_document.py
}

install_schemathesis() {
    /usr/bin/python3 -m venv --clear "$1" &&
        "$1/bin/pip" install --disable-pip-version-check --quiet "schemathesis==$2"
}

check_dashboards() { TXC_NPM=1 check_python dashboards tests/monitoring/grafana_schema.py; }

# Minutes on two cores, from an empty build folder, beside a release build.
declare -A usual_minutes=([tidy]=16 [long]=12 [api]=3 [asan]=24 [tsan]=15)

# tidy, asan and tsan, beginning with another one after each commit.
in_turns() {
    local dear=(tidy asan tsan) first
    first=$(($(git rev-list --count HEAD 2>/dev/null || echo 0) % 3))
    echo "${dear[@]:first}" "${dear[@]:0:first}"
}

parts=("$@")
if ((${#parts[@]} == 0)); then
    if [[ -n "${TXC_CHECK_MINUTES:-}" ]]; then
        read -ra dear <<<"$(in_turns)"
        parts=(format shell layers "${dear[0]}" long api "${dear[@]:1}")
    else
        parts=(format shell layers tidy long api asan tsan)
    fi
fi
for part in "${parts[@]}"; do
    [[ "$(type -t "check_$part")" == function ]] || usage_error "check: no part '$part' (format shell layers tidy api asan tsan long live dashboards)"
done
deps_ensure build check
run_parts() {
    local minutes="${TXC_CHECK_MINUTES:-}" part started passed=() left=()
    [[ "$minutes" =~ ^[0-9]*$ ]] || usage_error "TXC_CHECK_MINUTES is a whole number of minutes, not '$minutes'"
    for part in "${parts[@]}"; do
        if [[ -n "$minutes" ]] && ((SECONDS / 60 + ${usual_minutes[$part]:-1} > 10#$minutes)); then
            left+=("$part")
            continue
        fi
        started=$SECONDS
        "check_$part"
        say "check: $part: passed in $((SECONDS - started)) s"
        passed+=("$part")
    done
    ((${#passed[@]} == 0)) || say "check: ${passed[*]}: all passed"
    ((${#left[@]} == 0)) || say "check: NOT RUN, they would not have ended within $minutes minutes: ./run check ${left[*]}"
}

run_parts
