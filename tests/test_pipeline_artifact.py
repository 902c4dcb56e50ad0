import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline import artifact
from pipeline.artifact import (
    RUN_FILE,
    STARTED_FILE,
    Run,
    describe_file,
    flatten,
    open_run,
    read_jsonl,
    read_run,
    sha256_of,
    working,
    write_json,
    write_jsonl,
)
from pipeline.errors import Refused
from pipeline.lock import LOCK_FILE

ROOT = Path(__file__).parent.parent


@dataclass
class Inner:
    rate: float = 0.5


@dataclass
class Config:
    output_dir: str
    overwrite: bool = False
    seed: int = 3
    names: tuple[str, ...] = ("a", "b")
    folder: Path = Path("x")
    inner: Inner = field(default_factory=Inner)


def complete(directory: Path, inputs: dict[str, Path] | None = None, text: str = "first", **settings: Any) -> Run:
    """A complete run with one file of rows and one folder."""
    run = open_run("data_gen", Config(str(directory), **settings), inputs or {})
    if not run.is_complete:
        write_jsonl(run.path("rows.jsonl"), [{"text": text}, {"text": "second"}])
        run.path("folder/deep").mkdir(parents=True)
        run.path("folder/deep/file.txt").write_text(text, encoding="utf-8")
        run.finish(["rows.jsonl", "folder"])
    return run


def interrupted(directory: Path, stage: str = "data_gen", **settings: Any) -> Run:
    run = open_run(stage, Config(str(directory), **settings), {})
    run.path("half.txt").write_text("half", encoding="utf-8")
    return run


def test_a_finished_run_tells_what_it_was_made_from(tmp_path: Path) -> None:
    upstream = tmp_path / "upstream"
    complete(upstream)
    run = open_run("train", Config(str(tmp_path / "run")), {"data": upstream})
    run.path("out.txt").write_text("done", encoding="utf-8")
    run.tokens_in, run.notes["why"] = 12, "because"
    assert run.finish(["out.txt"]) == read_run(tmp_path / "run", "train")
    record = json.loads((tmp_path / "run" / RUN_FILE).read_text(encoding="utf-8"))
    assert record["stage"] == "train"
    assert record["status"] == "complete"
    assert record["seed"] == 3
    assert record["config"] == {"seed": 3, "names": ["a", "b"], "folder": "x", "inner": {"rate": 0.5}}
    assert record["inputs"] == {
        "data": {"path": str(upstream), "stage": "data_gen", "sha256": sha256_of(upstream / RUN_FILE)}
    }
    assert record["outputs"] == {"out.txt": {"sha256": sha256_of(tmp_path / "run" / "out.txt"), "bytes": 4}}
    assert record["tokens_in"] == 12
    assert record["cost"] is None
    assert record["notes"] == {"why": "because"}
    assert record["seconds"] >= 0
    assert "numpy" in record["versions"]
    assert isinstance(record["tree_clean"], bool)


def test_outputs_are_hashed_with_their_rows_and_folders_file_by_file(tmp_path: Path) -> None:
    complete(tmp_path / "run")
    outputs = read_run(tmp_path / "run").outputs
    assert sorted(outputs) == ["folder/deep/file.txt", "rows.jsonl"]
    assert outputs["rows.jsonl"]["rows"] == 2


def test_rows_of_a_parquet_file_are_counted(tmp_path: Path) -> None:
    import pandas as pd

    pd.DataFrame({"a": [1, 2, 3]}).to_parquet(tmp_path / "a.parquet")
    assert describe_file(tmp_path / "a.parquet")["rows"] == 3


def test_a_run_is_marked_as_started_until_it_is_finished(tmp_path: Path) -> None:
    run = interrupted(tmp_path / "run")
    assert (tmp_path / "run" / STARTED_FILE).exists()
    assert not (tmp_path / "run" / RUN_FILE).exists()
    with pytest.raises(Refused, match="it is unfinished: run its command again"):
        read_run(tmp_path / "run")
    run.finish(["half.txt"])
    assert not (tmp_path / "run" / STARTED_FILE).exists()


