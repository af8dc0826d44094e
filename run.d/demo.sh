#!/usr/bin/env bash
# ./run demo [--no-wait]: the stack, and a tour of it with real orders (run.d/tour.py).
# Stays up until Ctrl-C; with --no-wait it stops after the tour and exits 0 only if every step
# showed what it should.
set -euo pipefail
# shellcheck source=run.d/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

wait_after=1
for argument in "$@"; do
    case "$argument" in
        --no-wait) wait_after='' ;;
        *) usage_error "usage: ./run demo [--no-wait]" ;;
    esac
done

[[ -r "$TXC_ROOT/run.d/tour.py" ]] || {
    echo "run: the tour is not built yet" >&2
    exit 2
}

serve_pid=''
# shellcheck disable=SC2317 # called by the trap
on_exit() {
    local status=$?
    trap '' INT TERM
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
    rm -f "$TXC_STATE/run/ready"
    trap on_exit EXIT
    trap 'exit 0' INT TERM HUP
    setsid "$TXC_ROOT/run.d/serve.sh" >/dev/null &
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

start_stack
export TXC_STATE TXC_ROOT
export TXC_URL="http://127.0.0.1:${TXCOORD_PORT:-8080}"
/usr/bin/python3 "$TXC_ROOT/run.d/tour.py" &
tour_status=0
wait $! || tour_status=$?
if [[ -z "$wait_after" ]]; then exit "$tour_status"; fi
((tour_status == 0)) || say "the tour did not show everything it should (status $tour_status)"
say "the stack stays up on $TXC_URL until Ctrl-C; other terminals: ./run dsn order, curl $TXC_URL/v1/inventory"
while kill -0 "$serve_pid" 2>/dev/null; do sleep 1; done
serve_pid=''
exit 1
