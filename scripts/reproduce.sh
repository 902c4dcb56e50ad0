#!/usr/bin/env bash
# Every claim at one size, from documents to figure; typed again it goes on where it was. Figures go to docs/figures/.
#
#   scripts/reproduce.sh [SIZE] [CLAIM...]      size: smoke (default), node or paper
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ ! -x .venv/bin/python ] || PATH="$PWD/.venv/bin:$PATH"

size="${1:-smoke}"
shift || true
claims=("$@")
if [ ${#claims[@]} = 0 ]; then
    for file in conf/claim_stages/*.yaml; do claims+=("$(basename "$file" .yaml)"); done
fi

mkdir -p docs/figures
for claim in "${claims[@]}"; do
    echo "reproduce: $claim ($size)"
    python -m pipeline "experiment=$claim/$size"
    # only smoke figures are part of the repository; larger ones stay beside their results
    if [ "$size" = smoke ]; then
        for form in svg png; do cp "outputs/claims/smoke/$claim/figure.$form" "docs/figures/$claim.$form"; done
    fi
done
echo "reproduce: ${claims[*]}: tables in outputs/claims/$size/<claim>/results.csv"
