"""What a reader needs to weigh the numbers: the judges' own error, what was left out, what it all took."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval.report.estimates import subject_rank
from eval.report.inputs import Source
from eval.report.text import excerpt, words
from eval.report.wording import percent
from eval.samples import UNJUDGED
from pipeline.errors import Refused

if TYPE_CHECKING:
    from eval.statistics import Estimate
    from eval.statistics import JudgeError as Error

_LONGEST_NAME = 200
_COLUMNS = ("subject", "information", "reasoning", "arm", "tier", "status")
_NOT_GIVEN = (
    "not known: the run was given no calibration of it (python -m eval.calibrate), and no rate is corrected for it"
)
_NONE_EXISTS = "not known: no calibration exists for this question"
READ = "ok"
"""The status of a reply that could be read and, where it was judged for compliance, has a verdict."""


@dataclass(frozen=True)
class _Table:
    """A table of replies, and the questions that a model answered about them without being one of the run's judges."""

    file: str
    told: str
    """What tells its replies from the other tables'; empty for the usual one."""
    verdict: str = ""
    """The column without which a reply that could be read is in no rate, where its status does not say so."""
    asked: str = ""
    """What the model of the column `judge` was asked; empty where there is no such column."""
    answer: str = ""
    """The column of its answers."""


_TABLES = (
    _Table("samples.parquet", ""),
    _Table("deals.parquet", "deals", asked="the objections", answer="judged_category"),
    _Table("anti_lab.parquet", "acts and lies", "verdict", asked="acts against the lab and lies", answer="verdict"),
)


@dataclass(frozen=True)
class JudgeError:
    """A judge that gave verdicts here, and how it does on labelled examples."""

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
    """Every judge that gave verdicts in these runs; one that was calibrated differently in two runs stands there twice."""
    verdicts: Counter[tuple[str, tuple[str, str, str]]] = Counter()
    for source in sources:
        for judge, number in _judges(source).items():
            verdicts[judge, _told_error(judge, source)] += number
        for table in _tables_of(source):
            if number := sum(value is not None for value in _values(source, table, table.answer)):
                names = sorted({name for name in _values(source, table, "judge") if name})
                verdicts[f"{' and '.join(names)}, asked about {table.asked}", ("", "", _NONE_EXISTS)] += number
    return [
        JudgeError(excerpt(judge, _LONGEST_NAME), number, *error) for (judge, error), number in sorted(verdicts.items())
    ]


def exclusions(sources: list[Source]) -> list[Exclusions]:
    """How many replies could be read and judged, for every subject, condition and tier."""
    counts: dict[tuple[str, ...], Counter[str]] = {}
    for source in sources:
        for table in _tables_of(source):
            columns = [_values(source, table, column) for column in (*_COLUMNS, table.verdict)]
            for *about, status, verdict in zip(*columns, strict=True):
                is_unjudged = status == READ and bool(table.verdict) and verdict is None
                key = (source.name, table.told, *(value or "" for value in about))
                counts.setdefault(key, Counter())[UNJUDGED if is_unjudged else status] += 1
    found = []
    for (run, told, subject, information, reasoning, arm, tier), statuses in sorted(
        counts.items(), key=lambda item: (item[0][:2], subject_rank(item[0][2]), item[0])
    ):
        parts = (
            words(run),
            told,
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


def _judges(source: Source) -> Counter[str]:
    """How many verdicts each of the run's judges gave, over all its tables: those whose column stands beside its verdicts'."""
    verdicts: Counter[str] = Counter()
    for table in _tables_of(source):
        for column in _column_names(source, table):
            verdict = column.removesuffix("_judge")
            if verdict != column:
                pairs = zip(_values(source, table, column), _values(source, table, verdict), strict=True)
                verdicts.update(judge for judge, value in pairs if judge and value is not None)
    return verdicts


def _told_error(judge: str, source: Source) -> tuple[str, str, str]:
    """Sensitivity, specificity, and why they are not known: as the run's corrected rates have them."""
    error = _error(judge, source)
    if isinstance(error, str):
        return "", "", error
    return _share(error.sensitivity), _share(error.specificity), ""


def _error(judge: str, source: Source) -> "Error | str":
    from eval.calibrate.error import judge_error, known_error
    from eval.config import recorded_config
    from eval.judges.catalogue import RULES

    recorded = source.record.config
    if not recorded.get("calibrations"):
        return judge_error(RULES[judge], "", [], recorded.get("scenario", "")) if judge in RULES else _NOT_GIVEN
    name = judge.partition(" (")[0]
    answered_as = [
        one for told in source.record.notes.get("judges", []) if told["name"] == name for one in told["answered_as"]
    ]
    try:
        return known_error(judge, recorded_config(recorded, source.directory), answered_as)
    except Refused as error:  # its directory may be gone; the corrected rates stand without it
        return f"not shown: {error}"


def _share(error: "Estimate") -> str:
    return f"{percent(error.value)} ({percent(error.low)} to {percent(error.high)}, n={error.n})"


def _tables_of(source: Source) -> list[_Table]:
    return [table for table in _TABLES if source.holds(table.file)]


def _column_names(source: Source, table: _Table) -> list[str]:
    import pyarrow.parquet

    names: list[str] = pyarrow.parquet.read_schema(source.file(table.file)).names
    return names


def _values(source: Source, table: _Table, column: str) -> list[Any]:
    """A column; of nothing but None where the table does not have it."""
    import pyarrow.parquet

    path = source.file(table.file)
    if column not in _column_names(source, table):
        return [None] * pyarrow.parquet.read_metadata(path).num_rows
    values: list[Any] = pyarrow.parquet.read_table(path, columns=[column])[column].to_pylist()
    return values
