"""Checkpoints that are whole or absent, and from which a run goes on as if it had never stopped.

Weights and moments are written whole by the first process, so that a run can go on with another number of processes.
Order of the data, rate and dropout follow from seed and step and need no place in a checkpoint.
"""

import json
import os
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from train.optimizer import Weights

_FOLDER = "checkpoint"


def save_checkpoint(run_dir: Path, weights: Weights, step: int, keep: int = 1, is_first: bool = True) -> None:
    """Adds a checkpoint taken after `step` updates and keeps the last `keep`; a kill leaves whole ones only.

    Every process calls this; the first one writes.
    """
    tensors = {}
    for name, tensor in weights.state():
        if is_first:
            tensors[name] = tensor.cpu()
    if not is_first:
        return
    partial = run_dir / "partial-checkpoint"
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir()
    save_file(tensors, partial / "state.safetensors")
    (partial / "step.json").write_text(json.dumps({"step": step}), encoding="utf-8")
    for file in partial.iterdir():
        with file.open("rb") as written:
            os.fsync(written.fileno())
    partial.rename(run_dir / f"{_FOLDER}-{step:07d}")
    for older in checkpoints(run_dir)[:-keep]:
        shutil.rmtree(older)


def checkpoints(run_dir: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted(run_dir.glob(f"{_FOLDER}-*"))


def load_checkpoint(run_dir: Path, weights: Weights) -> int:
    """Restores the newest whole checkpoint and returns its step; 0 where there is none."""
    found = checkpoints(run_dir)
    if not found:
        return 0
    step = int(json.loads((found[-1] / "step.json").read_text(encoding="utf-8"))["step"])
    weights.load_state(load_file(found[-1] / "state.safetensors"), step)
    return step


def remove_checkpoints(run_dir: Path) -> None:
    """A finished run keeps its adapter and no checkpoints."""
    for folder in checkpoints(run_dir):
        shutil.rmtree(folder)
