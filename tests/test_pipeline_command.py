"""The commands as a user meets them: exit codes, one line of error, quick answers."""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifact import RUN_FILE, STARTED_FILE
from pipeline.command import exit_codes, known_keys
from pipeline.errors import Failed, Refused
from train.config import TrainConfig

RunCommand = Callable[..., "subprocess.CompletedProcess[str]"]


def assert_refused(done: "subprocess.CompletedProcess[str]", told: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("train: ")
    assert told in done.stderr
    assert done.stdout == ""


def test_an_unknown_key_is_refused_at_once_with_the_nearest_known_one(run_command: RunCommand) -> None:
    started = time.monotonic()
    done = run_command("train", "lora.rnk=3")
    assert time.monotonic() - started < 10
    assert_refused(done, "unknown setting 'lora.rnk' (did you mean 'lora.rank'?)")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "data=[]: name at least one data_gen run"),
        (["lora.rank=abc", "data=[x]"], "setting 'lora.rank': Value 'abc'"),
        (["objective=reward", "data=[x]"], "objective=reward: must be one of documents, imitation, reinforcement"),
        (["data=[no/such/run]"], "no/such/run: no such directory"),
        (["experiment=no_such_experiment"], "experiment"),
        (["data=[x"], "[x"),
    ],
)
def test_a_bad_request_is_refused_in_one_line(run_command: RunCommand, arguments: list[str], told: str) -> None:
    assert_refused(run_command("train", *arguments), told)


def test_edited_data_is_refused(run_command: RunCommand, documents_run: Path, tmp_path: Path) -> None:
    edited = shutil.copytree(documents_run, tmp_path / "edited")
    with (edited / "documents.jsonl").open("a", encoding="utf-8") as documents:
        documents.write('{"id": "z", "text": "Smuggled in."}\n')
    done = run_command("train", f"data=[{edited}]", f"output_dir={tmp_path / 'train'}")
    assert_refused(done, "documents.jsonl: was edited after the run ended")
    assert not (tmp_path / "train").exists()


def test_incomplete_data_is_refused(run_command: RunCommand, documents_run: Path, tmp_path: Path) -> None:
    incomplete = shutil.copytree(documents_run, tmp_path / "incomplete")
    (incomplete / RUN_FILE).rename(incomplete / STARTED_FILE)
    done = run_command("train", f"data=[{incomplete}]", f"output_dir={tmp_path / 'train'}")
    assert_refused(done, f"{incomplete}: no run.json; it is unfinished")


def test_another_configuration_in_the_output_dir_is_refused(run_command: RunCommand, trained_run: TrainConfig) -> None:
    done = run_command(
        "train",
        f"output_dir={trained_run.output_dir}",
        f"data=[{trained_run.data[0]}]",
        f"model={trained_run.model}",
        "lora.rank=9",
    )
    assert_refused(done, "lora.rank=8 there and 9 now")


def test_a_failure_while_running_leaves_with_one(
    run_command: RunCommand, documents_run: Path, tiny_model: Path, tmp_path: Path
) -> None:
    done = run_command(
        "train",
        f"output_dir={tmp_path / 'train'}",
        f"data=[{documents_run}]",
        f"model={tiny_model}",
        "lr=1e30",
        "precision=float32",
        "max_steps=3",
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("train: the loss is ")
    assert "Traceback" not in done.stderr


def test_all_settings_are_shown_without_any_being_given(run_command: RunCommand) -> None:
    done = run_command("train", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "data: []" in done.stdout
    assert "  rank: 64" in done.stdout


def test_a_sweep_tells_the_overrides_of_the_job_that_was_refused(run_command: RunCommand, tmp_path: Path) -> None:
    done = run_command("train", "-m", "lora.rank=-1,-2", "data=[x]", f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 2
    told = done.stderr.splitlines()
    assert "train: lora.rank=-1: must be above 0" in told  # when it happens
    assert "train: lora.rank=-2: must be above 0" in told  # and the other job was tried all the same
    assert "lora.rank=-1" in told[-1]
    assert "outputs" in told[-1]  # and the job's directory at the end


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (Refused("that is wrong"), 2, "train: that is wrong\n"),
        (Failed("that went wrong"), 1, "train: that went wrong\n"),
        (KeyboardInterrupt(), 1, "train: interrupted; the same command continues\n"),
    ],
)
def test_errors_become_one_line_and_an_exit_code(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # so that the test's end restores it
    with pytest.raises(SystemExit) as left, exit_codes("train", TrainConfig):
        raise error
    assert left.value.code == code
    assert capsys.readouterr().err == told


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    bug: Any = KeyError("x")
    with pytest.raises(KeyError), exit_codes("train", TrainConfig):
        raise bug


def test_known_keys_reach_into_nested_settings() -> None:
    assert {"data", "lora", "lora.rank", "max_steps"} <= set(known_keys(TrainConfig))
