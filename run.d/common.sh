# shellcheck shell=bash
# shellcheck disable=SC2034
# Shared by every part of ./run: where things are, how to speak, how to end a process safely.
# Sourced, never run.

TXC_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
TXC_BUILD="$TXC_ROOT/build"
TXC_DEPS="${TXCOORD_DEPS_DIR:-$TXC_BUILD/deps}"
TXC_JOBS="${TXCOORD_JOBS:-$(nproc)}"
TXC_STATE="${TXCOORD_STATE_DIR:-$TXC_ROOT/.local}"
TXC_STATE="$(realpath -m "$TXC_STATE")"

say() { printf '%s\n' "run: $*" >&2; }
die() {
    printf '%s\n' "run: error: $*" >&2
    exit 1
}
usage_error() {
    printf '%s\n' "run: $*" >&2
    exit 2
}

# Runs a command with its output in a log file; shows a heartbeat every 10 s, and the log's end on
# failure. Usage: with_progress "what" LOGFILE command...
with_progress() {
    local what="$1" log="$2" started=$SECONDS pid
    shift 2
    mkdir -p "$(dirname "$log")"
    say "$what ..."
    set -m # a process group of its own, so that all of it can be ended
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    set +m
    TXC_WORKING="$pid"
    local ticks=0
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        ticks=$((ticks + 1))
        if ((ticks % 50 == 0)); then say "$what ... $((SECONDS - started)) s"; fi
    done
    TXC_WORKING=''
    if wait "$pid"; then
        say "$what: done in $((SECONDS - started)) s"
    else
        tail -n 40 "$log" >&2
        die "$what failed; the whole output is in $log"
    fi
}

# Who is interrupted while something is under way ends that too. A script with an EXIT trap of its
# own that calls with_progress under it calls this from there.
TXC_WORKING=''
end_working() {
    [[ -z "$TXC_WORKING" ]] || kill -TERM -- "-$TXC_WORKING" 2>/dev/null || true
    TXC_WORKING=''
}
trap end_working EXIT

# True when process $1 lives and its command line contains the text $2: a pid file alone proves
# nothing, since numbers are used again.
process_is() {
    local pid="$1" text="$2"
    [[ "$pid" =~ ^[0-9]+$ ]] && [[ -r "/proc/$pid/cmdline" ]] || return 1
    { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF -- "$text"
}

# Ends process $1 (if its command line contains $2): signal $3, then SIGKILL after $4 seconds.
end_process() {
    local pid="$1" text="$2" signal="$3" patience="$4"
    process_is "$pid" "$text" || return 0
    kill "-$signal" "$pid" 2>/dev/null || return 0
    local i
    for ((i = 0; i < patience * 20; i++)); do
        process_is "$pid" "$text" || return 0
        sleep 0.05
    done
    say "process $pid did not stop in $patience s: killing it"
    kill -KILL "$pid" 2>/dev/null || true
    for ((i = 0; i < 100; i++)); do
        process_is "$pid" "$text" || return 0
        sleep 0.05
    done
}
