#!/usr/bin/env bash
# The demo: one experiment, start to end, on the chat model that comes with the packages.
set -euo pipefail
cd "$(dirname "$0")/.."
exec python -m pipeline experiment=demo "$@" # ends with the table and the path of the report
