#!/usr/bin/env bash
# Every claim at one size, from documents to figure; typed again it goes on where it was.
#
#   scripts/reproduce.sh [--figures] [SIZE] [CLAIM...] [KEY=VALUE...]
#
# SIZE is smoke (default), node or paper. KEY=VALUE goes to `python -m pipeline`, such as size.rl_server=http://node2:8000.
# With --figures, the figures in docs/figures/ are replaced by those that come out; they show the size smoke, and no other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ ! -x .venv/bin/python ] || PATH="$PWD/.venv/bin:$PATH"

replace_figures=no
if [ "${1:-}" = --figures ]; then
    replace_figures=yes
    shift
fi
size="${1:-smoke}"
shift || true
if [ "$replace_figures" = yes ] && [ "$size" != smoke ]; then
    echo "reproduce: --figures: docs/figures shows the size smoke, not $size" >&2
    exit 2
fi
claims=()
settings=()
for argument in "$@"; do
    case "$argument" in
        *=*) settings+=("$argument") ;;
        *) claims+=("$argument") ;;
    esac
done
if [ ${#claims[@]} = 0 ]; then
    for file in conf/claim_stages/*.yaml; do claims+=("$(basename "$file" .yaml)"); done
fi

for claim in "${claims[@]}"; do
    echo "reproduce: $claim ($size)"
    python -m pipeline "experiment=$claim/$size" ${settings[@]+"${settings[@]}"}
    if [ "$replace_figures" = yes ]; then
        mkdir -p docs/figures
        for form in svg png; do cp "outputs/claims/smoke/$claim/figure.$form" "docs/figures/$claim.$form"; done
    fi
done
echo "reproduce: ${claims[*]}: results.csv and figures in outputs/claims/$size/<claim>/"
