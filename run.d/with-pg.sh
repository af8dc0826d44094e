#!/usr/bin/env bash
# Runs a command beside five private PostgreSQL servers that live as long as it does:
#   run.d/with-pg.sh build/release/tests_pg [arguments]
# It gets TXC_TEST_DSN_ORDER, _INVENTORY, _PAYMENT, _SHIPPING, _LOG (owner role, no superuser),
# TXC_TEST_PGBIN (server programs), TXC_TEST_PGROOT (the servers' folder) and TXC_TEST_PGCTL, a
# program: $TXC_TEST_PGCTL start|stop|kill|restart NAME.
set -euo pipefail
# shellcheck source=run.d/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=run.d/pg.sh
source "$TXC_ROOT/run.d/pg.sh"
(($# > 0)) || usage_error "usage: run.d/with-pg.sh COMMAND [ARGUMENTS]"

temp="$(mktemp -d /tmp/txcpg.XXXXXX)"
mkdir -m 711 "$temp/pg" "$temp/log"
command_pid=''

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    trap '' INT TERM
    if [[ -n "$command_pid" ]]; then kill -TERM "$command_pid" 2>/dev/null || true; fi
    pg_stop_all QUIT
    rm -rf "$temp"
}

# If this process is killed outright (a ctest timeout), somebody must still end the servers.
watch_over() {
    # shellcheck disable=SC2016 # the inner shell expands these
    setsid --fork bash -c '
        source "$1/run.d/common.sh"; source "$1/run.d/pg.sh"
        while process_is "$2" with-pg.sh; do sleep 1; done
        if [[ -d "$3" ]]; then pg_use "$3/pg"; pg_stop_all QUIT; rm -rf "$3"; fi
    ' watch "$TXC_ROOT" "$$" "$temp" </dev/null >/dev/null 2>&1
}

# Making a set takes seconds of both processors: it is done once for a build folder, and copied from
# there. Each of the five has a system identifier of its own all the same.
set_kept() {
    local program
    program="$("$PG_BIN/postgres" --version | tr -cd '[:alnum:].')"
    printf '%s' "$TXC_BUILD/test-servers/$program-${PG_USER:-own}-$(cksum <"$TXC_ROOT/run.d/pg.sh" | cut -d ' ' -f 1)"
}

make_set() {
    local kept="$1" fresh
    pg_create_missing --no-sync
    pg_start_all "$temp/log"
    pg_stop_all INT
    mkdir -p "$(dirname "$kept")"
    fresh="$(mktemp -d "$kept.XXXXXX")"
    cp -a "${PG_NAMES[@]/#/$temp/pg/}" "$fresh/"
    # Somebody else may have been quicker: then theirs counts.
    mv -T "$fresh" "$kept" 2>/dev/null || rm -rf "$fresh"
}

printf '%s' "$temp/s" >"$temp/pg/sockets"
pg_use "$temp/pg"
if [[ -n "$PG_USER" ]]; then chmod 711 "$temp"; fi
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
watch_over
kept="$(set_kept)"
if [[ -d "$kept" ]]; then
    cp -a "${PG_NAMES[@]/#/$kept/}" "$temp/pg/"
else
    make_set "$kept"
fi
pg_start_all "$temp/log"

for name in "${PG_NAMES[@]}"; do
    export "TXC_TEST_DSN_${name^^}=$(pg_dsn "$name")"
done
export TXC_TEST_PGBIN="$PG_BIN" TXC_TEST_PGROOT="$temp/pg"
export TXC_TEST_PGCTL="$TXC_ROOT/run.d/pg-ctl.sh"

"$@" &
command_pid=$!
status=0
wait "$command_pid" || status=$?
command_pid=''
if ((status != 0)) && [[ -n "${TXC_TEST_KEEP_LOGS:-}" ]]; then cp "$temp"/log/* "$TXC_TEST_KEEP_LOGS/"; fi
exit "$status"
