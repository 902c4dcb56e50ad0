"""A training run that dies goes on, by the same command, to the very same result."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pipeline.artifact import RUN_FILE, read_jsonl, read_run, sha256_of
from train.checkpoint import checkpoints

ROOT = Path(__file__).parent.parent
NUM_STEPS = 40


def start(output_dir: Path, model: Path, data: Path) -> "subprocess.Popen[str]":
    arguments = [
        f"output_dir={output_dir}",
        f"model={model}",
        f"data=[{data}]",
        f"max_steps={NUM_STEPS}",
        "checkpoint_every=2",
        "batch_size=4",
        "lora.rank=8",
        "lora.dropout=0.2",
        "lr=5e-3",
        "heldout_share=0.2",
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "train", *arguments],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_at_checkpoint(process: "subprocess.Popen[str]", output_dir: Path, step: int) -> None:
    """Kills without warning as soon as a checkpoint of at least `step` updates is there."""
    until = time.monotonic() + 300
    while not any(int(folder.name.rpartition("-")[2]) >= step for folder in checkpoints(output_dir)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def wait_for(process: "subprocess.Popen[str]") -> str:
    """What a run that has to end well said while it ran."""
    _, told = process.communicate(timeout=400)
    assert process.returncode == 0, told
    return told


def test_a_killed_run_goes_on_to_the_same_weights_and_metrics(
    tiny_model: Path, documents_run: Path, tmp_path: Path
) -> None:
    directory, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    beside = start(undisturbed, tiny_model, documents_run)
    kill_at_checkpoint(start(directory, tiny_model, documents_run), directory, step=6)
    assert not (directory / RUN_FILE).exists()
    assert len((directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) < NUM_STEPS
    # what a death between two checkpoints leaves: a step that will be taken again, and half a line
    with (directory / "metrics.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": 39, "loss": 0.5}\n{"step": 40, "lo')
    assert "continuing after step" in wait_for(start(directory, tiny_model, documents_run))
    wait_for(beside)
    for name in ("adapter/adapter_model.safetensors", "metrics.jsonl", "summary.json"):
        assert sha256_of(directory / name) == sha256_of(undisturbed / name), name
    assert checkpoints(directory) == []
    assert read_run(directory).notes == read_run(undisturbed).notes
    assert [row["step"] for row in read_jsonl(directory / "metrics.jsonl")] == [0, *range(1, NUM_STEPS + 1), NUM_STEPS]
