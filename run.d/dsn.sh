#!/usr/bin/env bash
# ./run dsn NAME: prints a libpq connection string for a database of the running stack.
set -euo pipefail
# shellcheck source=run.d/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=run.d/pg.sh
source "$TXC_ROOT/run.d/pg.sh"
[[ $# -eq 1 && " ${PG_NAMES[*]} " == *" $1 "* ]] || usage_error "usage: ./run dsn ${PG_NAMES[*]}"
[[ -r "$TXC_STATE/pg/sockets" ]] || die "no stack was ever started on $TXC_STATE (./run serve, ./run demo)"
pg_use "$(realpath "$TXC_STATE/pg")"
pg_pid "$1" >/dev/null || say "the server '$1' is not running now"
printf '%s\n' "$(pg_dsn "$1")"
