#!/usr/bin/env bash
# The report's page in a real browser. Installs Debian's chromium where there is no Chromium (needs root or sudo).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null; then
    command -v apt-get >/dev/null || { echo "browser_tests: no Chromium and no apt-get: install Chromium first" >&2; exit 2; }
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    echo "browser_tests: installing chromium"
    "${as_root[@]}" apt-get -qq update
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get -qq install --yes --no-install-recommends chromium >/dev/null
fi
exec python -m pytest -q tests/test_*_browser.py "$@"
