#!/bin/bash
# What compose.yaml uses of the official image's start: a new data folder gets a superuser with the
# password of a file, is given to the scripts of /docker-entrypoint-initdb.d over its socket, and
# only then listens.
set -euo pipefail
export POSTGRES_USER="${POSTGRES_USER:-postgres}"
if [[ ! -s "$PGDATA/PG_VERSION" ]]; then
    # Cut short before its end it would look whole at the next start.
    find "$PGDATA" -mindepth 1 -delete
    read -ra arguments <<<"${POSTGRES_INITDB_ARGS:-}"
    initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust \
        --auth-host=trust "${arguments[@]}"
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -w -o "-c listen_addresses=''" start
    for script in /docker-entrypoint-initdb.d/*.sh; do "$script"; done
    pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec "$@"
