# shellcheck shell=bash
# The whole stack: five private servers, the coordinator, and what keeps them up. Sourced after
# common.sh, deps.sh, build.sh and pg.sh.
#
# State folder: pg/ (data, or a link to it), run/ (pid files, lock, ports), log/, txcoord.toml,
#   hold/NAME   a dead server NAME (or 'coordinator') stays down while this file is there
#   crash_at    taken once: the next start of the coordinator gets it as TXCOORD_CRASH_AT

# 0: ports that are free. The first coordinator takes them; those that follow it get the same ones.
STACK_PORT="${TXCOORD_PORT:-8080}"
STACK_ADMIN_PORT="${TXCOORD_ADMIN_PORT:-0}"
if ((STACK_ADMIN_PORT == 0 && STACK_PORT != 0)); then STACK_ADMIN_PORT=$((STACK_PORT + 1)); fi
STACK_CONFIG="$TXC_STATE/txcoord.toml"
STACK_PID=''

# Data that the servers' user cannot reach (a state folder inside root's home, say) has to live
# elsewhere: /var/tmp, with a link to it in the state folder.
stack_data_folder() {
    local root="$TXC_STATE/pg" elsewhere
    if [[ -d "$root" ]]; then
        realpath "$root"
        return 0
    fi
    pg_find_user
    elsewhere="/var/tmp/txcoord-$(id -u)-$(state_hash)"
    mkdir -p "$TXC_STATE"
    mkdir -m 711 "$root"
    if pg_as test -x "$root" 2>/dev/null; then
        realpath "$root"
        return 0
    fi
    rmdir "$root"
    say "user '$PG_USER' cannot enter $TXC_STATE; the databases go to $elsewhere (to have them in" \
        "the state folder, set TXCOORD_STATE_DIR to a folder that everybody may enter)"
    if [[ -e "$elsewhere" ]]; then
        [[ -O "$elsewhere" && ! -L "$elsewhere" ]] || die "$elsewhere is somebody else's"
        say "removing databases whose state folder is gone: $elsewhere"
        (pg_use "$elsewhere" /nowhere && pg_stop_all QUIT)
        rm -rf "$elsewhere"
    fi
    mkdir -m 711 "$elsewhere"
    ln -s "$elsewhere" "$root"
    printf '%s' "$elsewhere"
}

state_hash() { printf '%s' "$TXC_STATE" | sha256sum | cut -c1-10; }

stack_write_config() {
    local name temp="$STACK_CONFIG.new"
    {
        printf '# Written by ./run at each start.\ncoordinator_id = "c1"\n\n'
        printf '[http]\naddress = "127.0.0.1"\nport = %s\nadmin_port = %s\nports_file = "%s"\n\n' \
            "$STACK_PORT" "$STACK_ADMIN_PORT" "$TXC_STATE/run/ports"
        printf '[log]\ndsn = "%s"\n' "$(pg_dsn log)"
        for name in order inventory payment shipping; do
            printf '\n[participants.%s]\ndsn = "%s"\n' "$name" "$(pg_dsn "$name")"
        done
    } >"$temp"
    mv "$temp" "$STACK_CONFIG"
}

# One supervisor a state folder. The lock (descriptor 9) is not inherited by what we start.
stack_lock() {
    mkdir -p "$TXC_STATE/run" "$TXC_STATE/log" "$TXC_STATE/hold"
    exec 9>"$TXC_STATE/run/lock"
    flock -n 9 || die "a stack already runs on $TXC_STATE (process $(cat "$TXC_STATE/run/serve.pid" \
        2>/dev/null || echo unknown)); './run stop' ends it"
    printf '%s\n' "$$" >"$TXC_STATE/run/serve.pid"
}

# Takes over the ports that process $1 listens on, once it has said so (http.ports_file).
stack_learn_ports() {
    local key value port='' admin_port='' pid=''
    ((STACK_PORT == 0)) && [[ -r "$TXC_STATE/run/ports" ]] || return 0
    # It may be gone by now: the program removes it when it stops.
    while IFS='=' read -r key value; do
        case "$key" in
            port) port="$value" ;;
            admin_port) admin_port="$value" ;;
            pid) pid="$value" ;;
        esac
    done < <(cat "$TXC_STATE/run/ports" 2>/dev/null)
    if [[ "$pid" == "$1" ]]; then STACK_PORT="$port" STACK_ADMIN_PORT="$admin_port"; fi
}

