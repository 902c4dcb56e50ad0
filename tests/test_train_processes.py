"""Several processes train to what one trains to, whoever starts them, and survive a kill as one does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from pipeline.artifact import RUN_FILE, read_jsonl
from train.checkpoint import checkpoints
from train.config import TrainConfig
from train.processes import is_launched, slurm_environment, wanted_processes

ROOT = Path(__file__).parent.parent
NUM_STEPS = 8


def command(config: TrainConfig, output_dir: Path, *more: str) -> list[str]:
    """The arguments of `python` for the run that `trained_alone` did in one process."""
    return [
        "-m",
        "train",
        f"output_dir={output_dir}",
        f"model={config.model}",
        f"data=[{config.data[0]}]",
        "lora.rank=8",
        "lora.alpha=16",
        "batch_size=4",
        f"max_steps={NUM_STEPS}",
        "lr=5e-3",
        "precision=float32",
        "heldout_share=0.2",
        "micro_batch_tokens=64",
        "checkpoint_every=2",
        *more,
    ]


def start(arguments: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def trained_alone(
    make_config: Callable[..., TrainConfig], documents_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> TrainConfig:
    from train.run import train

    directory = tmp_path_factory.mktemp("alone") / "train"
    config = make_config(directory, documents_run, max_steps=NUM_STEPS, micro_batch_tokens=64)
    train(config)
    return config


def assert_same_training(directory: Path, alone: TrainConfig) -> None:
    """Every loss to rounding, weights too, and no file that one process would not have written."""
    there, here = Path(alone.output_dir), directory
    rows = [read_jsonl(folder / "metrics.jsonl") for folder in (there, here)]
    assert len(rows[0]) == len(rows[1]) == NUM_STEPS + 2
    for one, many in zip(*rows, strict=True):
        assert many == pytest.approx(one, rel=1e-3)
    weights = [load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (there, here)]
    assert weights[0].keys() == weights[1].keys()
    largest = max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0])
    moved = max(float(weight.abs().max()) for name, weight in weights[0].items() if "lora_B" in name)
    assert largest < 0.02 * moved
    files = [{str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()} for folder in (there, here)]
    assert files[0] == files[1]


@pytest.mark.parametrize("parallel", ["fsdp", pytest.param("zero3", marks=pytest.mark.extras)])
def test_two_processes_under_torchrun_that_share_the_weights_train_to_what_one_trains_to(
    trained_alone: TrainConfig, tmp_path: Path, parallel: str
) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    more = [f"parallel={parallel}", "gradient_checkpointing=true", "packing=true"]
    process = start([*torchrun, *command(trained_alone, tmp_path / "train", *more)])
    _, told = process.communicate(timeout=400)
    assert process.returncode == 0, told
    assert_same_training(tmp_path / "train", trained_alone)


@pytest.mark.extras
def test_two_processes_that_share_weights_in_four_bits_train_to_what_one_trains_to(
    make_config: Callable[..., TrainConfig], documents_run: Path, tmp_path: Path
) -> None:
    from train.run import train

    directories = [tmp_path / "alone" / "train", tmp_path / "both" / "train"]
    settings: dict[str, Any] = {"max_steps": NUM_STEPS, "micro_batch_tokens": 64, "method": "qlora"}
    config = make_config(directories[0], documents_run, **settings)
    train(config)
    process = start(command(config, directories[1], "processes=2", "parallel=fsdp", "method=qlora"))
    _, told = process.communicate(timeout=400)
    assert process.returncode == 0, told
    assert_same_training(directories[1], config)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp", pytest.param("zero3", marks=pytest.mark.extras)])
def test_two_processes_that_are_killed_go_on_to_what_one_trains_to(
    trained_alone: TrainConfig, tmp_path: Path, parallel: str
) -> None:
    directory = tmp_path / "train"
    arguments = command(trained_alone, directory, "processes=2", f"parallel={parallel}")
    process = start(arguments)
    until = time.monotonic() + 300
    while not checkpoints(directory) and time.monotonic() < until:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoints(directory), "no checkpoint within five minutes"
    assert not (directory / RUN_FILE).exists()
    again = start(arguments)
    _, told = again.communicate(timeout=400)
    assert again.returncode == 0, told
    assert "continuing after step" in told
    assert_same_training(directory, trained_alone)


def test_what_processes_refuse_or_fail_at_is_told_once_and_kept_as_the_exit_code(
    trained_alone: TrainConfig, tmp_path: Path
) -> None:
    process = start(command(trained_alone, tmp_path / "train", "processes=2", "lr=1e30"))
    _, told = process.communicate(timeout=400)
    assert process.returncode == 1, told
    assert told.count("train: the loss is") == 1
    assert "Traceback" not in told


def test_what_processes_refuse_is_told_once_and_leaves_nothing(trained_alone: TrainConfig, tmp_path: Path) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = start([*torchrun, *command(trained_alone, tmp_path / "train", "lora.targets=no_such_proj")])
    _, told = process.communicate(timeout=400)
    assert process.returncode != 0
    assert told.count("train: lora.targets=no_such_proj: ") == 1
    assert not (tmp_path / "train").exists()


def test_a_slurm_task_finds_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_RANK", "MASTER_PORT", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert not is_launched()
    variables = {
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NODELIST": "gpu[07-08]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_STEP_NUM_TASKS": "16",
        "SLURM_PROCID": "9",
        "SLURM_LOCALID": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_launched()
    assert slurm_environment() == {
        "RANK": "9",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "16",
        "LOCAL_WORLD_SIZE": "8",
        "MASTER_ADDR": "gpu07",
        "MASTER_PORT": "24711",
    }


def test_a_batch_script_that_srun_did_not_start_is_a_single_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert not is_launched()


@pytest.mark.parametrize(("processes", "parallel", "wanted"), [(None, "ddp", 1), (3, "fsdp", 3), (None, "layers", 1)])
def test_how_many_processes_are_started(processes: int | None, parallel: str, wanted: int) -> None:
    assert wanted_processes(processes, parallel) == wanted  # no GPU is visible to the tests


def test_what_was_launched_launches_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert wanted_processes(2, "ddp") == 1
