"""What may be done to a directory before a run stands in it: never is anything written over that no stage wrote."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import Refused
from pipeline.lock import LOCK_FILE, DirectoryLock

RUN_FILE = "run.json"
STARTED_FILE = "run.started.json"

PARTIAL = ".partial"
_OVERWRITTEN = ".overwritten"
MARKS = (STARTED_FILE, STARTED_FILE + PARTIAL, LOCK_FILE)
"""What stands in a directory in which nothing has been done yet."""


def refuse_overlap(directory: Path, inputs: Mapping[str, Path]) -> None:
    """An input inside the output directory would be removed by `overwrite` before it is read."""
    for role, path in inputs.items():
        if Path(path).resolve().is_relative_to(directory.resolve()):
            raise Refused(f"{directory}: holds the input {role} ({path}); choose another output_dir")


def refuse_foreign_content(directory: Path) -> None:
    """Never write over, or remove, what no stage of this project wrote."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise Refused(f"{directory}: is a file; choose another output_dir")
    if not is_worked_in(directory):
        return
    if not (directory / RUN_FILE).exists() and not (directory / STARTED_FILE).exists():
        raise Refused(f"{directory}: holds files that are not a run's; choose another output_dir")


def aside(directory: Path) -> Path:
    """Where a run stands that is being overwritten."""
    place = directory.absolute()
    return place.with_name(place.name + _OVERWRITTEN)


def set_aside(directory: Path) -> None:
    """Takes a run out of the way, in place of one that was out of the way before."""
    place = aside(directory)
    refuse_foreign_content(place)
    try:
        lock = DirectoryLock(directory)
        if place.exists():
            shutil.rmtree(place)
        directory.rename(place)
    except OSError as error:
        raise Refused(f"{directory}: cannot be overwritten ({error.strerror}); choose another output_dir") from None
    lock.release()
    (place / LOCK_FILE).unlink(missing_ok=True)


def give_back(directory: Path, lock: DirectoryLock) -> None:
    """Leaves a directory as it was before a run was opened in it, unless work was done there by this or an earlier try."""
    is_ours = not is_worked_in(directory)
    if is_ours:
        for mark in MARKS:
            (directory / mark).unlink(missing_ok=True)
    lock.release()
    if is_ours:
        try:
            directory.rmdir()
        except OSError:  # another process has begun there meanwhile
            return
        if (before := aside(directory)).exists():
            before.rename(directory)


def is_worked_in(directory: Path) -> bool:
    """Whether there is more than the marks of a run that has just been opened."""
    return any(file.name not in MARKS for file in directory.iterdir())
