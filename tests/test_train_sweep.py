"""A search over training settings: jobs through submitit, as on a cluster, and Optuna told what each came to."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline.artifact import read_run
from train.config import TrainConfig
from train.run import heldout_loss_of

RunCommand = Callable[..., "subprocess.CompletedProcess[str]"]


def test_optuna_is_told_the_held_out_loss_of_jobs_that_submitit_ran(
    run_command: RunCommand, trained_run: TrainConfig, tmp_path: Path
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    arguments = [
        "train",
        "-m",
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.n_jobs=2",
        "hydra.sweeper.sampler.seed=1",
        "hydra/launcher=submitit_local",
        f"hydra.sweep.dir={tmp_path}/search",
        f"output_dir={tmp_path}/search/${{hydra:job.num}}",
        f"model={trained_run.model}",
        f"data=[{trained_run.data[0]}]",
        "lora.rank=4",
        "max_steps=2",
        "batch_size=4",
        "heldout_share=0.2",
        "lr=interval(0.0001,0.01)",
    ]
    done = run_command(*arguments)
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load((tmp_path / "search" / "optimization_results.yaml").read_text(encoding="utf-8"))
    jobs = [tmp_path / "search" / str(number) for number in range(2)]
    losses = [heldout_loss_of(job) for job in jobs]
    assert None not in losses
    assert found["best_value"] == min(loss for loss in losses if loss is not None)
    rates = [read_run(job).config["lr"] for job in jobs]
    assert rates[0] != rates[1]
    assert found["best_params"]["lr"] == rates[losses.index(found["best_value"])]
