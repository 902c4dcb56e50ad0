"""Run directories: what a stage leaves behind, and the only way in which stages find each other's work.

A stage writes into one directory and writes `run.json` last: configuration, inputs and outputs with their hashes,
seed, versions, commit, time, tokens. `open_run` decides before any work whether a directory is fresh, to be continued,
already complete, or taken; `read_run` refuses a directory that is not what the reader expects.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

from pipeline.errors import Failed, Refused
from pipeline.settings import result_settings

RUN_FILE = "run.json"
STARTED_FILE = "run.started.json"

_VERSIONS_OF = ("torch", "transformers", "peft", "datasets", "trl", "inspect-ai", "vllm", "hydra-core", "numpy")
_LEAST_FREE_BYTES = 200 * 2**20


@dataclass(frozen=True)
class RunRecord:
    """The content of a complete directory's `run.json`."""

    stage: str
    status: str
    config: dict[str, Any]
    inputs: dict[str, dict[str, Any]]
    outputs: dict[str, dict[str, Any]]
    seed: int
    versions: dict[str, str]
    commit: str
    tree_clean: bool
    seconds: float
    tokens_in: int
    tokens_out: int
    cost: float | None
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Run:
    """A run directory that is being written, or, where `is_complete`, was found finished."""

    directory: Path
    stage: str
    config: dict[str, Any]
    inputs: dict[str, dict[str, Any]]
    is_complete: bool = False
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float | None = None
    """Dollars, where the provider's prices are known."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What a reader should know of this run and no output file says, such as the base model's revision."""
    _started: float = field(default_factory=time.monotonic)
    _seconds_before: float = 0.0

    def path(self, name: str) -> Path:
        """Where the output `name` of this run stands."""
        return self.directory / name

    def note_time(self) -> float:
        """Seconds of work so far, earlier interrupted tries included as far as they were noted."""
        seconds = self._seconds_before + time.monotonic() - self._started
        write_json(self.path(STARTED_FILE), _started_content(self.stage, self.config, self.inputs, seconds))
        return seconds

    def release(self) -> None:
        """Gives the directory back when a request is refused before any work; what an earlier try left stays."""
        if [file.name for file in self.directory.iterdir()] == [STARTED_FILE]:
            self.path(STARTED_FILE).unlink()
            self.directory.rmdir()

    def finish(self, outputs: list[str]) -> RunRecord:
        """Hashes the named outputs (files or folders), writes `run.json`, and removes the mark of unfinished work."""
        hashed: dict[str, dict[str, Any]] = {}
        for name in outputs:
            target = self.path(name)
            files = sorted(p for p in target.rglob("*") if p.is_file()) if target.is_dir() else [target]
            for file in files:
                hashed[str(file.relative_to(self.directory))] = describe_file(file)
        commit, tree_clean = git_state()
        record = RunRecord(
            stage=self.stage,
            status="complete",
            config=self.config,
            inputs=self.inputs,
            outputs=hashed,
            seed=int(self.config.get("seed", 0)),
            versions=package_versions(),
            commit=commit,
            tree_clean=tree_clean,
            seconds=round(self.note_time(), 1),
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            cost=self.cost,
            notes=self.notes,
        )
        write_json(self.path(RUN_FILE), dataclasses.asdict(record))
        self.path(STARTED_FILE).unlink()
        self.is_complete = True
        return record


