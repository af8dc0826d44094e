#!/usr/bin/env bash
# ./run stop: ends what serve or demo left on this state folder. Nothing to stop is not an error.
set -euo pipefail
# shellcheck source=run.d/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=run.d/pg.sh
source "$TXC_ROOT/run.d/pg.sh"
# shellcheck source=run.d/stack.sh
source "$TXC_ROOT/run.d/stack.sh"
(($# == 0)) || usage_error "stop takes no arguments"

for owner in demo serve; do
    if [[ -r "$TXC_STATE/run/$owner.pid" ]]; then
        end_process "$(<"$TXC_STATE/run/$owner.pid")" "run.d/$owner.sh" TERM 60
        rm -f "$TXC_STATE/run/$owner.pid"
    fi
done
stack_stop
say "nothing is running on $TXC_STATE"
