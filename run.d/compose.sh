#!/usr/bin/env bash
# ./run compose [test [NAMES...]]: the composed system for real (docs/containers.md), with a container
# engine of its own from Debian's packages; unittest takes NAMES (Killed, Fast.test_…). Needs root.
set -euo pipefail
# shellcheck source=run.d/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=run.d/deps.sh
source "$TXC_ROOT/run.d/deps.sh"
# shellcheck source=run.d/build.sh
source "$TXC_ROOT/run.d/build.sh"
[[ "${1:-test}" == test ]] || usage_error "usage: ./run compose [test [NAMES...]]"
if (($#)); then shift; fi
[[ $EUID -eq 0 ]] || die "a container engine needs root"
detect_os
[[ "$OS_KEY" == debian* ]] ||
    die "the test's own engine is Debian's: here, run tests/compose/test_compose.py beside an engine"
program_ensure
export TXCOORD_BIN="$TXC_BIN" PYTHONDONTWRITEBYTECODE=1
"$TXC_ROOT/tests/compose/engine.sh" images
exec "$TXC_ROOT/tests/compose/engine.sh" run /usr/bin/python3 "$TXC_ROOT/tests/compose/test_compose.py" "$@"
