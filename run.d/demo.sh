#!/usr/bin/env bash
# ./run demo [--no-wait]: the stack, and a tour of it with real orders (run.d/tour.py).
# Stays up until Ctrl-C; with --no-wait it stops after the tour. Exit 0 only if every step showed
# what it should.
set -euo pipefail
# shellcheck source=run.d/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=run.d/deps.sh
source "$TXC_ROOT/run.d/deps.sh"
# shellcheck source=run.d/build.sh
source "$TXC_ROOT/run.d/build.sh"
# shellcheck source=run.d/pg.sh
source "$TXC_ROOT/run.d/pg.sh"

wait_after=1
for argument in "$@"; do
    case "$argument" in
        --no-wait) wait_after='' ;;
        *) usage_error "usage: ./run demo [--no-wait]" ;;
    esac
done

serve_pid='' tour_pid=''
# shellcheck disable=SC2317 # called by the trap
on_exit() {
    local status=$?
    trap '' INT TERM HUP
    if [[ -n "$tour_pid" ]]; then
        kill -TERM "$tour_pid" 2>/dev/null || true
        wait "$tour_pid" || true
    fi
    if [[ -n "$serve_pid" ]]; then
        kill -TERM "$serve_pid" 2>/dev/null || true
        wait "$serve_pid" || true
    fi
    rm -f "$TXC_STATE/run/demo.pid"
    exit "$status"
}

# The supervisor is the same as in ./run serve; a session of its own keeps Ctrl-C ours.
start_stack() {
    mkdir -p "$TXC_STATE/run"
    # What an interrupted tour may have left: a crash point for the next start.
    rm -f "$TXC_STATE/run/ready" "$TXC_STATE/crash_at"
    trap on_exit EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    TXCOORD_BIN="$TXC_BIN" setsid "$TXC_ROOT/run.d/serve.sh" >/dev/null &
    serve_pid=$!
    printf '%s\n' "$$" >"$TXC_STATE/run/demo.pid"
    while [[ ! -e "$TXC_STATE/run/ready" ]]; do
        if ! kill -0 "$serve_pid" 2>/dev/null; then
            serve_pid=''
            die "the stack did not start"
        fi
        sleep 0.2
    done
}

# What run.d/tour.py wants to know.
tour_environment() {
    local name key value
    pg_use "$(realpath "$TXC_STATE/pg")"
    for name in "${PG_NAMES[@]}"; do export "TXC_DSN_${name^^}=$(pg_dsn "$name")"; done
    export TXC_STATE TXC_BIN TXC_PSQL="$PG_BIN/psql" PGCLIENTENCODING=UTF8
    while IFS='=' read -r key value; do
        case "$key" in
            port) export TXC_URL="http://127.0.0.1:$value" ;;
            admin_port) export TXC_ADMIN_URL="http://127.0.0.1:$value" ;;
        esac
    done <"$TXC_STATE/run/ports"
}

program_ensure # here, and not under the supervisor: Ctrl-C ends a build at once
start_stack
tour_environment
# Ends with us, however we end.
setpriv --pdeathsig TERM /usr/bin/python3 "$TXC_ROOT/run.d/tour.py" &
tour_pid=$!
tour_status=0
wait "$tour_pid" || tour_status=$?
tour_pid=''
if [[ -z "$wait_after" ]]; then exit "$tour_status"; fi
trap 'exit "$tour_status"' INT TERM HUP
((tour_status == 0)) || say "the tour did not show everything it should (status $tour_status)"
say "the stack stays up on $TXC_URL until Ctrl-C; other terminals: ./run dsn order, curl $TXC_URL/v1/inventory"
while kill -0 "$serve_pid" 2>/dev/null; do sleep 1; done
serve_pid=''
die "the stack has ended"
