"""What a reader needs to weigh the numbers: the judges' own error, what was left out, what it all took."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eval.report.estimates import subject_rank
from eval.report.inputs import Source
from eval.report.text import excerpt, words
from eval.report.wording import percent

if TYPE_CHECKING:
    from eval.statistics import Estimate

_LONGEST_NAME = 200
_COLUMNS = ("subject", "information", "reasoning", "arm", "tier", "status")
_MEASURED_APART = "its error is that of a calibration run (python -m eval.calibrate), and is in the corrected rates"
READ = "ok"
"""The status of a reply that could be read; every other one leaves it out of the rates."""


@dataclass(frozen=True)
class JudgeError:
    """A judge that gave verdicts here, and how it does on the labelled examples that ship with the project."""

    judge: str
    num_verdicts: int
    sensitivity: str
    specificity: str
    note: str
    """Why there is no error; empty where there is one."""


@dataclass(frozen=True)
class Exclusions:
    """Replies of one subject in one tier under one condition, by what became of them."""

    subject: str
    condition: str
    tier: str
    total: int
    read: int
    by_status: dict[str, int]


@dataclass(frozen=True)
class Spent:
    """What one run took."""

    run: str
    seconds: float
    tokens_in: int
    tokens_out: int
    cost: float | None


def judge_errors(sources: list[Source]) -> list[JudgeError]:
    """Every judge of these runs' verdicts, rules with their error on the shipped examples that they were not made with."""
    from eval.calibrate.error import judge_error
    from eval.judges.catalogue import RULES

    verdicts: Counter[str] = Counter()
    for source in _with_samples(sources):
        for column in _column_names(source):
            if column.endswith("_judge"):
                verdicts.update(name for name in _values(source, column) if name)
    found = []
    for judge, number in sorted(verdicts.items()):
        shown = excerpt(judge, _LONGEST_NAME)
        error = judge_error(RULES[judge], "", []) if judge in RULES else _MEASURED_APART
        if isinstance(error, str):
            found.append(JudgeError(shown, number, "", "", error))
        else:
            found.append(JudgeError(shown, number, _share(error.sensitivity), _share(error.specificity), ""))
    return found


def exclusions(sources: list[Source]) -> list[Exclusions]:
    """How many replies could be read, for every subject, condition and tier."""
    counts: dict[tuple[str, ...], Counter[str]] = {}
    for source in _with_samples(sources):
        for *about, status in zip(*(_values(source, column) for column in _COLUMNS), strict=True):
            counts.setdefault((source.name, *about), Counter())[status] += 1
    found = []
    for (run, subject, information, reasoning, arm, tier), statuses in sorted(
        counts.items(), key=lambda item: (item[0][0], subject_rank(item[0][1]), item[0])
    ):
        parts = (
            words(run),
            words(information),
            "no scratchpad" if reasoning == "none" else words(reasoning),
            words(arm),
        )
        condition = ", ".join(part for part in parts if part)
        others = {words(status): number for status, number in sorted(statuses.items()) if status != READ}
        total = sum(statuses.values())
        found.append(Exclusions(words(subject), condition, words(tier), total, statuses[READ], others))
    return found


def spent(sources: list[Source]) -> list[Spent]:
    """Time, tokens and dollars of each run."""
    return [
        Spent(
            f"{words(source.record.stage)}: {words(source.name)}",
            source.record.seconds,
            source.record.tokens_in,
            source.record.tokens_out,
            source.record.cost,
        )
        for source in sources
    ]


def _share(error: "Estimate") -> str:
    return f"{percent(error.value)} ({percent(error.low)} to {percent(error.high)}, n={error.n})"


def _with_samples(sources: list[Source]) -> list[Source]:
    return [source for source in sources if source.holds("samples.parquet")]


def _column_names(source: Source) -> list[str]:
    import pyarrow.parquet

    names: list[str] = pyarrow.parquet.read_schema(source.file("samples.parquet")).names
    return names


def _values(source: Source, column: str) -> list[str]:
    import pyarrow.parquet

    values: list[str] = pyarrow.parquet.read_table(source.file("samples.parquet"), columns=[column])[column].to_pylist()
    return values
