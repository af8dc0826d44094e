#!/usr/bin/env bash
# A container engine of the test's own, from Debian's packages, for machines that have none and reach
# no registry. Nothing is installed that starts a server, and nothing of it outlives the call.
#   engine.sh images       packages, base images by debootstrap, the stand-ins, and ours
#   engine.sh run CMD…     CMD beside a running engine: DOCKER_HOST leads to it
#   engine.sh build CMD…   the same on the machine's network, for `docker build --network host`
# `run` is in namespaces of its own: mounts, network (bridges, rules, published ports) and processes
# end with it. Needs root. Everything is kept in build/compose; remove that to begin anew.
set -euo pipefail
# shellcheck source=run.d/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../run.d/common.sh"
# shellcheck source=run.d/deps.sh
source "$TXC_ROOT/run.d/deps.sh"

KEPT="$TXC_BUILD/compose"
ENGINE="$KEPT/engine"
SELF="$(realpath "${BASH_SOURCE[0]}")"
PRIVATE_APT="$KEPT/apt"
CGROUP="txcoord-compose-$$"
export DOCKER_CONFIG="$KEPT/docker" DOCKER_BUILDKIT=1
# Debian 13's: the compose of Debian 12 is version 1, and an engine likes its own time's client.
packages=(docker.io docker-cli docker-buildx docker-compose containerd tini)

