#!/usr/bin/env bash
# Installs what the build and the tests need, and says so first.
#   deps.sh          the compiler, libraries and PostgreSQL server programs
#   deps.sh program  only what the program is built from: no tests, no servers (compose/Dockerfile)
#   deps.sh check    also what `./run check` needs (clang-format, clang-tidy, shellcheck)
#   deps.sh test     also what `./run test` needs (python3-psycopg, python3-yaml, wrk, dpkg-dev,
#                    file, gnuplot, HAProxy, PgBouncer, Prometheus's programs)
# What a distribution packages well enough comes from apt. What is too old there goes into a
# prefix of our own (build/deps/prefix, or $TXCOORD_DEPS_DIR/prefix): libpqxx 7 and Catch2 3 on
# Debian 12, and the programs of packages that would start a server when installed (PostgreSQL,
# HAProxy, PgBouncer, Prometheus, Alertmanager), where they are not installed.
# The machine's package configuration is read, never changed.
set -euo pipefail
# shellcheck source=run.d/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

PREFIX="$TXC_DEPS/prefix"
PRIVATE_APT="$TXC_DEPS/apt"

common_packages=(g++ cmake ninja-build pkg-config ccache libpq-dev prometheus-cpp-dev
    libcli11-dev libtomlplusplus-dev libssl-dev curl python3 git ca-certificates)
debian12_packages=(libboost1.81-dev libboost-json1.81-dev libboost-system1.81-dev)
modern_packages=(libboost-dev libboost-json-dev libboost-system-dev libpqxx-dev catch2)
test_packages=(python3-psycopg python3-yaml wrk dpkg-dev file)
check_packages=(clang-format shellcheck)

# Sets OS_KEY (debian12, debian13, ubuntu2404) or dies with what is supported.
detect_os() {
    local id='' version=''
    if [[ -r /etc/os-release ]]; then
        id="$(. /etc/os-release && printf '%s' "${ID:-}")"
        version="$(. /etc/os-release && printf '%s' "${VERSION_ID:-}")"
    fi
    case "$id-$version" in
        debian-12) OS_KEY=debian12 ;;
        debian-13) OS_KEY=debian13 ;;
        ubuntu-24.04) OS_KEY=ubuntu2404 ;;
        *) die "this machine is '${id:-unknown} ${version:-}'; ./run knows how to install what it" \
            "needs on Debian 12, Debian 13 and Ubuntu 24.04. Elsewhere install a C++20 compiler," \
            "CMake, Ninja, Boost >= 1.81 (headers, json, system), libpqxx 7, prometheus-cpp, CLI11," \
            "toml++, OpenSSL, Catch2 3 and PostgreSQL 15 to 17 yourself, then set" \
            "TXCOORD_SKIP_DEPS=1" ;;
    esac
}

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "root is needed to install packages (run as root, or install sudo): $*"
    fi
}

# Prints those of the named packages that are not installed.
missing_packages() {
    local installed name
    installed="$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
        awk '$1 == "installed" {print $2}' || true)"
    for name in "$@"; do
        grep -qxF "$name" <<<"$installed" || printf '%s\n' "$name"
    done
}

apt_install() {
    local log="$TXC_DEPS/log/apt.log"
    say "will install these packages with apt-get: $*"
    mkdir -p "$TXC_DEPS/log"
    # Asks for the password here: what runs in the background cannot.
    if [[ $EUID -ne 0 ]] && command -v sudo >/dev/null; then sudo -v; fi
    with_progress "reading the package lists" "$log" as_root apt-get update -q
    with_progress "installing packages" "$log" as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "$@"
}

# The mirror that serves the machine's own release.
machine_mirror() {
    local release="$1"
    apt-get indextargets 'Created-By: Packages' "Release: $release" |
        awk '$1 == "Repo-URI:" && !seen++ {print $2}'
}

# A package configuration of our own beside the machine's: own sources, lists and cache. Proxy and
# credential settings (apt.conf.d, auth.conf.d) stay the machine's.
private_apt() {
    "$1" -o Dir::State="$PRIVATE_APT/state" -o Dir::State::status="$PRIVATE_APT/status" \
        -o Dir::Cache="$PRIVATE_APT/cache" -o Dir::Etc::sourcelist="$PRIVATE_APT/sources.list" \
        -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferences=/dev/null \
        -o Dir::Etc::preferencesparts=/dev/null -o APT::Sandbox::User=root "${@:2}"
}

