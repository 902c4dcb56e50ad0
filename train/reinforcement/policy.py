"""What both methods share: the adapter that is trained, trl's settings, and checkpoints that are whole or absent."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from pipeline.artifact import write_text
from pipeline.errors import Failed
from train.adapter import save_adapter
from train.config import TrainConfig
from train.model import build
from train.optimizer import rate_factor
from train.processes import World

CHECKPOINTS = "checkpoints"
KEPT = "steps"
"""An adapter of each step (or round) that is kept for evaluation."""
ROUNDS = "rounds"
"""All replies of each round of DPO."""
_WHOLE = "whole"
"""The file that a checkpoint gets last."""


def build_policy(config: TrainConfig, world: World) -> Any:
    """The base with the adapter that is trained, in float32."""
    policy = build(config, world).model
    keep_float32(policy)
    return policy


def keep_float32(policy: Any) -> None:
    """Puts the trained weights (back) into float32: the updates of AdamW are often too small for bfloat16.

    trl rounds the adapter of a base in 4 bits when it makes its trainer, so this is called after that as well.
    """
    for parameter in policy.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def optimizers(config: TrainConfig, policy: Any, num_steps: int) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """AdamW at the rates of every other objective; transformers' own would give the first step a rate of zero."""
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    adam = torch.optim.AdamW(trained, lr=config.lr, weight_decay=0.0)
    return adam, LambdaLR(adam, lambda step: rate_factor(config, step, num_steps))


def trl_settings(config: TrainConfig, directory: Path) -> dict[str, Any]:
    """The arguments that trl's trainers have in common."""
    return {
        "output_dir": str(directory),
        "seed": config.seed,
        "data_seed": config.seed,
        "learning_rate": config.lr,
        "max_grad_norm": config.max_grad_norm,
        "bf16": config.precision == "bfloat16",
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": config.gradient_checkpointing,
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "ddp_find_unused_parameters": False,
        "beta": config.reinforcement.kl,
    }


def one_device(arguments: Any) -> Any:
    """The arguments of a trainer that leaves this process's other GPUs alone: transformers would spread batches over them."""
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


def weight_sums(policy: Any) -> list[float]:
    """Stands for the trained weights; another sum means that they have changed."""
    return [float(p.detach().double().abs().sum()) for p in policy.parameters() if p.requires_grad]


def check_change(before: list[float], policy: Any) -> None:
    """Fails where training left the adapter as it was.

    Raises:
        Failed: so that what would be measured is the start.
    """
    if weight_sums(policy) == before:
        raise Failed(
            "training changed no weight: all replies to a query had the same reward, in every step; the start may already"
            " do what is rewarded, or never"
        )


def keep_adapter(policy: Any, folder: Path) -> None:
    """Writes the trained adapter to `folder`/adapter, whole or not at all."""
    partial = folder.with_name("partial")
    shutil.rmtree(partial, ignore_errors=True)
    save_adapter(policy, partial / "adapter")
    sync(partial)
    shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run wrote after its last checkpoint
    partial.rename(folder)


def seal(checkpoint: Path, keep: int) -> None:
    """Marks a checkpoint as whole once all of it is on the disk, and only then removes all but the last `keep`."""
    sync(checkpoint)
    write_text(checkpoint / _WHOLE, "")
    for older in sorted(checkpoint.parent.glob("checkpoint-*"), key=step_of)[:-keep]:
        shutil.rmtree(older)


def newest(directory: Path) -> Path | None:
    """The last whole checkpoint of trl's in `directory`; those that a kill left in pieces are removed."""
    found = sorted(directory.glob("checkpoint-*"), key=step_of)
    for folder in found:
        if not (folder / _WHOLE).exists():
            shutil.rmtree(folder)
    return next((folder for folder in reversed(found) if folder.exists()), None)


def step_of(folder: Path) -> int:
    """The step in a folder's name, `checkpoint-20` or `20`."""
    return int(folder.name.rpartition("-")[2])


def sync(folder: Path) -> None:
    """Waits until every file of a folder is on the disk."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as written:
                os.fsync(written.fileno())
