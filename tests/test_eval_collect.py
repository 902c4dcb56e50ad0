"""Sweeps joined into one table, from runs made by hand and from `python -m train` itself."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from eval.collect import collect, main
from pipeline.artifact import RUN_FILE, open_run, read_run, write_json
from pipeline.errors import Refused

ROOT = Path(__file__).parent.parent
RunCommand = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass
class Lora:
    rank: int = 4


@dataclass
class StageConfig:
    """The settings of a run made for a test."""

    output_dir: str
    overwrite: bool = False
    seed: int = 0
    lr: float = 1e-3
    lora: Lora = field(default_factory=Lora)


def write_run(directory: Path, estimate: float, finished: bool = True, **settings: Any) -> Path:
    run = open_run("train", StageConfig(str(directory), **settings), {})
    if finished:
        write_json(
            run.path("summary.json"), [{"metric": "loss", "estimate": estimate}, {"metric": "kl", "estimate": 0}]
        )
        run.finish(["summary.json"])
    return directory


def write_grid(directory: Path, params: dict[str, str] | None = None, task: list[str] | None = None) -> None:
    settings = {"hydra": {"sweeper": {"params": params}, "overrides": {"task": task or []}}}
    (directory / "multirun.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit code of `python -m eval.collect` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["eval.collect", *arguments])
    try:
        main()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def test_runs_become_one_table_with_the_swept_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "rank=4", 1.5)
    write_run(tmp_path / "deep" / "rank=8", 1.25, lora=Lora(8))
    assert call(monkeypatch, str(tmp_path)) == 0
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["run", "metric", "estimate", "lora.rank"]
    assert [(row["run"], row["metric"], float(row["estimate"]), row["lora.rank"]) for row in rows] == [
        ("deep/rank=8", "loss", 1.25, "8"),
        ("deep/rank=8", "kl", 0.0, "8"),
        ("rank=4", "loss", 1.5, "4"),
        ("rank=4", "kl", 0.0, "4"),
    ]


def test_an_unfinished_run_is_named_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", 1.0)
    write_run(tmp_path / "b", 1.0, finished=False, seed=1)
    assert call(monkeypatch, str(tmp_path)) == 2
    told = capsys.readouterr()
    assert f"missing: {tmp_path / 'b'} is unfinished" in told.err
    assert "1 jobs are missing" in told.err
    assert told.out == ""
    assert not (tmp_path / "results.csv").exists()
    assert call(monkeypatch, str(tmp_path), "--allow-missing", "--output", str(tmp_path / "table.csv")) == 0
    assert f"missing: {tmp_path / 'b'} is unfinished" in capsys.readouterr().err
    assert len((tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.parametrize(
    ("params", "task"),
    [
        ({"lora.rank": "4,8", "seed": "0,1"}, []),
        ({"lora.rank": "4,8", "seed": "range(0,2)"}, ["experiment=a_sweep", "output_dir=x"]),
        ({"lora.rank": "choice(4, 8)"}, ["seed=0,1", "+lr=1e-3"]),
        (None, ["seed=0,1", "lora.rank=4,8", "lr=1.0e-3,0.001"]),
        ({"lora.rank": "4,8,16", "seed": "0"}, ["lora.rank=4,8", "seed=0,1"]),
    ],
)
def test_a_job_of_the_grid_that_left_no_directory_is_a_hole(
    tmp_path: Path, params: dict[str, str] | None, task: list[str]
) -> None:
    for rank, seed in ((4, 0), (4, 1), (8, 0)):
        write_run(tmp_path / f"{rank}-{seed}", 1.0, seed=seed, lora=Lora(rank))
    write_grid(tmp_path, params, task)
    holes = collect(tmp_path)[1]
    assert holes
    for hole in holes:
        assert "lora.rank=8" in hole
        assert "seed=1" in hole
    write_run(tmp_path / "8-1", 1.0, seed=1, lora=Lora(8))
    assert collect(tmp_path)[1] == []


def test_runs_of_an_earlier_grid_do_not_fill_a_hole(tmp_path: Path) -> None:
    for rank in (2, 4):
        write_run(tmp_path / str(rank), 1.0, lora=Lora(rank))
    write_grid(tmp_path, {"lora.rank": "4,8"})
    assert len(collect(tmp_path)[1]) == 1


def test_an_unfinished_job_of_the_grid_is_one_hole_and_not_two(tmp_path: Path) -> None:
    write_run(tmp_path / "4", 1.0)
    write_run(tmp_path / "8", 1.0, finished=False, lora=Lora(8))
    write_grid(tmp_path, {"lora.rank": "4,8"})
    assert collect(tmp_path)[1] == [f"{tmp_path / '8'} is unfinished"]


def test_an_array_that_hydra_did_not_launch_is_held_against_the_grid_that_is_given(tmp_path: Path) -> None:
    for rank in (2, 4):
        write_run(tmp_path / str(rank), 1.0, lora=Lora(rank))
    assert collect(tmp_path, ["lora.rank=2,4"])[1] == []
    assert collect(tmp_path, ["lora.rank=2,4", "seed=0,1"])[1] == [
        "the job lora.rank=2,seed=1 of --grid left no directory",
        "the job lora.rank=4,seed=1 of --grid left no directory",
    ]
    with pytest.raises(Refused, match=r"no run has the setting lora\.rnk \(did you mean 'lora\.rank'"):
        collect(tmp_path, ["lora.rnk=2"])
    with pytest.raises(Refused, match="must be KEY=VALUES"):
        collect(tmp_path, ["seed"])


def test_what_differs_between_the_trainings_behind_an_evaluation_is_a_column(tmp_path: Path) -> None:
    for rank in (2, 4):
        training = write_run(tmp_path / "training" / str(rank), 1.0, lora=Lora(rank))
        run = open_run("eval", StageConfig(str(tmp_path / "evals" / str(rank))), {"documents": training})
        write_json(run.path("summary.json"), [{"metric": "compliance_gap", "estimate": rank / 10}])
        run.finish(["summary.json"])
    rows, _ = collect(tmp_path / "evals")
    assert [(row["documents.lora.rank"], row["estimate"]) for row in rows] == [(2, 0.2), (4, 0.4)]
    # a training that was run again since is no longer what the evaluation was of
    (tmp_path / "training" / "2" / "run.json").write_text("{}", encoding="utf-8")
    assert collect(tmp_path / "evals")[0][0]["documents.lora.rank"] is None


def test_a_swept_key_does_not_overwrite_what_an_estimate_says(tmp_path: Path) -> None:
    for seed in (0, 1):
        run = open_run("train", StageConfig(str(tmp_path / str(seed)), seed=seed), {})
        write_json(run.path("summary.json"), [{"metric": "loss", "estimate": 1.0, "seed": "of the estimate"}])
        run.finish(["summary.json"])
    assert {row["seed"] for row in collect(tmp_path)[0]} == {"of the estimate"}


def test_an_edited_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", 1.0)
    (tmp_path / "a" / "summary.json").write_text('[{"metric": "loss", "estimate": 0.0}]', encoding="utf-8")
    assert call(monkeypatch, str(tmp_path), "--allow-missing") == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "was edited after the run ended" in told


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"holds no complete run with a summary\.json"):
        collect(tmp_path)


def test_a_sweep_is_one_process_a_job_and_goes_on_past_a_failing_one(
    tiny_model: Path, documents_run: Path, tmp_path: Path, run_command: RunCommand
) -> None:
    sweep = tmp_path / "sweep"
    command = [
        "train", "-m", "experiment=demo_sweep", f"model={tiny_model}", f"data=[{documents_run}]", "max_steps=1",
        "lora.first_layer=0", "precision=float32", f"hydra.sweep.dir={sweep}", "hydra.launcher.n_jobs=2",
        f"output_dir={sweep}/rank${{lora.rank}}-seed${{seed}}",
    ]  # fmt: skip
    first = run_command(*command)
    assert first.returncode == 0, first.stderr
    jobs = [f"rank{rank}-seed{seed}" for rank in (16, 4) for seed in (0, 1)]
    assert sorted(path.parent.name for path in sweep.rglob(RUN_FILE)) == jobs
    for job in jobs:
        settings = read_run(sweep / job, "train").config
        assert job == f"rank{settings['lora']['rank']}-seed{settings['seed']}"
    rows, holes = collect(sweep)
    assert holes == []
    assert {(row["lora.rank"], row["seed"]) for row in rows} == {(4, 0), (4, 1), (16, 0), (16, 1)}
    assert {row["run"] for row in rows} == set(jobs)

    # the same sweep with a rank that is refused in the place of one: two jobs are there already, two fail
    changed = [f"model={tiny_model}", "lora.rank=4,0"]
    again = run_command(*command[:3], *changed, *command[4:])
    assert again.returncode == 2, again.stderr
    assert again.stdout.count("is already complete") == 2
    for seed in (0, 1):
        directory = sweep / f"rank0-seed{seed}"
        assert f"ended with exit code 2: {directory}" in again.stderr
        assert not directory.exists()
    assert "Traceback" not in again.stderr
    told = subprocess.run(
        [sys.executable, "-m", "eval.collect", str(sweep)],
        cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert told.returncode == 2
    assert told.stderr.count("the job lora.rank=0,seed=") == 2
    assert "2 jobs are missing" in told.stderr
    assert json.loads((sweep / jobs[0] / "summary.json").read_text(encoding="utf-8"))
