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
    if not _is_a_run(directory):
        raise Refused(f"{directory}: holds files that are not a run's; choose another output_dir")


def aside(directory: Path) -> Path:
    """Where a run stands that is being overwritten."""
    place = directory.absolute()
    return place.with_name(place.name + _OVERWRITTEN)


def is_aside(directory: Path) -> bool:
    """Whether a path belongs to a run that is being overwritten, and so counts no more."""
    return any(part.endswith(_OVERWRITTEN) for part in directory.parts)


def drop_overwritten(directory: Path) -> None:
    """Removes the run that stood here before the one that is finished now."""
    if _is_a_run(aside(directory)):
        shutil.rmtree(aside(directory), ignore_errors=True)  # the new run is whole, whatever becomes of the old one


def set_aside(directory: Path) -> None:
    """Takes a run out of the way; where a complete one is out of the way already, that is kept and the later one removed."""
    place = aside(directory)
    refuse_foreign_content(place)
    if directory.is_symlink():
        raise Refused(f"{directory}: is a link, which cannot be overwritten; choose another output_dir, or remove it")
    try:
        lock = DirectoryLock(directory)
        if (place / RUN_FILE).exists() and not (directory / RUN_FILE).exists():
            shutil.rmtree(directory)
        else:
            shutil.rmtree(place, ignore_errors=True)
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
        if _is_a_run(before := aside(directory)):
            before.rename(directory)


def _is_a_run(directory: Path) -> bool:
    return (directory / RUN_FILE).exists() or (directory / STARTED_FILE).exists()


def is_worked_in(directory: Path) -> bool:
    """Whether there is more than the marks of a run that has just been opened."""
    return any(file.name not in MARKS for file in directory.iterdir())
