# shellcheck shell=bash
# Building: dependencies, then one CMake preset. Sourced after common.sh and deps.sh.

# build_preset PRESET [targets...]: configures and builds; silent when there is nothing to do.
build_preset() {
    local preset="$1" folder="$TXC_BUILD/$1" log="$TXC_BUILD/log/$1.log"
    shift
    local targets=() lock
    if (($#)); then targets=(--target "$@"); fi
    # Two builds in one folder would overwrite each other's files: the second waits, then finds
    # nothing to do.
    mkdir -p "$TXC_BUILD/log"
    exec {lock}>"$log.lock"
    flock -n "$lock" || { say "another build of $preset is running: waiting for it"; flock "$lock"; }
    if [[ ! -e "$folder/build.ninja" ]]; then
        with_progress "configuring ($(basename "$folder"))" "$log.configure" \
            env -C "$TXC_ROOT" cmake --preset "$preset"
    fi
    # Ninja's own dry run would not see new files; a build with nothing to do takes about 1 s.
    if [[ -t 2 ]]; then
        say "building ($preset) with $TXC_JOBS jobs"
        cmake --build "$folder" -j "$TXC_JOBS" "${targets[@]}" >&2 || die "the build failed ($preset)"
    else
        with_progress "building ($preset)" "$log" \
            cmake --build "$folder" -j "$TXC_JOBS" "${targets[@]}"
    fi
    exec {lock}>&-
}

# Sets TXC_BIN, the program: $TXCOORD_BIN as it is, or a fresh release build.
program_ensure() {
    if [[ -n "${TXCOORD_BIN:-}" ]]; then
        TXC_BIN="$(realpath "$TXCOORD_BIN")"
        [[ -x "$TXC_BIN" ]] || die "TXCOORD_BIN=$TXCOORD_BIN is not a program"
        return 0
    fi
    deps_ensure build
    build_preset release txcoord
    TXC_BIN="$TXC_BUILD/release/txcoord"
    [[ -x "$TXC_BIN" ]] || die "the build made no program at $TXC_BIN"
}