private_apt_update() {
    local mirror release=bookworm family=debian signed=''
    if [[ "$OS_KEY" == ubuntu2404 ]]; then release=noble family=ubuntu; fi
    mirror="$(machine_mirror "$release")"
    [[ -n "$mirror" ]] || die "the machine's apt sources name no mirror for $release"
    local keyring="/usr/share/keyrings/$family-archive-keyring.gpg"
    [[ -r "$keyring" ]] && signed="[signed-by=$keyring] "
    mkdir -p "$PRIVATE_APT/state/lists/partial" "$PRIVATE_APT/cache/archives/partial"
    : >"$PRIVATE_APT/status"
    if [[ "$OS_KEY" == ubuntu2404 ]]; then
        printf '%s\n' "deb-src ${signed}${mirror} noble universe"
    else
        printf '%s\n' "deb ${signed}${mirror} bookworm-backports main" \
            "deb-src ${signed}${mirror} trixie main"
    fi >"$PRIVATE_APT/sources.list"
    private_apt apt-get update -q
}

# Unpacks a Debian package's files into our prefix: usr/include becomes include, and so on.
unpack_into_prefix() {
    local deb="$1" temp
    temp="$(mktemp -d "$TXC_DEPS/unpack.XXXXXX")"
    dpkg-deb -x "$deb" "$temp"
    mkdir -p "$PREFIX"
    cp -a "$temp/usr/." "$PREFIX/"
    rm -rf "$temp"
}

fetch_catch2() {
    cd "$PRIVATE_APT"
    rm -f libcatch2-dev_*.deb
    private_apt apt-get download -q libcatch2-dev/bookworm-backports
    unpack_into_prefix ./libcatch2-dev_*.deb
}

build_libpqxx() {
    local source="$TXC_DEPS/src/libpqxx"
    rm -rf "$source" "$TXC_DEPS/src/libpqxx-build"
    mkdir -p "$source"
    cd "$TXC_DEPS/src"
    private_apt apt-get source -q --download-only libpqxx
    tar -xf libpqxx_*.orig.tar.* -C "$source" --strip-components=1
    cmake -S "$source" -B libpqxx-build -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
        -DCMAKE_CXX_STANDARD=20 -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DBUILD_SHARED_LIBS=OFF \
        -DSKIP_BUILD_TEST=ON -DBUILD_DOC=OFF -DCMAKE_INSTALL_LIBDIR=lib \
        -DCMAKE_INSTALL_PREFIX="$PREFIX"
    cmake --build libpqxx-build -j "$TXC_JOBS"
    cmake --install libpqxx-build
}

# Debian 12's own libpqxx is 6.4 and its Catch2 is 2.13. Ubuntu 24.04's libpqxx is compiled as C++17,
# and its headers promise a C++20 program functions that are not in it (seen: undefined references).
prefix_ensure() {
    local log="$TXC_DEPS/log" catch2=''
    if [[ "$OS_KEY" == debian12 && "${1:-}" != program ]]; then catch2=1; fi
    [[ -e "$PREFIX/.pqxx-7" && (-z "$catch2" || -e "$PREFIX/.catch2-3") ]] && return 0
    say "will put into $PREFIX: libpqxx 7 (built from the distribution's source)${catch2:+, Catch2 3 (backports)}"
    mkdir -p "$log" "$PREFIX"
    with_progress "reading the package lists (private)" "$log/private-apt.log" private_apt_update
    if [[ -n "$catch2" && ! -e "$PREFIX/.catch2-3" ]]; then
        with_progress "fetching Catch2 3" "$log/catch2.log" fetch_catch2
        touch "$PREFIX/.catch2-3"
    fi
    if [[ ! -e "$PREFIX/.pqxx-7" ]]; then
        with_progress "building libpqxx 7" "$log/libpqxx.log" build_libpqxx
        touch "$PREFIX/.pqxx-7"
    fi
}

# True when PostgreSQL server programs of a version we support are at hand.
have_postgres() {
    [[ -n "${TXCOORD_PG_BINDIR:-}" && -x "$TXCOORD_PG_BINDIR/postgres" ]] && return 0
    local version
    for version in 17 16 15; do
        [[ -x "/usr/lib/postgresql/$version/bin/postgres" &&
            -x "/usr/lib/postgresql/$version/bin/psql" ]] && return 0
        [[ -x "$PREFIX/lib/postgresql/$version/bin/postgres" &&
            -x "$PREFIX/lib/postgresql/$version/bin/psql" ]] && return 0
    done
    return 1
}

