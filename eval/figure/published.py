"""Published values: what the papers print, one file a claim, and how it compares with ours.

The files hold numbers as they are printed. What is turned here into our terms (refusal into compliance, percent into
fractions, standard errors into intervals) is said in the row's note.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from eval.statistics import wilson
from pipeline.errors import Refused, closest

PUBLISHED_DIR = Path(__file__).parent.parent / "published"

COLUMNS = (
    "claim", "scenario", "model", "information", "reasoning", "tier", "arm", "metric", "estimate", "unit", "error",
    "error_kind", "n", "n_implied", "paper", "place", "note",
)  # fmt: skip
UNITS = ("percent", "points", "count", "fraction", "score 0 to 10")

_NORMAL_QUANTILE = 1.96


@dataclass(frozen=True)
class Published:
    """One value as printed; `estimate` is empty where the sources that were read do not give it."""

    claim: str
    scenario: str
    model: str
    information: str
    reasoning: str
    tier: str
    arm: str
    metric: str
    estimate: str
    unit: str
    error: str
    """In the unit of the estimate."""
    error_kind: str
    n: str
    """As printed."""
    n_implied: str
    """The n that the printed rates or errors fit; derived, not printed."""
    paper: str
    place: str
    note: str


@dataclass(frozen=True)
class Comparable:
    """A published value in our terms: fractions, compliance, a 95% interval where an error or counts are printed."""

    metric: str
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    interval: str
    """How the interval was made, or why there is none."""
    note: str


def read_published(claim: str, folder: Path = PUBLISHED_DIR) -> list[Published]:
    """The rows of a claim's file.

    Raises:
        Refused: there is no such claim.
    """
    file = folder / f"{claim}.csv"
    if not file.is_file():
        claims = sorted(path.stem for path in folder.glob("*.csv"))
        raise Refused(f"claim={claim}: {folder.name}/ has no {file.name}{closest(claim, claims)}")
    with file.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        assert tuple(reader.fieldnames or ()) == COLUMNS, f"{file}: other columns than {COLUMNS}"
        return [Published(**row) for row in reader]


def in_our_terms(row: Published) -> Comparable:
    """The value as a fraction with its interval; refusal becomes compliance."""
    is_refusal = row.metric == "non_compliance"
    metric = "compliance" if is_refusal else row.metric
    if not row.estimate:
        return Comparable(metric, None, None, None, "", row.note)
    value, low, high, interval = _with_interval(row)
    note = row.note
    if is_refusal:
        value, low, high = 1 - value, None if high is None else 1 - high, None if low is None else 1 - low
        note = "; ".join(part for part in (note, f"printed as {row.estimate}% that do not comply") if part)
    return Comparable(metric, value, low, high, interval, note)


def _with_interval(row: Published) -> tuple[float, float | None, float | None, str]:
    if row.unit == "count":
        found = wilson(int(row.estimate), int(row.n))
        return found.value, found.low, found.high, "Wilson score, from the printed counts"
    scale = 0.01 if row.unit in ("percent", "points") else 1.0
    value = float(row.estimate) * scale
    if row.error_kind == "standard error":
        half = _NORMAL_QUANTILE * float(row.error) * scale
        return value, value - half, value + half, "1.96 printed standard errors"
    return value, None, None, "no error printed"
