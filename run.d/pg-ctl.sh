#!/usr/bin/env bash
# Stops and starts one private server by hand, for tests and for the demo:
#   run.d/pg-ctl.sh start|stop|kill|restart NAME
# It means the servers of $TXC_TEST_PGROOT when that is set (run.d/with-pg.sh), else those of the
# state folder. There `./run serve` would start a dead server again at once: stop and kill put a
# hold on the name, start takes it away.
set -euo pipefail
# shellcheck source=run.d/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=run.d/pg.sh
source "$TXC_ROOT/run.d/pg.sh"

action="${1:-}" name="${2:-}"
[[ " ${PG_NAMES[*]} " == *" $name "* && -n "$name" ]] ||
    usage_error "usage: pg-ctl.sh start|stop|kill|restart ${PG_NAMES[*]}"
hold=''
if [[ -n "${TXC_TEST_PGROOT:-}" ]]; then
    pg_use "$TXC_TEST_PGROOT"
    log="$(dirname "$PG_ROOT")/log/pg-$name.log"
else
    pg_use "$(realpath -m "$TXC_STATE/pg")"
    log="$TXC_STATE/log/pg-$name.log"
    hold="$TXC_STATE/hold/$name"
    mkdir -p "$TXC_STATE/hold"
fi

end_server() {
    local signal="$1" pid
    if [[ -n "$hold" ]]; then : >"$hold"; fi
    if pid="$(pg_pid "$name")"; then end_process "$pid" "-D $PG_ROOT/$name" "$signal" 20; fi
}

begin_server() {
    local tries
    if [[ -n "$hold" ]]; then rm -f "$hold"; fi
    # Right after a kill, orphaned backends hold the shared memory for a moment: try again.
    for tries in 1 2 3 4 5 6 7 8 9 10; do
        pg_start "$name" "$log"
        if pg_wait "$name" 3; then return 0; fi
        ((tries < 10)) || die "server '$name' does not start; its log is $log"
    done
}

case "$action" in
    start) begin_server ;;
    stop) end_server INT ;;
    kill) end_server KILL ;;
    restart)
        end_server INT
        begin_server
        ;;
    *) usage_error "usage: pg-ctl.sh start|stop|kill|restart ${PG_NAMES[*]}" ;;
esac
