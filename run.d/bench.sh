#!/usr/bin/env bash
# ./run bench [--quick] [--rounds N] [--seconds S] [--connections C] …: txcoord behind REST beside one
# plain database, in turns on one machine (tests/bench/bench.py; docs/performance.md says how to read
# it). A stack of its own, made anew each time in <state>/bench, on free ports; the result stays in
# <state>/bench.json.
#   ./run bench --apart [--rounds N] [--seconds S] …: all participants in one process beside each as
# a service (tests/bench/apart.py); the result stays in <state>/apart.json.
#   ./run bench --coordinators 2 …: a second coordinator, idle and loaded (tests/bench/coordinators.py).
#   ./run bench --against PROGRAM …: another build of txcoord, in turns with this one (tests/bench/against.py).
#   ./run bench --stalls …: a locked row, a stopped coordinator (tests/bench/stalls.py).
set -euo pipefail
# shellcheck source=run.d/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=run.d/deps.sh
source "$TXC_ROOT/run.d/deps.sh"
# shellcheck source=run.d/build.sh
source "$TXC_ROOT/run.d/build.sh"
# shellcheck source=run.d/pg.sh
source "$TXC_ROOT/run.d/pg.sh"

bench_state="$TXC_STATE/bench"
case "${1:-}" in
    --apart | --coordinators | --stalls | --against)
        name="${1#--}"
        [[ "$name" == coordinators ]] || shift
        deps_ensure build test
        # What cannot be measured is told before a server is started.
        /usr/bin/python3 -B "$TXC_ROOT/tests/bench/$name.py" --check "$@"
        [[ -n "${TXCOORD_BIN:-}" ]] || build_preset release txcoord
        mkdir -p "$TXC_STATE"
        export TXCOORD_BIN="${TXCOORD_BIN:-$TXC_BUILD/release/txcoord}" TXC_REPORT="$TXC_STATE/$name.json"
        exec env PYTHONDONTWRITEBYTECODE=1 "$TXC_ROOT/run.d/with-pg.sh" /usr/bin/python3 \
            "$TXC_ROOT/tests/bench/$name.py" "$@"
        ;;
esac
if [[ " $* " == *" --help "* || " $* " == *" -h "* ]]; then exec /usr/bin/python3 "$TXC_ROOT/tests/bench/bench.py" --help; fi

# What cannot be measured is told before a server is started.
/usr/bin/python3 -B "$TXC_ROOT/tests/bench/bench.py" --check "$@"

serve_pid='' one_made=''
# shellcheck disable=SC2317 # called by the trap
on_exit() {
    local status=$? pid
    trap '' INT TERM HUP
    if [[ -n "$one_made" ]] && pid="$(pg_pid one)"; then end_process "$pid" "-D $PG_ROOT/one" INT 20; fi
    if [[ -n "$serve_pid" ]]; then
        kill -TERM "$serve_pid" 2>/dev/null || true
        wait "$serve_pid" || true
    fi
    exit "$status"
}

start_stack() {
    # What an interrupted bench left is ended first, its data are not kept.
    if [[ -d "$bench_state" ]]; then
        TXCOORD_STATE_DIR="$bench_state" "$TXC_ROOT/run.d/stop.sh"
        rm -rf "$(realpath -m "$bench_state/pg")" "$bench_state"
    fi
    mkdir -p "$bench_state"
    trap on_exit EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    TXCOORD_STATE_DIR="$bench_state" TXCOORD_PORT=0 TXCOORD_ADMIN_PORT=0 TXCOORD_BIN="$TXC_BIN" \
        setsid "$TXC_ROOT/run.d/serve.sh" >/dev/null &
    serve_pid=$!
    while [[ ! -e "$bench_state/run/ready" ]]; do
        if ! kill -0 "$serve_pid" 2>/dev/null; then
            serve_pid=''
            die "the stack did not start"
        fi
        sleep 0.2
    done
}

# A sixth server like the five, for the baseline: nobody else's checkpoints and caches.
start_one_database() {
    say "starting a sixth server, for the baseline"
    pg_use "$(realpath "$bench_state/pg")"
    one_made=1
    pg_create one ''
    pg_start one "$bench_state/log/pg-one.log"
    pg_wait one 60 || die "the baseline's server did not start; its log is $bench_state/log/pg-one.log"
    pg_provision one
}

deps_ensure build test
targets=()
[[ -n "${TXCOORD_BIN:-}" ]] || targets+=(txcoord)
[[ -n "${TXCOORD_BENCH_ONE_DATABASE:-}" ]] || targets+=(txcoord_bench_one_database)
((${#targets[@]} == 0)) || build_preset release "${targets[@]}"
TXC_BIN="$(realpath "${TXCOORD_BIN:-$TXC_BUILD/release/txcoord}")"
start_stack
start_one_database
for name in "${PG_NAMES[@]}" one; do export "TXC_DSN_${name^^}=$(pg_dsn "$name")"; done
TXC_URL="http://127.0.0.1:$(<"$bench_state/run/ready")"
export TXC_ROOT TXC_STATE="$bench_state" TXC_PSQL="$PG_BIN/psql" TXC_URL
export TXC_REPORT="${bench_state%/bench}/bench.json"
TXC_ONE_DATABASE="${TXCOORD_BENCH_ONE_DATABASE:-$TXC_BUILD/release/txcoord_bench_one_database}"
TXC_REVISION="$("$TXC_BIN" --version)"
export TXC_ONE_DATABASE TXC_REVISION
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$TXC_ROOT/tests/bench/bench.py" "$@"
say "auditing all that was ordered"
"$TXC_BIN" audit --config "$bench_state/txcoord.toml"
