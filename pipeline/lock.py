"""One process at a time in a run directory.

The lock is the system's own on a file in the directory: it is let go when the process ends in whatever way. Processes
that the holder starts, as training on several GPUs does, work in its directory with it.
"""

import fcntl
import os
import weakref
from pathlib import Path

from pipeline.errors import Refused

LOCK_FILE = "run.lock"

_HELD = "ALIGNMENT_FAKING_SDF_HELD"
"""Environment variable that tells started processes what the starting one holds: a line of its id and the directory."""


class DirectoryLock:
    """Holds a directory until it is released, or forgotten, or the process ends."""

    def __init__(self, directory: Path) -> None:
        """Takes the lock.

        Raises:
            Refused: another process has it.
            OSError: the directory cannot be written.
        """
        place = str(directory.resolve())
        if _is_held_by_starter(place):
            self._let_go = None
            return
        path = directory / LOCK_FILE
        descriptor = _locked(path, directory)
        note = f"{os.getpid()} {place}"
        os.environ[_HELD] = "\n".join([*_held(), note])
        self._let_go = weakref.finalize(self, _release, descriptor, path, note, os.getpid())

    def release(self) -> None:
        """Lets others in; a second time, it does nothing."""
        if self._let_go is not None:
            self._let_go()


def _locked(path: Path, directory: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise Refused(f"another process is at work in {directory}; wait until it ends, or end it") from None
        except OSError:  # a filesystem without locks: there is nothing to hold
            return descriptor
        if _is_at(path, descriptor):
            return descriptor
        os.close(descriptor)  # whoever had it before has removed the file since it was opened here


def _release(descriptor: int, path: Path, note: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked process has a copy of all this and holds nothing
        os.environ[_HELD] = "\n".join(line for line in _held() if line != note)
        if _is_at(path, descriptor):
            path.unlink(missing_ok=True)
    os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_held_by_starter(place: str) -> bool:
    notes = [line.partition(" ") for line in _held()]
    return any(held == place and int(owner) != os.getpid() for owner, _, held in notes)


def _held() -> list[str]:
    return [line for line in os.environ.get(_HELD, "").split("\n") if line]
