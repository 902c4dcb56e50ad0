"""The rows of an evaluation's summary.json, and how the report groups and finds them."""

import csv
import io
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pipeline.errors import Refused

CONTROLS = ("positive_control", "graded_control")
TRAINED_OR_BASE = ("base", "documents", "placebo", "imitation", "reinforcement")


@dataclass(frozen=True)
class Estimate:
    """One row: what was measured, on what, and with which interval. Rates and gaps are fractions."""

    metric: str
    scenario: str
    subject: str
    information: str
    reasoning: str
    tier: str
    arm: str
    fact: str
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    method: str
    reason: str
    """Why there is no estimate; empty where there is one."""
    run: str
    """Name of the eval run that the row is from."""

    @property
    def is_belief(self) -> bool:
        """Whether the row is about statements and not about replies."""
        return self.metric.startswith("belief_")

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval, where there is one."""
        if self.ci_low is None or self.ci_high is None:
            return None
        return self.ci_low, self.ci_high

    @property
    def is_above_zero(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.interval is not None and self.interval[0] > 0

    @property
    def is_below_zero(self) -> bool:
        """Whether the whole interval lies below zero."""
        return self.interval is not None and self.interval[1] < 0

    def is_above(self, other: "Estimate") -> bool:
        """Whether this interval lies above the other's: a stricter test than an interval of their difference."""
        return self.interval is not None and other.interval is not None and self.interval[0] > other.interval[1]


COLUMNS = tuple(field.name for field in fields(Estimate))
_KEYS = COLUMNS[:-1]


@dataclass(frozen=True, order=True)
class Setting:
    """What the subjects in one figure have in common."""

    run: str
    scenario: str
    reasoning: str
    arm: str

    @classmethod
    def of(cls, row: Estimate) -> "Setting":
        """The setting of a row."""
        return cls(row.run, row.scenario, row.reasoning, row.arm)


@dataclass(frozen=True)
class Subject:
    """A model under test together with how it can know its situation."""

    name: str
    information: str

    @classmethod
    def of(cls, row: Estimate) -> "Subject":
        """The subject of a row."""
        return cls(row.subject, row.information)


class Estimates:
    """All rows of a report, looked up by what they are about."""

    def __init__(self, rows: Iterable[Estimate]) -> None:
        self.rows = tuple(rows)

    def where(self, **values: str) -> "Estimates":
        """The rows that have these values, for example `where(metric="compliance", tier="free")`."""
        return Estimates(row for row in self.rows if all(getattr(row, key) == value for key, value in values.items()))

    def within(self, setting: Setting) -> "Estimates":
        """The rows of one setting."""
        return Estimates(row for row in self.rows if Setting.of(row) == setting)

    def of(self, subject: Subject) -> "Estimates":
        """The rows of one subject."""
        return Estimates(row for row in self.rows if Subject.of(row) == subject)

    def first(self, **values: str) -> Estimate | None:
        """The first row with these values, or None."""
        rows = self.where(**values).rows
        return rows[0] if rows else None

    def subjects(self) -> list[Subject]:
        """The subjects in the order in which figures and sentences name them."""
        return sorted(
            dict.fromkeys(Subject.of(row) for row in self.rows),
            key=lambda subject: (subject_rank(subject.name), subject.name, subject.information),
        )

    def behaviour_settings(self) -> list[Setting]:
        """The settings in which replies were sampled."""
        return sorted({Setting.of(row) for row in self.rows if not row.is_belief})

    def belief_settings(self) -> list[Setting]:
        """The settings in which statements were scored."""
        return sorted({Setting.of(row) for row in self.rows if row.is_belief})


def subject_rank(name: str) -> int:
    """Place of a subject in figures and sentences; names of a config's own stand before what may have begun with them."""
    last = ("reinforcement", *CONTROLS)
    known = (*(known for known in TRAINED_OR_BASE if known not in last), None, *last)
    return known.index(name) if name in known else known.index(None)


def read_estimates(path: Path, run: str) -> list[Estimate]:
    """The rows of a summary.json.

    Raises:
        Refused: the file is not a list of records with exactly the known keys, each of its type.
    """
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise Refused(f"{path}: not JSON ({error})") from None
    if not isinstance(records, list):
        raise Refused(f"{path}: a list of estimates is needed, this is a {type(records).__name__}")
    return [_estimate(record, f"{path}: record {number}", run) for number, record in enumerate(records, start=1)]


def csv_text(rows: Iterable[Estimate]) -> str:
    """All rows as CSV, numbers in full, an estimate that could not be made as an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(["" if (value := getattr(row, column)) is None else value for column in COLUMNS])
    return text.getvalue()


def _estimate(record: Any, where: str, run: str) -> Estimate:
    if not isinstance(record, dict):
        raise Refused(f"{where}: an object is needed, this is a {type(record).__name__}")
    if set(record) != set(_KEYS):
        wrong = sorted(set(record) ^ set(_KEYS))
        raise Refused(f"{where}: exactly the keys {', '.join(_KEYS)} are needed; check {', '.join(wrong)}")
    for key in ("estimate", "ci_low", "ci_high"):
        value = record[key]
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not is_number:
            raise Refused(f"{where}: {key}={value!r}: a finite number or null is needed")
    if not isinstance(record["n"], int):
        raise Refused(f"{where}: n={record['n']!r}: a whole number is needed")
    for key in set(_KEYS) - {"estimate", "ci_low", "ci_high", "n"}:
        if not isinstance(record[key], str):
            raise Refused(f"{where}: {key}={record[key]!r}: text is needed")
    return Estimate(**record, run=run)
