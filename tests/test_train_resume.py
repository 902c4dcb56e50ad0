"""A training run that dies goes on, by the same command, to the very same result."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.artifact import RUN_FILE, read_jsonl, read_run, sha256_of
from train.checkpoint import checkpoints

CommandStarter = Callable[..., Any]
NUM_STEPS = 40


def command(output_dir: Path, model: Path, data: Path) -> list[str]:
    return [
        "train",
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


def has_checkpoint(output_dir: Path, step: int) -> bool:
    """Whether a checkpoint of at least `step` updates is there."""
    return any(int(folder.name.rpartition("-")[2]) >= step for folder in checkpoints(output_dir))


def test_a_killed_run_goes_on_to_the_same_weights_and_metrics(
    tiny_model: Path, documents_run: Path, tmp_path: Path, start_command: CommandStarter
) -> None:
    directory, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    beside = start_command(*command(undisturbed, tiny_model, documents_run))
    killed = start_command(*command(directory, tiny_model, documents_run))
    killed.kill_when(lambda: has_checkpoint(directory, step=6))
    assert not (directory / RUN_FILE).exists()
    assert len((directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) < NUM_STEPS
    # what a death between two checkpoints leaves: a step that will be taken again, and half a line
    with (directory / "metrics.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": 39, "loss": 0.5}\n{"step": 40, "lo')
    _, errors = start_command(*command(directory, tiny_model, documents_run)).wait()
    assert "continuing after step" in errors
    beside.wait()
    for name in ("adapter/adapter_model.safetensors", "metrics.jsonl", "summary.json"):
        assert sha256_of(directory / name) == sha256_of(undisturbed / name), name
    assert checkpoints(directory) == []
    assert read_run(directory).notes == read_run(undisturbed).notes
    assert [row["step"] for row in read_jsonl(directory / "metrics.jsonl")] == [0, *range(1, NUM_STEPS + 1), NUM_STEPS]
