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
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from pipeline.directories import (
    PARTIAL,
    RUN_FILE,
    STARTED_FILE,
    aside,
    drop_overwritten,
    give_back,
    refuse_foreign_content,
    refuse_overlap,
    set_aside,
)
from pipeline.errors import Failed, Refused
from pipeline.lock import DirectoryLock
from pipeline.settings import result_settings
from pipeline.versions import git_state, package_versions

_LEAST_FREE_BYTES = 200 * 2**20
_SOURCES = "sources"


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
    _lock: DirectoryLock | None = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without the lock, which is this process's: training hands its run to the processes beside it."""
        return self.__dict__ | {"_lock": None}

    def path(self, name: str) -> Path:
        """Where the output `name` of this run stands."""
        return self.directory / name

    def note_time(self) -> float:
        """Seconds of work so far, earlier interrupted tries included as far as they were noted."""
        seconds = self._seconds_before + time.monotonic() - self._started
        write_json(self.path(STARTED_FILE), _started_content(self.stage, self.config, self.inputs, seconds))
        return seconds

    def unlock(self) -> None:
        """Lets another process work in the directory."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def release(self) -> None:
        """Gives the directory back when a request is refused before any work; what an earlier try left stays."""
        if self._lock is not None:
            give_back(self.directory, self._lock)
            self._lock = None

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
        drop_overwritten(self.directory)
        self.unlock()
        return record


def open_run(stage: str, config: Any, inputs: Mapping[str, Path], sources: Mapping[str, str] | None = None) -> Run:
    """Claims `config.output_dir` for a stage, before any expensive work; no other process can until the run is over.

    A complete directory of the same configuration, inputs and sources comes back with `is_complete` set; an unfinished
    one of the same configuration and inputs comes back to be continued, whatever `overwrite` says. Anything else that
    `overwrite` is to remove is set aside, comes back where the request is refused, and goes when the run is finished.

    Args:
        stage: `data_gen`, `train`, `eval` or `report`.
        config: the stage's configuration dataclass; `output_dir` and `overwrite` are read from it.
        inputs: upstream run directories by role, each complete.
        sources: hashes by name of whatever else the result is made from, such as the scenario's texts.

    Raises:
        Refused: the directory holds something else and `overwrite` is off, another process is at work in it, an input
            is not a complete run or stands in the directory, or the disk is nearly full.
    """
    directory = Path(config.output_dir)
    refuse_overlap(directory, inputs)
    described = {role: describe_input(path) for role, path in inputs.items()}
    run = Run(directory, stage, result_settings(config), described, notes={_SOURCES: dict(sources)} if sources else {})
    refuse_foreign_content(directory)
    try:
        state = _state(run)
    except Refused:
        if not config.overwrite:
            raise
        state = "another"
    if state == "complete" and not config.overwrite:
        drop_overwritten(directory)  # where a kill came between the end of the new run and that of the old one
        run.is_complete = True
        return run
    if state in ("complete", "another"):
        set_aside(directory)
        state = "nothing"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        run._lock = DirectoryLock(directory)
        if _state(run) != state:  # another process was here since it was looked at
            run.unlock()
            return open_run(stage, config, inputs, sources)
        if state == "nothing":
            _claim(run)
    except OSError as error:
        run.release()
        raise Refused(f"{directory}: cannot be written ({error.strerror}); choose another output_dir") from None
    except Refused:
        run.release()
        raise
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
    beside = path.with_name(path.name + PARTIAL)
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


def _state(run: Run) -> str:
    """Of a run of the same stage, configuration and inputs, what stands there: `nothing`, `unfinished` or `complete`.

    Raises:
        Refused: another run stands there.
    """
    directory = run.directory
    if (directory / RUN_FILE).exists():
        record = read_run(directory, run.stage)
        _refuse_difference(directory, "holds a complete run", record.config, run.config)
        _refuse_changed(directory, _hashes(record.inputs), _hashes(run.inputs))
        if _SOURCES in record.notes:  # an unfinished run asks anew only for what its sources have changed
            _refuse_changed(directory, record.notes[_SOURCES], run.notes.get(_SOURCES, {}))
        return "complete"
    if (directory / STARTED_FILE).exists():
        started = _read_object(directory / STARTED_FILE)
        if started["stage"] != run.stage:
            raise Refused(f"{directory}: holds an unfinished {started['stage']} run; choose another output_dir")
        _refuse_difference(directory, "holds an unfinished run", started["config"], run.config)
        _refuse_changed(directory, _hashes(started["inputs"]), _hashes(run.inputs))
        run._seconds_before = started["seconds"]
        return "unfinished"
    return "nothing"


def _claim(run: Run) -> None:
    free = shutil.disk_usage(run.directory).free
    if free < _LEAST_FREE_BYTES:
        raise Refused(
            f"{run.directory}: only {free // 2**20} MiB free on this disk, {_LEAST_FREE_BYTES // 2**20} MiB are"
            " needed; free some space or choose another output_dir"
        )
    write_json(run.path(STARTED_FILE), _started_content(run.stage, run.config, run.inputs, 0.0))


def _refuse_difference(directory: Path, state: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    if theirs == ours:
        return
    there, here = flatten(theirs), flatten(ours)
    hint = "; the run that it was to overwrite stands beside it" if aside(directory).exists() else ""
    changed = [key for key in sorted(there.keys() | here.keys()) if there.get(key) != here.get(key)]
    told = ", ".join(f"{key}={there.get(key)} there and {here.get(key)} now" for key in changed[:4])
    more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
    raise Refused(
        f"{directory}: {state} with another configuration ({told}{more}); set overwrite=true or choose another output_dir{hint}"
    )


def _refuse_changed(directory: Path, theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    changed = [role for role in ours if theirs.get(role) != ours[role]]
    if changed:
        raise Refused(
            f"{directory}: was made from another {' and '.join(changed)} than the present one; set overwrite=true"
        )


def _hashes(inputs: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {role: described["sha256"] for role, described in inputs.items()}


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level with dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


@contextmanager
def working(run: Run) -> Iterator[None]:
    """Around a stage's work: a refusal gives the directory back, and a write that fails is told in one line."""
    try:
        yield
    except Refused:
        run.release()  # else the same command with the setting put right would find a run with another configuration
        raise
    except OSError as error:
        run.unlock()
        raise Failed(
            f"{run.directory}: writing failed ({error.strerror or error}); free some space and run the same command again"
            " to continue"
        ) from error
    except BaseException:  # whatever it is, this process does not go on here
        run.unlock()
        raise