engine_packages() {
    local helpers=(debootstrap iptables runc) mirror
    mapfile -t helpers < <(missing_packages "${helpers[@]}")
    if ((${#helpers[@]})); then apt_install "${helpers[@]}"; fi
    [[ -x "$ENGINE/usr/sbin/dockerd" ]] && return 0
    mirror="$(debian_mirror)"
    mkdir -p "$PRIVATE_APT/state/lists/partial" "$PRIVATE_APT/cache/archives/partial"
    : >"$PRIVATE_APT/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" \
        >"$PRIVATE_APT/sources.list"
    with_progress "fetching the engine" "$KEPT/log/fetch.log" fetch_engine
}

fetch_engine() {
    local deb
    private_apt apt-get update -q
    rm -rf "$KEPT/debs" "$ENGINE"
    mkdir -p "$KEPT/debs"
    (cd "$KEPT/debs" && private_apt apt-get download -q "${packages[@]}")
    for deb in "$KEPT"/debs/*.deb; do dpkg-deb -x "$deb" "$ENGINE.new"; done
    mv "$ENGINE.new" "$ENGINE"
}

debian_mirror() {
    local mirror
    mirror="$(machine_mirror "$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")")"
    [[ -n "$mirror" ]] || die "the machine's apt sources name no mirror"
    printf '%s' "$mirror"
}

# Inside namespaces: the engine, and then "$@". $1: options for it.
beside_engine() {
    local options pid i status=0
    read -ra options <<<"$1"
    shift
    export PATH="$ENGINE/usr/sbin:$ENGINE/usr/bin:$PATH" DOCKER_HOST="unix:///run/docker.sock"
    mkdir -p "$DOCKER_CONFIG/cli-plugins" "$KEPT/log"
    ln -sf "$ENGINE"/usr/libexec/docker/cli-plugins/* "$DOCKER_CONFIG/cli-plugins/"
    # Names are resolved as on the machine, also where that file points into /run.
    local names
    names="$(cat /etc/resolv.conf)"
    mount -t tmpfs -o mode=755 tmpfs /run
    if [[ -L /etc/resolv.conf ]]; then
        mkdir -p "$(dirname "$(realpath -m /etc/resolv.conf)")"
        printf '%s\n' "$names" >"$(realpath -m /etc/resolv.conf)"
    fi
    dockerd --data-root "$KEPT/data" --exec-root /run/docker --pidfile /run/docker.pid \
        --host "$DOCKER_HOST" --storage-driver overlay2 --cgroup-parent "/$CGROUP" "${options[@]}" \
        >"$KEPT/log/dockerd.log" 2>&1 </dev/null &
    pid=$!
    for ((i = 0; i < 300; i++)); do
        docker version >/dev/null 2>&1 && break
        [[ -d "/proc/$pid" ]] || break
        read -rt 0.1 <> <(:) || true
    done
    docker version >/dev/null 2>&1 || {
        tail -n 20 "$KEPT/log/dockerd.log" >&2
        die "the engine did not start"
    }
    "$@" || status=$?
    kill "$pid"
    wait "$pid" || true
    exit "$status"
}

# One engine at a time: it owns its data folder. Then a call of this script inside the namespaces.
in_namespaces() {
    mkdir -p "$KEPT"
    exec {lock}>"$KEPT/lock"
    flock -n "$lock" || die "another engine runs on $KEPT"
    trap leave EXIT
    trap 'exit 143' INT TERM HUP
    TXC_CGROUP="$CGROUP" unshare "$@" &
    NAMESPACES=$!
    wait "$NAMESPACES"
}

# However it ends: what is in the namespaces goes with their first process, and then the groups are
# empty. The engine made them; nothing else removes them.
leave() {
    local status=$? group
    trap '' INT TERM HUP
    end_working
    kill -KILL "$NAMESPACES" 2>/dev/null || true
    wait "$NAMESPACES" 2>/dev/null || true
    for group in /sys/fs/cgroup/"$CGROUP" /sys/fs/cgroup/*/"$CGROUP"; do
        if [[ -d "$group" ]]; then remove_group "$group"; fi
    done
    exit "$status"
}

# The last processes may still be ending.
remove_group() {
    local tries
    for ((tries = 0; tries < 50; tries++)); do
        if find "$1" -depth -type d -exec rmdir {} \; 2>/dev/null && [[ ! -d "$1" ]]; then return 0; fi
        sleep 0.1
    done
    say "the control group $1 is still in use"
}

image_of() { # the pinned name of an official image in compose.yaml
    sed -n "s#.*image: \${TXC_[A-Z]*_IMAGE:-\($1:[^}]*\)}.*#\1#p" "$TXC_ROOT/compose/compose.yaml" | head -n 1
}

import_base() { # import_base RELEASE TAG
    docker image inspect "$2" >/dev/null 2>&1 && return 0
    local root="$KEPT/base-$1"
    rm -rf "$root"
    with_progress "debootstrap $1" "$KEPT/log/debootstrap-$1.log" \
        debootstrap --variant=minbase "$1" "$root" "$(debian_mirror)"
    tar -C "$root" --exclude=./dev -c . | docker import - "$2" >/dev/null
    rm -rf "$root"
}

build_images() {
    local name image debian
    debian="$(sed -n 's/^ARG DEBIAN=//p' "$TXC_ROOT/compose/Dockerfile")"
    import_base bookworm "$debian"
    import_base trixie txcoord-stand-ins:base
    for name in postgres haproxy prom/prometheus prom/alertmanager grafana/grafana; do
        image="$(image_of "$name")"
        [[ -n "$image" ]] || die "compose.yaml pins no image of $name"
        with_progress "stand-in for $image" "$KEPT/log/image.log" \
            docker build -q --network host --build-arg DEBIAN=txcoord-stand-ins:base \
            --target "${name##*/}" -t "$image" "$TXC_ROOT/tests/compose/stand_ins"
    done
    # The program as it is built already, in the image of the real Dockerfile.
    rm -rf "$KEPT/program"
    install -D -s "${TXCOORD_BIN:-$TXC_BUILD/release/txcoord}" "$KEPT/program/txcoord"
    with_progress "image txcoord:local" "$KEPT/log/image.log" \
        docker build --network host -f "$TXC_ROOT/compose/Dockerfile" -t txcoord:local \
        --build-context "program=$KEPT/program" "$TXC_ROOT"
    with_progress "image txcoord-tools:local" "$KEPT/log/image.log" \
        docker build --network host -t txcoord-tools:local "$TXC_ROOT/compose/load"
    docker image prune --force >/dev/null
    docker image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}'
}

[[ $EUID -eq 0 ]] || die "an engine needs root"
case "${1:-}" in
    images)
        engine_packages
        "$SELF" build "$SELF" build-images
        ;;
    build)
        shift
        # The machine's network for apt, and no bridge or rule in it.
        in_namespaces --mount --pid --fork --kill-child --mount-proc \
            "$SELF" inside "--bridge=none --iptables=false --ip-forward=false" "$@"
        ;;
    run)
        shift
        in_namespaces --mount --pid --uts --net --fork --kill-child --mount-proc "$SELF" inside "" "$@"
        ;;
    inside)
        shift
        CGROUP="${TXC_CGROUP:?}"
        ip link set lo up
        beside_engine "$@"
        ;;
    build-images) build_images ;;
    *) usage_error "usage: engine.sh images | run CMD… | build CMD…" ;;
esac
