# shellcheck shell=bash
# Private PostgreSQL servers: one for each database, sockets only, never as root, never the
# machine's own cluster. Sourced after common.sh; first call pg_use.
#
# A set of servers lives in one folder: <root>/<name> is a data directory, <root>/sockets names the
# folder of the sockets (kept short: a socket's path has at most 107 bytes).

PG_NAMES=(order inventory payment shipping log)
PG_ROOT='' PG_SOCKETS='' PG_BIN='' PG_USER=''

# The server programs: $TXCOORD_PG_BINDIR, or the newest supported version installed, or the one
# run.d/deps.sh unpacked. Data that exists decides the version.
pg_find_bindir() {
    local data_version='' version place
    [[ -r "$PG_ROOT/order/PG_VERSION" ]] && data_version="$(<"$PG_ROOT/order/PG_VERSION")"
    if [[ -n "${TXCOORD_PG_BINDIR:-}" ]]; then
        PG_BIN="$TXCOORD_PG_BINDIR"
        return 0
    fi
    for version in ${data_version:-17 16 15}; do
        for place in /usr/lib/postgresql "$TXC_DEPS/prefix/lib/postgresql"; do
            if [[ -x "$place/$version/bin/postgres" && -x "$place/$version/bin/psql" ]]; then
                PG_BIN="$place/$version/bin"
                return 0
            fi
        done
    done
    die "no PostgreSQL ${data_version:-15 to 17} server programs found (./run build installs them)"
}

# Who runs the servers: ourselves, unless we are root; then whoever owns the data already, or
# $TXCOORD_PG_USER, the user behind sudo, 'postgres', 'nobody': the first that exists.
pg_find_user() {
    PG_USER=''
    [[ $EUID -eq 0 ]] || return 0
    local name
    if [[ -d "$PG_ROOT/order" ]]; then
        PG_USER="$(stat -c %U "$PG_ROOT/order")"
        return 0
    fi
    for name in "${TXCOORD_PG_USER:-}" "${SUDO_USER:-}" postgres nobody; do
        if [[ -n "$name" && "$name" != root ]] && id -u "$name" >/dev/null 2>&1; then
            PG_USER="$name"
            return 0
        fi
    done
    die "root cannot run PostgreSQL, and no unprivileged user was found; set TXCOORD_PG_USER"
}

# Runs a command as the servers' user, with no environment that would change a server's mind.
pg_as() {
    local command=(env -u PGPORT -u PGHOST -u PGDATA -u PGUSER -u PGDATABASE -u PGOPTIONS "$@")
    if [[ -n "$PG_USER" ]]; then
        command=(setpriv --reuid "$PG_USER" --regid "$(id -g "$PG_USER")" --init-groups "${command[@]}")
    fi
    if [[ "${PG_EXEC:-}" == 1 ]]; then exec "${command[@]}"; fi
    "${command[@]}"
}

# pg_use ROOT [SOCKETS]: which set of servers the functions below mean.
pg_use() {
    PG_ROOT="$1"
    if [[ -n "${2:-}" ]]; then
        PG_SOCKETS="$2"
    elif [[ -r "$PG_ROOT/sockets" ]]; then
        PG_SOCKETS="$(<"$PG_ROOT/sockets")"
    else
        die "no servers were ever made in $PG_ROOT"
    fi
    pg_find_bindir
    pg_find_user
    pg_reach_programs
}

# Server programs that the servers' user cannot reach (a checkout inside root's home) are copied to
# where it can. PostgreSQL finds the rest of itself from the place it is started from.
pg_reach_programs() {
    [[ -n "$PG_USER" ]] || return 0
    if pg_as test -x "$PG_BIN/initdb"; then return 0; fi
    local version prefix copy fresh part
    version="$(basename "$(dirname "$PG_BIN")")"
    prefix="${PG_BIN%/lib/postgresql/*}"
    copy="/var/tmp/txcoord-postgresql-$version-$(printf '%s' "$prefix" | sha256sum | cut -c1-8)"
    if [[ ! -e "$copy" ]]; then
        fresh="$(mktemp -d "$copy.XXXXXX")"
        for part in lib share; do
            mkdir -p "$fresh/$part/postgresql"
            cp -a "$prefix/$part/postgresql/$version" "$fresh/$part/postgresql/"
        done
        chmod -R a+rX,go-w "$fresh"
        # Somebody else may have been quicker: then theirs counts.
        mv -T "$fresh" "$copy" 2>/dev/null || rm -rf "$fresh"
    fi
    # A folder in /var/tmp may be somebody else's trap.
    [[ "$(stat -c %U "$copy")" == root ]] || die "$copy does not belong to root"
    PG_BIN="$copy/lib/postgresql/$version/bin"
    pg_as test -x "$PG_BIN/initdb" || die "$PG_USER cannot run PostgreSQL from $prefix nor from $copy"
}

# Makes folder $1 for the servers' user alone. One in /tmp may be somebody else's trap: refuse it.
pg_private_folder() {
    local folder="$1" owner="${PG_USER:-$(id -un)}"
    if ! mkdir -m 700 "$folder" 2>/dev/null; then
        [[ -d "$folder" && ! -L "$folder" ]] || die "$folder cannot be made, or is not a folder"
        local found
        found="$(stat -c %U "$folder")"
        [[ "$found" == "$owner" || ($EUID -eq 0 && "$found" == root) ]] ||
            die "$folder belongs to $found, not to $owner"
        chmod 700 "$folder"
    fi
    if [[ -n "$PG_USER" ]]; then chown "$PG_USER" "$folder"; fi
}

pg_dsn() { printf 'host=%s/%s port=5432 dbname=txcoord_%s user=txcoord' "$PG_SOCKETS" "$1" "$1"; }