def open_run(stage: str, config: Any, inputs: Mapping[str, Path]) -> Run:
    """Claims `config.output_dir` for a stage, before any expensive work.

    A complete directory of the same configuration and inputs comes back with `is_complete` set; an unfinished one comes
    back to be continued.

    Args:
        stage: `data_gen`, `train`, `eval` or `report`.
        config: the stage's configuration dataclass; `output_dir` and `overwrite` are read from it.
        inputs: upstream run directories by role, each complete.

    Raises:
        Refused: the directory holds something else and `overwrite` is off, an input is not a complete run or stands in
            the directory, or the disk is nearly full.
    """
    directory = Path(config.output_dir)
    _refuse_overlap(directory, inputs)
    described = {role: describe_input(path) for role, path in inputs.items()}
    settings = result_settings(config)
    if config.overwrite and directory.exists():
        _refuse_foreign_content(directory)
        shutil.rmtree(directory)
    run = Run(directory=directory, stage=stage, config=settings, inputs=described)
    if (directory / RUN_FILE).exists():
        record = read_run(directory, stage)
        _refuse_difference(directory, "holds a complete run", record.config, settings)
        _refuse_changed_inputs(directory, record.inputs, described)
        run.is_complete = True
        return run
    if (directory / STARTED_FILE).exists():
        started = _read_object(directory / STARTED_FILE)
        if started["stage"] != stage:
            raise Refused(f"{directory}: holds an unfinished {started['stage']} run; choose another output_dir")
        _refuse_difference(directory, "holds an unfinished run", started["config"], settings)
        _refuse_changed_inputs(directory, started["inputs"], described)
        run._seconds_before = started["seconds"]
        return run
    _refuse_foreign_content(directory)
    _claim(directory, _started_content(stage, settings, described, 0.0))
    return run


def read_run(directory: Path | str, stage: str | None = None) -> RunRecord:
    """The record of a complete run whose files are unchanged.

    Raises:
        Refused: no such directory, no `run.json`, another stage than `stage`, or a file that differs from its hash.
    """
    directory = Path(directory)
    if not directory.exists():
        raise Refused(f"{directory}: no such directory; run the stage that writes it first")
    if not (directory / RUN_FILE).exists():
        unfinished = (directory / STARTED_FILE).exists()
        state = "unfinished: run its command again to continue it" if unfinished else "not a run directory"
        raise Refused(f"{directory}: no {RUN_FILE}; it is {state}")
    try:
        record = RunRecord(**_read_object(directory / RUN_FILE))
    except TypeError as error:
        raise Refused(f"{directory / RUN_FILE}: {error}; it was written by another version, or edited") from None
    if stage is not None and record.stage != stage:
        raise Refused(f"{directory}: is a {record.stage} run where a {stage} run is needed")
    for name, described in record.outputs.items():
        file = directory / name
        if not file.exists():
            raise Refused(f"{file}: missing though {RUN_FILE} lists it; run the stage again with overwrite=true")
        if sha256_of(file) != described["sha256"]:
            raise Refused(f"{file}: was edited after the run ended; run the stage again with overwrite=true")
    return record


def describe_input(directory: Path) -> dict[str, Any]:
    """What a downstream `run.json` says of an upstream directory: path, stage, and the hash that stands for it all."""
    record = read_run(directory)
    return {
        "path": str(directory),
        "stage": record.stage,
        "sha256": sha256_of(Path(directory) / RUN_FILE),
    }


def describe_file(file: Path) -> dict[str, Any]:
    """Hash, size, and row count where the file has rows."""
    described: dict[str, Any] = {"sha256": sha256_of(file), "bytes": file.stat().st_size}
    if file.suffix == ".jsonl":
        with file.open("rb") as lines:
            described["rows"] = sum(1 for _ in lines)
    elif file.suffix == ".parquet":
        import pyarrow.parquet

        described["rows"] = pyarrow.parquet.read_metadata(file).num_rows
    return described


