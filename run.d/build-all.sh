#!/usr/bin/env bash
# ./run build [PRESET]: installs what is missing, then builds everything of a preset (release).
set -euo pipefail
# shellcheck source=run.d/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=run.d/deps.sh
source "$TXC_ROOT/run.d/deps.sh"
# shellcheck source=run.d/build.sh
source "$TXC_ROOT/run.d/build.sh"
(($# <= 1)) || usage_error "usage: ./run build [release|dev|asan|tsan]"
deps_ensure build
build_preset "${1:-release}"
