"""Errors a user can cause, told in one line.

Exit codes of every command: 0 done, 1 failed while running, 2 refused before starting.
"""

import difflib
from collections.abc import Iterable


class Refused(Exception):
    """The request cannot be carried out as it stands: says what is wrong, where, and what would be right. Exit code 2."""


class Failed(Exception):
    """The work started and could not be finished, for a reason that one line can tell. Exit code 1."""


def closest(wrong: str, known: Iterable[str]) -> str:
    """A clause that offers the nearest known name, or nothing where none is near."""
    near = difflib.get_close_matches(wrong, list(known), n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""