def sha256_of(file: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Writes so that a reader sees the old file or the whole new one, never half of it."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """As `write_json`, for text."""
    with replacing(path) as file:
        file.write(text)


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A file to write to, which takes the place of `path` once all is written; a reader never sees half of it."""
    beside = path.with_name(path.name + ".partial")
    with beside.open("w", encoding="utf-8") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> None:
    """One record a line, whole or not at all."""
    write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The records of a file that must be whole.

    Raises:
        Refused: a line that is not a JSON object, named by file and number.
    """
    return list(iterate_jsonl(path))


def iterate_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """As `read_jsonl`, one record at a time, for files that do not fit into memory."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise Refused(f"{path}:{number}: not JSON ({error.msg})") from None
            if not isinstance(record, dict):
                raise Refused(f"{path}:{number}: a JSON object is needed, this is a {type(record).__name__}")
            yield record


def package_versions(more: Sequence[str] = ()) -> dict[str, str]:
    """Versions of the packages that results depend on, and of those in `more`, as far as they are installed."""
    versions = {}
    for name in (*_VERSIONS_OF, *more):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise Refused(f"{path}: not JSON ({error.msg}); it was edited after it was written") from None
    if not isinstance(content, dict):
        raise Refused(f"{path}: a JSON object is needed, this is a {type(content).__name__}")
    return content


def _started_content(
    stage: str, config: dict[str, Any], inputs: dict[str, dict[str, Any]], seconds: float
) -> dict[str, Any]:
    return {"stage": stage, "config": config, "inputs": inputs, "seconds": seconds}


def _claim(directory: Path, started: dict[str, Any]) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(directory).free
        if free < _LEAST_FREE_BYTES:
            raise Refused(
                f"{directory}: only {free // 2**20} MiB free on this disk, {_LEAST_FREE_BYTES // 2**20} MiB are"
                " needed; free some space or choose another output_dir"
            )
        write_json(directory / STARTED_FILE, started)
    except OSError as error:
        raise Refused(f"{directory}: cannot be written ({error.strerror}); choose another output_dir") from None


def _refuse_overlap(directory: Path, inputs: Mapping[str, Path]) -> None:
    """An input inside the output directory would be removed by `overwrite` before it is read."""
    for role, path in inputs.items():
        if Path(path).resolve().is_relative_to(directory.resolve()):
            raise Refused(f"{directory}: holds the input {role} ({path}); choose another output_dir")


def _refuse_foreign_content(directory: Path) -> None:
    """Never write over, or remove, what no stage of this project wrote."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise Refused(f"{directory}: is a file; choose another output_dir")
    if not any(directory.iterdir()):
        return
    if not (directory / RUN_FILE).exists() and not (directory / STARTED_FILE).exists():
        raise Refused(f"{directory}: holds files that are not a run's; choose another output_dir")


def _refuse_difference(directory: Path, state: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    if theirs == ours:
        return
    there, here = flatten(theirs), flatten(ours)
    changed = [key for key in sorted(there.keys() | here.keys()) if there.get(key) != here.get(key)]
    told = ", ".join(f"{key}={there.get(key)} there and {here.get(key)} now" for key in changed[:4])
    more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
    raise Refused(
        f"{directory}: {state} with another configuration ({told}{more}); set overwrite=true or choose another output_dir"
    )


def _refuse_changed_inputs(directory: Path, theirs: dict[str, dict[str, Any]], ours: dict[str, dict[str, Any]]) -> None:
    changed = [role for role in ours if role not in theirs or theirs[role]["sha256"] != ours[role]["sha256"]]
    if changed:
        raise Refused(
            f"{directory}: was made from another {' and '.join(changed)} than the present one; set overwrite=true"
        )


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level with dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def git_state() -> tuple[str, bool]:
    """The commit of the code and whether its tree was clean; ("unknown", False) outside a checkout."""
    root = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD"), not git("status", "--porcelain")
    except (subprocess.CalledProcessError, FileNotFoundError):
        return "unknown", False


@contextmanager
def working(run: Run) -> Iterator[None]:
    """Around a stage's work: a refusal gives the directory back, and a write that fails is told in one line."""
    try:
        yield
    except Refused:
        run.release()  # else the same command with the setting put right would find a run with another configuration
        raise
    except OSError as error:
        raise Failed(
            f"{run.directory}: writing failed ({error.strerror or error}); free some space and run the same command again"
            " to continue"
        ) from error
