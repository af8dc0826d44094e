#!/usr/bin/env bash
# ./run serve: the stack in the foreground until Ctrl-C or SIGTERM; state is kept between starts.
set -euo pipefail
# shellcheck source=run.d/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=run.d/deps.sh
source "$TXC_ROOT/run.d/deps.sh"
# shellcheck source=run.d/build.sh
source "$TXC_ROOT/run.d/build.sh"
# shellcheck source=run.d/pg.sh
source "$TXC_ROOT/run.d/pg.sh"
# shellcheck source=run.d/stack.sh
source "$TXC_ROOT/run.d/stack.sh"
(($# == 0)) || usage_error "serve takes no arguments (settings: TXCOORD_PORT, TXCOORD_ADMIN_PORT, TXCOORD_STATE_DIR)"

STACK_STOPPING=''
started=''
# shellcheck disable=SC2317 # called by the trap
on_exit() {
    local status=$?
    trap '' INT TERM
    end_working
    if [[ -n "$started" ]]; then
        stack_stop
        rm -f "$TXC_STATE/run/serve.pid"
        if ((status == 0)); then say "stopped"; fi
    fi
    exit "$status"
}
trap on_exit EXIT
# Before the supervisor's loop a signal ends us through the EXIT trap; inside it, at its next turn.
trap 'STACK_STOPPING=1; [[ -n "${supervising:-}" ]] || exit 130' INT
trap 'STACK_STOPPING=1; [[ -n "${supervising:-}" ]] || exit 143' TERM
# A terminal that goes away ends us like Ctrl-C.
trap 'STACK_STOPPING=1; [[ -n "${supervising:-}" ]] || exit 129' HUP

if [[ -n "${TXCOORD_CRASH_AT:-}" ]]; then
    mkdir -p "$TXC_STATE"
    printf '%s' "$TXCOORD_CRASH_AT" >"$TXC_STATE/crash_at"
fi
program_ensure
stack_lock
started=1
stack_prepare
supervising=1
stack_supervise
exit 0