pg_write_settings() {
    local name="$1"
    cat >"$PG_ROOT/$name/txcoord.conf" <<END
# Written by ./run at each start.
listen_addresses = ''
port = 5432
unix_socket_directories = '$PG_SOCKETS/$name'
unix_socket_permissions = 0700
cluster_name = 'txcoord-$name'
max_connections = 100
max_prepared_transactions = 64
shared_buffers = 128MB
fsync = on
full_page_writes = on
# After a kill: one syncfs before recovery, not an fsync of each file (seen: 5 s against 0.4 s).
recovery_init_sync_method = syncfs
synchronous_commit = on
max_wal_size = 1GB
jit = off
logging_collector = off
log_line_prefix = '%m [%p] %a '
timezone = 'UTC'
END
    if [[ -n "$PG_USER" ]]; then chown "$PG_USER" "$PG_ROOT/$name/txcoord.conf"; fi
}

# Makes one server's data directory. trust: the socket's folder (mode 700) is the guard.
pg_create() {
    local name="$1" sync="$2" data="$PG_ROOT/$1"
    rm -rf "$data.new"
    pg_private_folder "$data.new"
    pg_as "$PG_BIN/initdb" -D "$data.new" -U postgres --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=trust --auth-host=reject --no-instructions ${sync:+"$sync"} >/dev/null
    echo "include 'txcoord.conf'" >>"$data.new/postgresql.conf"
    mv "$data.new" "$data"
}

# Makes what is missing of the set, all at once. $1: options for initdb ('' or --no-sync).
pg_create_missing() {
    local name pids=() failed=0
    for name in "${PG_NAMES[@]}"; do
        [[ -d "$PG_ROOT/$name" ]] && continue
        pg_create "$name" "${1:-}" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    ((failed == 0)) || die "initdb failed in $PG_ROOT"
}

# Prints the pid of server $1 when it lives; a pid file alone proves nothing.
pg_pid() {
    local pid=''
    [[ -r "$PG_ROOT/$1/postmaster.pid" ]] || return 1
    read -r pid <"$PG_ROOT/$1/postmaster.pid" 2>/dev/null || return 1
    process_is "$pid" "-D $PG_ROOT/$1" || return 1
    printf '%s' "$pid"
}

# A postmaster.pid whose process is somebody else's by now would stop the start. It goes only when
# no process works in the data directory: orphaned backends of a killed server still may.
pg_remove_stale_pid() {
    local data="$PG_ROOT/$1" pid='' cwd
    [[ -r "$data/postmaster.pid" ]] || return 0
    read -r pid <"$data/postmaster.pid" || return 0
    [[ -n "$pid" && -d "/proc/$pid" ]] || return 0 # PostgreSQL itself sees that it is gone
    for cwd in /proc/[0-9]*/cwd; do
        [[ "$(readlink "$cwd" 2>/dev/null)" == "$data" ]] && return 0
    done
    rm -f "$data/postmaster.pid"
}

# Starts server $1 as a child in a session of its own (Ctrl-C must reach us, not it); does not wait.
pg_start() {
    local name="$1" log="$2"
    pg_pid "$name" >/dev/null && return 0
    pg_remove_stale_pid "$name"
    [[ -d "$PG_SOCKETS" ]] || pg_private_folder "$PG_SOCKETS"
    [[ -d "$PG_SOCKETS/$name" ]] || pg_private_folder "$PG_SOCKETS/$name"
    pg_write_settings "$name"
    (
        cd /
        exec 9>&- </dev/null >>"$log" 2>&1 # 9: the lock of ./run serve
        PG_EXEC=1 pg_as setsid "$PG_BIN/postgres" -D "$PG_ROOT/$name"
    ) &
    disown # so that bash does not report its end; it is still reaped
}

# Waits until server $1 takes connections; $2: seconds.
pg_wait() {
    local name="$1" tries=$(($2 * 10))
    while ! "$PG_BIN/psql" -XqAt -h "$PG_SOCKETS/$name" -p 5432 -U postgres -d postgres \
        -c 'SELECT 1' >/dev/null 2>&1; do
        ((tries-- > 0)) || return 1
        sleep 0.1
    done
}

# The owner role (no superuser) and its database, when they are missing.
pg_provision() {
    local name="$1"
    "$PG_BIN/psql" -XqAt -h "$PG_SOCKETS/$name" -p 5432 -U postgres -d postgres \
        -v ON_ERROR_STOP=1 -v name="txcoord_$name" <<'SQL'
SELECT 'CREATE ROLE txcoord LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'txcoord') \gexec
SELECT format('CREATE DATABASE %I OWNER txcoord', :'name')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
SQL
}

# Starts all servers of the set and waits for them. $1: folder of the logs.
pg_start_all() {
    local name
    for name in "${PG_NAMES[@]}"; do pg_start "$name" "$1/pg-$name.log"; done
    for name in "${PG_NAMES[@]}"; do
        pg_wait "$name" 60 || {
            tail -n 20 "$1/pg-$name.log" >&2
            die "the PostgreSQL server '$name' did not start; its log is $1/pg-$name.log"
        }
        pg_provision "$name"
    done
}

# Ends all servers of the set at once. $1: INT (fast, clean) or QUIT (leaves recovery to the start).
pg_stop_all() {
    local name pid
    for name in "${PG_NAMES[@]}"; do
        if pid="$(pg_pid "$name")"; then kill "-$1" "$pid" 2>/dev/null || true; fi
    done
    for name in "${PG_NAMES[@]}"; do
        if pid="$(pg_pid "$name")"; then end_process "$pid" "-D $PG_ROOT/$name" "$1" 20; fi
    done
}
