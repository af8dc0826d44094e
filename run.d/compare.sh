#!/usr/bin/env bash
# ./run compare [--quick] [--rounds N] [--seconds S] …: two-phase commit and saga beside each other
# and beside one database, by speed and by what a reader could see (tests/bench/compare.py;
# docs/comparing.md says how to read it). Servers of its own, made anew each time in
# <state>/compare; report.html, results.json, CSV files and the journal that --continue reads stay
# there. Exit status 2, before a server is started: what was asked for selects nothing.
set -euo pipefail
# shellcheck source=run.d/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=run.d/deps.sh
source "$TXC_ROOT/run.d/deps.sh"
# shellcheck source=run.d/build.sh
source "$TXC_ROOT/run.d/build.sh"
# shellcheck source=run.d/pg.sh
source "$TXC_ROOT/run.d/pg.sh"

export PYTHONDONTWRITEBYTECODE=1
if [[ " $* " == *" --help "* || " $* " == *" -h "* ]]; then
    exec /usr/bin/python3 "$TXC_ROOT/tests/bench/compare.py" --help
fi
TXC_STATE="$TXC_STATE/compare"
# shellcheck source=run.d/stack.sh
source "$TXC_ROOT/run.d/stack.sh"
export TXCOORD_STATE_DIR="$TXC_STATE"

servers_made='' compare_pid=''
# shellcheck disable=SC2317 # called by the trap
on_exit() {
    local status=$?
    trap '' INT TERM HUP
    end_working
    if [[ -n "$compare_pid" ]]; then
        kill -TERM "$compare_pid" 2>/dev/null || true
        wait "$compare_pid" 2>/dev/null || true
    fi
    if [[ -n "$servers_made" ]]; then
        PG_NAMES=(order inventory payment shipping log one)
        pg_stop_all QUIT # nothing of it is kept
        rm -rf "$PG_SOCKETS" "$PG_ROOT"
        rm -f "$TXC_STATE/pg"
    fi
    exit "$status"
}

# What an interrupted comparison left is ended first; reports of earlier ones stay.
start_servers() {
    "$TXC_ROOT/run.d/stop.sh"
    if [[ -e "$TXC_STATE/pg" ]]; then
        pg_use "$(realpath "$TXC_STATE/pg")"
        local pid
        if pid="$(pg_pid one)"; then end_process "$pid" "-D $PG_ROOT/one" INT 20; fi
        rm -rf "$(realpath "$TXC_STATE/pg")" "$TXC_STATE/pg"
    fi
    trap on_exit EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    stack_lock
    local data name
    data="$(stack_data_folder)"
    pg_use "$data" "/tmp/txc-$(id -u)-$(state_hash)"
    servers_made=1
    PG_NAMES+=(one) # like the five; for the baseline
    say "making six private PostgreSQL servers in $data"
    pg_create_missing --no-sync
    printf '%s' "$PG_SOCKETS" >"$data/sockets"
    # What the exact pass reads the windows from.
    for name in "${PG_NAMES[@]}"; do
        echo 'track_commit_timestamp = on' >>"$data/$name/postgresql.conf"
    done
    pg_start_all "$TXC_STATE/log"
    PG_NAMES=("${PG_NAMES[@]:0:5}")
}

deps_ensure build test
export TXC_STATE
/usr/bin/python3 "$TXC_ROOT/tests/bench/compare.py" "$@" --dry-run >&2
if [[ " $* " == *" --dry-run "* ]]; then exit 0; fi
command -v gnuplot >/dev/null || die "gnuplot draws the report's plots: install gnuplot-nox"
targets=()
[[ -n "${TXCOORD_BIN:-}" ]] || targets+=(txcoord)
[[ -n "${TXCOORD_BENCH_LOAD:-}" ]] || targets+=(txcoord_bench_load)
[[ -n "${TXCOORD_BENCH_ONE_DATABASE:-}" ]] || targets+=(txcoord_bench_one_database)
((${#targets[@]} == 0)) || build_preset release "${targets[@]}"
TXC_BIN="$(realpath "${TXCOORD_BIN:-$TXC_BUILD/release/txcoord}")"
TXC_LOAD="$(realpath "${TXCOORD_BENCH_LOAD:-$TXC_BUILD/release/txcoord_bench_load}")"
TXC_ONE_DATABASE="$(realpath "${TXCOORD_BENCH_ONE_DATABASE:-$TXC_BUILD/release/txcoord_bench_one_database}")"
TXC_REVISION="$("$TXC_BIN" --version)"
export TXC_BIN TXC_REVISION
# Again, now that the program is known: another one's comparison is not continued.
/usr/bin/python3 "$TXC_ROOT/tests/bench/compare.py" "$@" --dry-run >/dev/null
start_servers
for name in "${PG_NAMES[@]}" one; do
    dsn="$(pg_dsn "$name")"
    export "TXC_DSN_${name^^}=$dsn"
done
TXC_PG_DATA="$PG_ROOT"
TXC_POSTGRESQL="$("$PG_BIN/postgres" --version)"
export TXC_ROOT TXC_STATE TXC_LOAD TXC_ONE_DATABASE TXC_PG_DATA TXC_POSTGRESQL
/usr/bin/python3 "$TXC_ROOT/tests/bench/compare.py" "$@" &
compare_pid=$!
status=0
wait "$compare_pid" || status=$?
compare_pid=''
exit "$status"
