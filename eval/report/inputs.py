"""The complete runs that a report is about, and what it reads from them besides estimates."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifact import RUN_FILE, RunRecord, read_jsonl, read_run, sha256_of
from pipeline.errors import Refused


@dataclass(frozen=True)
class Source:
    """One complete run directory."""

    name: str
    """The end of its path, as long as it takes to tell it from the report's other runs of the stage."""
    directory: Path
    record: RunRecord
    sha256: str
    """Of its run.json, which holds the hashes of all its files."""

    def holds(self, name: str) -> bool:
        """Whether the run wrote a file of this name; a file that only lies there is not the run's."""
        return name in self.record.outputs

    def file(self, name: str) -> Path:
        """A file that the run must have written.

        Raises:
            Refused: its run.json lists no such file.
        """
        if not self.holds(name):
            raise Refused(f"{self.directory}: {RUN_FILE} lists no {name}, which a report needs; run that stage again")
        return self.directory / name


@dataclass(frozen=True)
class LossCurve:
    """What a training's metrics.jsonl says, in nats per token."""

    run: str
    steps: list[int]
    losses: list[float]
    heldout_steps: list[int]
    heldout_losses: list[float]


def read_sources(directories: list[str], stage: str) -> list[Source]:
    """The runs in these directories, every file checked against its hash.

    Raises:
        Refused: a directory is no complete run of `stage`, or was edited since.
    """
    paths = [Path(directory) for directory in directories]
    return [
        Source(name, path, read_run(path, stage), sha256_of(path / RUN_FILE))
        for name, path in zip(short_names(paths), paths, strict=True)
    ]


def short_names(paths: list[Path]) -> list[str]:
    """The last part of each path, or as many last parts as tell it from the others."""
    names = []
    for path in paths:
        others = [other.parts for other in paths if other != path]
        length = next(
            (n for n in range(1, len(path.parts)) if all(path.parts[-n:] != parts[-n:] for parts in others)),
            len(path.parts),
        )
        names.append("/".join(path.parts[-length:]))
    return names


def read_losses(source: Source) -> LossCurve:
    """The training and held-out losses of a train run."""
    rows = read_jsonl(source.file("metrics.jsonl"))
    trained = [row for row in rows if "loss" in row]
    heldout = [row for row in rows if row.get("heldout_loss") is not None]
    return LossCurve(
        run=source.name,
        steps=[row["step"] for row in trained],
        losses=[row["loss"] for row in trained],
        heldout_steps=[row["step"] for row in heldout],
        heldout_losses=[row["heldout_loss"] for row in heldout],
    )


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object.

    Raises:
        Refused: it holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise Refused(f"{path}: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise Refused(f"{path}: a JSON object is needed, this is a {type(content).__name__}")
    return content


def uses_model(sources: list[Source], name: str) -> bool:
    """Whether any of these evaluations or trainings had the base model `name`, whatever served it."""
    return any(str(source.record.config.get("model", "")).rpartition("/")[2] == name for source in sources)
