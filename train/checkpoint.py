"""Checkpoints that are whole or absent, and from which a run goes on as if it had never stopped."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from train.adapter import MasterWeights

_FOLDER = "checkpoint"


def save_checkpoint(run_dir: Path, weights: MasterWeights, step: int) -> None:
    """Replaces the run's checkpoint by one taken after `step` updates; a kill at any moment leaves one that is whole."""
    partial = run_dir / "partial-checkpoint"
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir()
    save_file(weights.state() | _generator_states(), partial / "state.safetensors")
    (partial / "step.json").write_text(json.dumps({"step": step}), encoding="utf-8")
    partial.rename(run_dir / f"{_FOLDER}-{step:07d}")
    for older in checkpoints(run_dir)[:-1]:
        shutil.rmtree(older)


def checkpoints(run_dir: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted(run_dir.glob(f"{_FOLDER}-*"))


def load_checkpoint(run_dir: Path, weights: MasterWeights) -> int:
    """Restores the newest whole checkpoint and returns its step; 0 where there is none."""
    found = checkpoints(run_dir)
    if not found:
        return 0
    tensors = load_file(found[-1] / "state.safetensors")
    step = int(json.loads((found[-1] / "step.json").read_text(encoding="utf-8"))["step"])
    weights.load_state(tensors, step)
    torch.set_rng_state(tensors["cpu_generator"])
    if torch.cuda.is_available() and "cuda_generator" in tensors:
        torch.cuda.set_rng_state(tensors["cuda_generator"])
    return step


def _generator_states() -> dict[str, torch.Tensor]:
    """States of the generators that dropout draws from."""
    states = {"cpu_generator": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda_generator"] = torch.cuda.get_rng_state()
    return states


def remove_checkpoints(run_dir: Path) -> None:
    """A finished run keeps its adapter and no checkpoints."""
    for folder in checkpoints(run_dir):
        shutil.rmtree(folder)