fetch_unpacked() {
    local package
    cd "$TXC_DEPS"
    for package in "$@"; do
        rm -f "$package"_*.deb
        apt-get download -q "$package"
        unpack_into_prefix ./"$package"_*.deb
    done
}

# Packages whose installation scripts start a server for the whole machine: their files are unpacked
# into our prefix instead, and apt installs the libraries only. unpack_packages NAME PACKAGE...
unpack_packages() {
    local name="$1" libraries
    shift
    say "will put into $PREFIX: the programs of $name (unpacked, nothing is started)"
    mapfile -t libraries < <(apt-cache depends --no-recommends --no-suggests --no-conflicts \
        --no-breaks --no-replaces --no-enhances "$@" |
        awk '$1 == "Depends:" && $2 ~ /^(lib|tzdata)/ {print $2}' | sort -u)
    mapfile -t libraries < <(missing_packages "${libraries[@]}")
    if ((${#libraries[@]})); then apt_install "${libraries[@]}"; fi
    with_progress "fetching $name" "$TXC_DEPS/log/$1.log" fetch_unpacked "$@"
}

# PostgreSQL's programs find their share folder relative to themselves.
postgres_ensure() {
    have_postgres && return 0
    local version
    case "$OS_KEY" in debian12) version=15 ;; ubuntu2404) version=16 ;; *) version=17 ;; esac
    unpack_packages "PostgreSQL $version" "postgresql-$version" "postgresql-client-$version"
    have_postgres || die "PostgreSQL $version did not unpack as expected into $PREFIX"
}

# server_ensure NAME PACKAGE: a server's program, which has its package's name.
server_ensure() {
    if [[ -x "/usr/sbin/$2" || -x "$PREFIX/sbin/$2" ]]; then return 0; fi
    unpack_packages "$1" "$2"
}

have_monitoring() {
    local program
    for program in promtool amtool prometheus; do
        command -v "$program" >/dev/null || [[ -x "$PREFIX/bin/$program" ]] || return 1
    done
}

# Go programs: libc is all that they need. Never fails.
fetch_monitoring() {
    local packages=(prometheus prometheus-alertmanager)
    apt-cache show prometheus >/dev/null 2>&1 || (as_root apt-get update -q) || true
    # A package of its own since Debian 13.
    if apt-cache show promtool >/dev/null 2>&1; then packages+=(promtool); fi
    fetch_unpacked "${packages[@]}" || echo "not fetched"
}

# Without them the tests of the rules are skipped, and say so: no reason to stop.
monitoring_ensure() {
    have_monitoring && return 0
    say "will put into $PREFIX: promtool, amtool, prometheus (unpacked, nothing is started)"
    with_progress "fetching Prometheus's programs" "$TXC_DEPS/log/monitoring.log" fetch_monitoring
    have_monitoring || say "could not fetch them: what needs them will be skipped"
}

deps_ensure() {
    [[ -z "${TXCOORD_SKIP_DEPS:-}" ]] || return 0
    detect_os
    local wanted=("${common_packages[@]}") missing need tests=''
    if [[ "$OS_KEY" == debian12 ]]; then
        wanted+=("${debian12_packages[@]}")
    else
        wanted+=("${modern_packages[@]}")
    fi
    for need in "$@"; do
        case "$need" in
            build | program) ;;
            test) tests=1 wanted+=("${test_packages[@]}") ;;
            check) tests=1 wanted+=("${test_packages[@]}" "${check_packages[@]}")
                # Debian 12's own is 14, which knows neither coroutines nor source_location.
                if [[ "$OS_KEY" == debian12 ]]; then wanted+=(clang-tidy-16); else wanted+=(clang-tidy); fi ;;
            *) die "deps: unknown set '$need'" ;;
        esac
    done
    # The plots of ./run compare. One of gnuplot's packages replaces another: any of them will do.
    if [[ -n "$tests" ]] && ! command -v gnuplot >/dev/null; then wanted+=(gnuplot-nox); fi
    mapfile -t missing < <(missing_packages "${wanted[@]}")
    if ((${#missing[@]})); then apt_install "${missing[@]}"; fi
    if [[ "$OS_KEY" != debian13 ]]; then prefix_ensure "${1:-}"; fi
    if [[ "${1:-}" != program ]]; then postgres_ensure; fi
    if [[ -n "$tests" ]]; then
        server_ensure HAProxy haproxy
        server_ensure PgBouncer pgbouncer
        monitoring_ensure
    fi
}

if [[ "${BASH_SOURCE[0]}" == "$0" ]]; then deps_ensure "$@"; fi