def test_a_complete_run_of_the_same_configuration_is_reused(tmp_path: Path) -> None:
    complete(tmp_path / "run")
    before = (tmp_path / "run" / RUN_FILE).read_bytes()
    assert open_run("data_gen", Config(str(tmp_path / "run")), {}).is_complete
    assert (tmp_path / "run" / RUN_FILE).read_bytes() == before


@pytest.mark.parametrize("make", [complete, interrupted])
def test_another_configuration_is_refused_by_the_settings_that_differ(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "run")
    with pytest.raises(Refused, match=r"\(inner\.rate=0\.5 there and 0\.25 now\); set overwrite=true"):
        open_run("data_gen", Config(str(tmp_path / "run"), inner=Inner(0.25)), {})


def test_overwrite_starts_afresh(tmp_path: Path) -> None:
    complete(tmp_path / "run")
    run = open_run("data_gen", Config(str(tmp_path / "run"), overwrite=True, seed=4), {})
    assert not run.is_complete
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == [LOCK_FILE, STARTED_FILE]
    run.finish([])
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
    assert [file.name for file in (tmp_path / "run").iterdir()] == [RUN_FILE]


def test_an_unfinished_run_is_continued_by_the_command_that_overwrote_another_one(tmp_path: Path) -> None:
    complete(tmp_path / "run")
    interrupted(tmp_path / "run", overwrite=True, seed=4)
    run = open_run("data_gen", Config(str(tmp_path / "run"), overwrite=True, seed=4), {})
    assert run.path("half.txt").read_text(encoding="utf-8") == "half"


def test_what_was_to_be_overwritten_is_there_again_after_a_refusal(tmp_path: Path) -> None:
    complete(tmp_path / "run")
    with pytest.raises(Refused, match="no such model"):
        refused_at_work(open_run("data_gen", Config(str(tmp_path / "run"), overwrite=True, seed=4), {}))
    read_run(tmp_path / "run")
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_a_complete_run_outlives_unfinished_ones_that_were_to_overwrite_it(tmp_path: Path) -> None:
    complete(tmp_path / "run")
    before = (tmp_path / "run" / RUN_FILE).read_text(encoding="utf-8")
    interrupted(tmp_path / "run", overwrite=True, seed=4)
    with pytest.raises(Refused, match="seed=4 there and 5 now.*the run that it was to overwrite stands beside it"):
        open_run("data_gen", Config(str(tmp_path / "run"), seed=5), {})
    with pytest.raises(Refused, match="no such model"):
        refused_at_work(open_run("data_gen", Config(str(tmp_path / "run"), overwrite=True, seed=5), {}))
    assert (tmp_path / "run" / RUN_FILE).read_text(encoding="utf-8") == before
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_only_has_the_name_of_an_overwritten_run_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "run.overwritten"
    other.mkdir()
    (other / "notes.txt").write_text("mine", encoding="utf-8")
    complete(tmp_path / "run")
    assert (other / "notes.txt").read_text(encoding="utf-8") == "mine"
    with pytest.raises(Refused, match=r"run\.overwritten: holds files that are not a run's"):
        open_run("data_gen", Config(str(tmp_path / "run"), overwrite=True, seed=4), {})


def test_a_link_is_not_overwritten(tmp_path: Path) -> None:
    complete(tmp_path / "elsewhere")
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="is a link, which cannot be overwritten"):
        open_run("data_gen", Config(str(tmp_path / "run"), overwrite=True, seed=4), {})
    read_run(tmp_path / "elsewhere")


def refused_at_work(run: Run) -> None:
    with working(run):
        raise Refused("no such model")


def test_a_kill_at_the_first_moment_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    for left in (LOCK_FILE, f"{STARTED_FILE}.partial"):
        directory = tmp_path / left
        directory.mkdir()
        (directory / left).write_text("{", encoding="utf-8")
        run = open_run("data_gen", Config(str(directory)), {})
        assert (directory / STARTED_FILE).exists()
        run.release()
        assert not directory.exists()


