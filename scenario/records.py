"""Rows of a scenario's files as records, held to the types that the records declare."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pipeline.errors import Refused
from scenario.evidence import Evidence, is_evidence

Record = TypeVar("Record")


def records(kind: Callable[..., Record], rows: Any, path: Path) -> tuple[Record, ...]:
    """A record of each row of parsed YAML or JSON lines, in which lists are tuples.

    Raises:
        Refused: there is no list, or a row has other keys than the record or values of another form.
    """
    if not isinstance(rows, tuple):  # a YAML list; an empty file is None
        raise Refused(f"{path}: needs a list of records, this is {type(rows).__name__}")
    made: list[Record] = []
    for number, row in enumerate(rows, start=1):
        try:
            made.append(kind(**row))
        except TypeError as error:
            raise Refused(f"{path}: record {number}: {error}") from None
        _refuse_unknown_values(made[-1], f"{path}: record {number}")
    return tuple(made)


def _refuse_unknown_values(record: Any, where: str) -> None:
    """Holds fields to their types and closed sets: a mistyped split would only be a query that nobody asks."""
    for name, hint in get_type_hints(type(record)).items():
        value = getattr(record, name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise Refused(f"{where}: {name}={value}: must be one of {', '.join(get_args(hint))}")
        if hint is str and not isinstance(value, str):
            raise Refused(f"{where}: {name}={value!r}: must be a text; put it in quotes")
        if hint == Evidence and not is_evidence(value):
            raise Refused(
                f"{where}: {name}: must be a list of groups, each a list of phrases, such as [[rated], [free tier]]"
            )
        if hint == tuple[Evidence, ...] and not (isinstance(value, tuple) and all(map(is_evidence, value))):
            raise Refused(f"{where}: {name}: must be a list of contradictions, each a list of groups of phrases")