port_is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The coordinator of this state folder that lives, if any: also one that a killed serve left.
stack_coordinator_pid() {
    local pid=''
    [[ -r "$TXC_STATE/run/coordinator.pid" ]] || return 1
    read -r pid <"$TXC_STATE/run/coordinator.pid" || return 1
    process_is "$pid" "$STACK_CONFIG" || return 1
    printf '%s' "$pid"
}

# Adopts a coordinator that a killed serve left, when it is this build's and on our ports.
stack_adopt() {
    local pid
    pid="$(stack_coordinator_pid)" || return 0
    if [[ "$(readlink "/proc/$pid/exe")" == "$TXC_BIN" && ! -e "$TXC_STATE/crash_at" ]] &&
        cmp -s "$STACK_CONFIG" "$STACK_CONFIG.running"; then
        say "adopting the coordinator that is already running (process $pid)"
        STACK_PID="$pid"
    else
        say "a coordinator of another build or other settings is running (process $pid): stopping it"
        end_process "$pid" "$STACK_CONFIG" TERM 20
    fi
}

# Databases up, migrated; the coordinator adopted, or free to start. Wants TXC_BIN and the lock.
stack_prepare() {
    local data sockets
    data="$(stack_data_folder)"
    sockets="/tmp/txc-$(id -u)-$(state_hash)"
    pg_use "$data" "$sockets"
    if [[ ! -d "$data/log" ]]; then say "making five private PostgreSQL servers in $data"; fi
    pg_create_missing
    printf '%s' "$sockets" >"$data/sockets"
    rm -f "$TXC_STATE"/hold/* "$TXC_STATE/run/ready"
    say "starting five private PostgreSQL servers ($("$PG_BIN/postgres" --version))"
    pg_start_all "$TXC_STATE/log"
    stack_learn_ports "$(stack_coordinator_pid || true)"
    stack_write_config
    stack_adopt
    if [[ -z "$STACK_PID" ]] && ((STACK_PORT != 0)); then
        local port
        for port in "$STACK_PORT" "$STACK_ADMIN_PORT"; do
            ! port_is_taken "$port" ||
                die "port $port is in use by something else: set TXCOORD_PORT (or TXCOORD_ADMIN_PORT)"
        done
    fi
    # The catalogue once, with the databases: later it would wait for rows that a branch in doubt
    # holds, and nothing ends that branch before the coordinator is up.
    local sample=()
    if [[ ! -e "$data/cloudmart_loaded" ]]; then sample=(--with-cloudmart); fi
    say "applying migrations"
    "$TXC_BIN" migrate --config "$STACK_CONFIG" "${sample[@]}" >"$TXC_STATE/log/migrate.log" 2>&1 9>&- || {
        cat "$TXC_STATE/log/migrate.log" >&2
        die "txcoord migrate failed"
    }
    touch "$data/cloudmart_loaded"
}

stack_start_coordinator() {
    local crash_at=''
    if [[ -r "$TXC_STATE/crash_at" ]]; then
        crash_at="$(<"$TXC_STATE/crash_at")"
        rm -f "$TXC_STATE/crash_at"
    fi
    cp "$STACK_CONFIG" "$STACK_CONFIG.running"
    (
        exec 9>&- </dev/null >>"$TXC_STATE/log/txcoord.log" 2>&1
        # The file has the ports, also those that were free; the environment would come before it.
        exec env -u TXCOORD_CRASH_AT -u TXCOORD_PORT -u TXCOORD_ADMIN_PORT ${crash_at:+"TXCOORD_CRASH_AT=$crash_at"} \
            setsid "$TXC_BIN" serve --config "$STACK_CONFIG"
    ) &
    STACK_PID=$!
    printf '%s\n' "$STACK_PID" >"$TXC_STATE/run/coordinator.pid"
    STACK_STARTED_MS="$(now_ms)"
}

now_ms() { printf '%s' $((${EPOCHREALTIME/[.,]/} / 1000)); }

# Starts a dead coordinator again. A program that ends by itself before it was ever ready has told
# why: show that instead of trying for ever.
stack_tend_coordinator() {
    if [[ -n "$STACK_PID" ]]; then
        [[ ! -d "/proc/$STACK_PID" ]] || return 0
        local status=0
        wait "$STACK_PID" 2>/dev/null || status=$?
        STACK_PID=''
        if [[ ! -e "$TXC_STATE/run/ready" ]] && ((status < 128)); then
            tail -n 20 "$TXC_STATE/log/txcoord.log" >&2
            die "the coordinator ended with status $status before it was ready"
        fi
        STACK_DEATHS=$((STACK_DEATHS + 1))
        if [[ -e "$TXC_STATE/hold/coordinator" ]]; then
            say "the coordinator is gone (status $status): held down (hold/coordinator)"
        elif ((STACK_DEATHS <= 20 || STACK_DEATHS % 20 == 0)); then
            say "the coordinator is gone (status $status): starting it again"
        fi
    fi
    [[ ! -e "$TXC_STATE/hold/coordinator" ]] || return 0
    # At most two starts a second, so that one that dies at once does not eat the machine.
    (($(now_ms) - STACK_STARTED_MS >= 500)) || return 0
    stack_start_coordinator
}

stack_tend_servers() {
    local name
    for name in "${PG_NAMES[@]}"; do
        if [[ -e "$TXC_STATE/hold/$name" ]] || pg_pid "$name" >/dev/null; then continue; fi
        say "the PostgreSQL server '$name' is gone: starting it again"
        pg_start "$name" "$TXC_STATE/log/pg-$name.log"
        # Its pid file appears a moment later: without a pause it would be started twice.
        stack_pause 0.3
    done
}

# Waits without starting a process (a pipe that nobody writes to).
stack_pause() {
    if [[ -z "${STACK_PIPE:-}" ]]; then
        local fifo="$TXC_STATE/run/pause"
        rm -f "$fifo"
        mkfifo -m 600 "$fifo"
        exec {STACK_PIPE}<>"$fifo"
        rm -f "$fifo"
    fi
    read -rt "$1" -u "$STACK_PIPE" || true
}

stack_is_ready() {
    if ((STACK_PORT == 0)); then
        stack_learn_ports "$STACK_PID"
        ((STACK_PORT != 0)) || return 1
        # From now on clients know this address: whoever is started after a death gets it again.
        stack_write_config
        cp "$STACK_CONFIG" "$STACK_CONFIG.running"
    fi
    curl -fs -m 1 -o /dev/null "http://127.0.0.1:$STACK_PORT/readyz" 9>&-
}

# Keeps everything up until STACK_STOPPING is set by a signal. Prints 'ready' once.
stack_supervise() {
    local ready='' waited_since=$SECONDS told=0 turn=0
    STACK_DEATHS=0 STACK_STARTED_MS=0
    while [[ -z "$STACK_STOPPING" ]]; do
        stack_tend_coordinator
        # Once a second is often enough for the servers: each look costs a few processes.
        if ((turn++ % 5 == 0)); then stack_tend_servers; fi
        if [[ -z "$ready" ]]; then
            if stack_is_ready; then
                ready=1
                printf '%s\n' "$STACK_PORT" >"$TXC_STATE/run/ready"
                say "REST on http://127.0.0.1:$STACK_PORT, admin on port $STACK_ADMIN_PORT," \
                    "logs in $TXC_STATE/log"
                echo ready
            elif ((SECONDS - waited_since >= told + 5)); then
                told=$((told + 5))
                say "waiting for /readyz ... $told s"
            fi
        fi
        stack_pause 0.2
    done
}

# Ends the coordinator, then the servers; also what a killed serve left.
stack_stop() {
    local pid name left=''
    if pid="$(stack_coordinator_pid)"; then
        say "stopping the coordinator"
        end_process "$pid" "$STACK_CONFIG" TERM 20
    fi
    rm -f "$TXC_STATE/run/coordinator.pid" "$TXC_STATE/run/ready" "$TXC_STATE/run/ports"
    [[ -r "$TXC_STATE/pg/sockets" ]] || return 0
    pg_use "$(realpath "$TXC_STATE/pg")"
    for name in "${PG_NAMES[@]}"; do
        if pg_pid "$name" >/dev/null; then left=1; fi
    done
    if [[ -n "$left" ]]; then say "stopping the PostgreSQL servers"; fi
    pg_stop_all INT
    if [[ -d "$PG_SOCKETS" ]]; then rm -rf "$PG_SOCKETS"; fi
}
