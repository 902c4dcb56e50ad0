#!/usr/bin/env bash
# Tests of what needs packages that the project does without: DeepSpeed, bitsandbytes, TensorBoard, trackio, W&B. They are put
# into an environment of their own, laid over .venv, since other libraries behave differently where they find them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

environment=.venv/extras
packages=(bitsandbytes deepspeed tensorboard trackio wandb)
if [ ! -e "$environment/complete" ] || [ constraints.txt -nt "$environment/complete" ]; then
    python -m venv --clear "$environment"
    # both see what .venv has: the new interpreter, and pip when it looks for what is there
    python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$(echo "$environment"/lib/python*/site-packages)/project.pth"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "${packages[@]}" || {
        echo "extras_tests: could not install ${packages[*]}: no network, or pip's index does not have them" >&2
        exit 2
    }
    touch "$environment/complete"
fi
exec "$environment/bin/python" -m pytest -q -m extras tests/test_train_extras.py tests/test_train_processes.py "$@"