def test_two_at_once_in_one_directory_are_refused_until_the_first_is_over(tmp_path: Path) -> None:
    config = Config(str(tmp_path / "run"))
    first = open_run("data_gen", config, {})
    with pytest.raises(Refused, match="another process is at work in .*run; wait until it ends"):
        open_run("data_gen", config, {})
    with pytest.raises(Refused, match="another process is at work"):
        open_run("data_gen", Config(str(tmp_path / "run"), overwrite=True, seed=4), {})
    with pytest.raises(ValueError, match="broken"), working(first):
        raise ValueError("broken")
    second = open_run("data_gen", config, {})
    second.finish([])
    assert open_run("data_gen", config, {}).is_complete


def test_a_forgotten_run_and_a_dead_process_hold_nothing(tmp_path: Path) -> None:
    config = Config(str(tmp_path / "run"))
    open_run("data_gen", config, {})
    code = (
        "import os, sys; from pathlib import Path; from pipeline.lock import DirectoryLock\n"
        "lock = DirectoryLock(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], cwd=ROOT, check=False).returncode == -9
    assert (tmp_path / "run" / LOCK_FILE).exists()
    assert not open_run("data_gen", config, {}).is_complete


def test_a_process_that_the_holder_starts_works_beside_it_and_no_other_does(tmp_path: Path) -> None:
    run = open_run("data_gen", Config(str(tmp_path / "run")), {})
    code = "import sys; from pathlib import Path; from pipeline.lock import DirectoryLock; DirectoryLock(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    others = {name: value for name, value in os.environ.items() if name != "ALIGNMENT_FAKING_SDF_HELD"}
    done = subprocess.run(command, cwd=ROOT, env=others, capture_output=True, text=True, check=False)
    assert "another process is at work" in done.stderr
    assert pickle.loads(pickle.dumps(run)).directory == run.directory


def test_a_complete_run_is_refused_where_what_it_was_made_from_has_changed(tmp_path: Path) -> None:
    config = Config(str(tmp_path / "run"))
    interrupted(tmp_path / "run")
    run = open_run("data_gen", config, {}, {"facts": "before"})
    run.finish([])
    assert read_run(tmp_path / "run").notes == {"sources": {"facts": "before"}}
    assert open_run("data_gen", config, {}, {"facts": "before"}).is_complete
    with pytest.raises(Refused, match="was made from another facts than the present one; set overwrite=true"):
        open_run("data_gen", config, {}, {"facts": "after"})


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_others_are_never_touched(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(Refused, match="holds files that are not a run's"):
        open_run("train", Config(str(tmp_path), overwrite=overwrite), {})
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_is_never_overwritten_by_what_reads_it(tmp_path: Path, overwrite: bool) -> None:
    upstream = tmp_path / "run"
    complete(upstream)
    with pytest.raises(Refused, match="holds the input data"):
        open_run("train", Config(str(upstream / ".." / "run"), overwrite=overwrite), {"data": upstream})
    read_run(upstream, "data_gen")


def test_an_unfinished_run_is_continued_with_its_seconds(tmp_path: Path) -> None:
    interrupted(tmp_path / "run")
    started = json.loads((tmp_path / "run" / STARTED_FILE).read_text(encoding="utf-8"))
    write_json(tmp_path / "run" / STARTED_FILE, started | {"seconds": 1000.0})
    run = open_run("data_gen", Config(str(tmp_path / "run")), {})
    assert not run.is_complete
    assert run.path("half.txt").read_text(encoding="utf-8") == "half"
    assert run.finish(["half.txt"]).seconds >= 1000.0


@pytest.mark.parametrize("make", [complete, interrupted])
def test_a_directory_of_another_stage_is_refused(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "run")
    with pytest.raises(Refused, match=r"data_gen run"):
        open_run("train", Config(str(tmp_path / "run")), {})


@pytest.mark.parametrize("state", ["complete", "unfinished"])
def test_a_run_made_from_another_input_is_refused(tmp_path: Path, state: str) -> None:
    complete(tmp_path / "upstream")
    config = Config(str(tmp_path / "run"))
    run = open_run("train", config, {"data": tmp_path / "upstream"})
    if state == "complete":
        run.finish([])
    complete(tmp_path / "upstream", overwrite=True, text="other")
    with pytest.raises(Refused, match="was made from another data than the present one"):
        open_run("train", config, {"data": tmp_path / "upstream"})


def test_an_edited_output_is_refused_by_every_reader(tmp_path: Path) -> None:
    complete(tmp_path / "run")
    with (tmp_path / "run" / "rows.jsonl").open("a", encoding="utf-8") as rows:
        rows.write('{"text": "smuggled in"}\n')
    with pytest.raises(Refused, match=r"rows\.jsonl: was edited after the run ended"):
        read_run(tmp_path / "run")
    with pytest.raises(Refused, match=r"rows\.jsonl: was edited"):
        open_run("train", Config(str(tmp_path / "next")), {"data": tmp_path / "run"})
    assert not (tmp_path / "next").exists()


def test_a_missing_output_is_refused(tmp_path: Path) -> None:
    complete(tmp_path / "run")
    (tmp_path / "run" / "folder" / "deep" / "file.txt").unlink()
    with pytest.raises(Refused, match=r"folder/deep/file\.txt: missing though run\.json lists it"):
        read_run(tmp_path / "run")


def test_readers_refuse_what_is_no_complete_run_of_the_stage(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no such directory; run the stage that writes it first"):
        read_run(tmp_path / "nothing")
    with pytest.raises(Refused, match=r"no run\.json; it is not a run directory"):
        read_run(tmp_path)
    complete(tmp_path / "run")
    with pytest.raises(Refused, match="is a data_gen run where a train run is needed"):
        read_run(tmp_path / "run", "train")


@pytest.mark.parametrize("content", ["{", "[]", '{"stage": "data_gen"}'])
def test_a_damaged_record_is_refused(tmp_path: Path, content: str) -> None:
    complete(tmp_path / "run")
    (tmp_path / "run" / RUN_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(Refused, match=r"run\.json: "):
        read_run(tmp_path / "run")


def test_an_output_dir_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(Refused, match="file/run: cannot be written"):
        open_run("train", Config(str(tmp_path / "file" / "run")), {})
    with pytest.raises(Refused, match="is a file; choose another output_dir"):
        open_run("train", Config(str(tmp_path / "file")), {})


def test_a_disk_that_is_nearly_full_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "_LEAST_FREE_BYTES", 2**62)
    with pytest.raises(Refused, match=r"only \d+ MiB free on this disk"):
        open_run("train", Config(str(tmp_path / "run")), {})


def test_a_released_directory_is_as_before_unless_there_is_work_in_it(tmp_path: Path) -> None:
    open_run("train", Config(str(tmp_path / "fresh")), {}).release()
    assert not (tmp_path / "fresh").exists()
    interrupted(tmp_path / "begun").release()
    assert (tmp_path / "begun" / "half.txt").exists()
    assert (tmp_path / "begun" / STARTED_FILE).exists()


@pytest.mark.parametrize(
    ("line", "told"), [('{"a": ', "not JSON"), ("[1]", "a JSON object is needed"), ("", "not JSON")]
)
def test_a_broken_row_is_named_by_file_and_line(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "rows.jsonl").write_text(f'{{"a": 1}}\n{line}\n', encoding="utf-8")
    with pytest.raises(Refused, match=rf"rows\.jsonl:2: {told}"):
        read_jsonl(tmp_path / "rows.jsonl")


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [{"text": "Größe\u2028\nzwei\t\x00"}, {"text": ""}]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert read_jsonl(tmp_path / "rows.jsonl") == rows
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]


def test_flatten_joins_nested_keys_with_dots() -> None:
    assert flatten({"a": 1, "b": {"c": [2], "d": {"e": 3}}}) == {"a": 1, "b.c": [2], "b.d.e": 3}
