"""The table behind a claim's figure: our estimates and the published values in the same columns."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from eval.figure.config import OF_RUNS, FigureConfig
from eval.figure.published import Published, in_our_terms, read_published
from eval.report.estimates import Estimate, read_estimates, subject_rank
from eval.report.inputs import Source
from eval.report.text import words
from pipeline.artifact import RunRecord, read_run
from pipeline.errors import Refused
from scenario.variants import DEFAULT

OURS, PUBLISHED = "ours", "published"

_NUMBERS = ("estimate", "ci_low", "ci_high")
_NOUNS = {"scratchpad": "with scratchpad", "documents": "taught by documents", "prompt": "told in the prompt"}
_EMBEDDED_MODEL = "SmolLM2-135M"
_USUAL_NAMES = "fictional"
_FORMS_OF_TIERS = {"three": "three tiers", "absent": "no tags"}


@dataclass(frozen=True)
class Row:
    """One mark of the figure."""

    claim: str
    metric: str
    group: str
    """Heading under which the row stands."""
    row: str
    """What is written beside the mark."""
    tier: str
    source: str
    """`ours` or `published`."""
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    n: str
    interval: str
    """How the interval was made, or why there is none."""
    reason: str
    """Why there is no estimate; empty where there is one."""
    note: str
    paper: str
    place: str


COLUMNS = tuple(field.name for field in fields(Row))

Values = dict[str, str]
"""What an estimate is about, by the names that `groups` and `rows` can use."""


def build_table(config: FigureConfig, sources: list[Source]) -> list[Row]:
    """Every row of the figure, panel by panel: in each group ours, then the published ones; last, groups of those alone.

    Raises:
        Refused: a table lacks a column that groups or rows name, nothing of ours is about the metrics asked for, or two
            estimates would stand in one place.
    """
    ours = [
        _our_row(config, estimate, about)
        for estimate, about in _our_estimates(config, sources)
        if estimate.metric in config.metrics
        and (not config.subjects or estimate.subject in config.subjects)
        and (not config.reasoning or estimate.reasoning in config.reasoning)
        and (not estimate.fact or "fact" in (*config.groups, *config.rows))  # else the whole stands for its parts
    ]
    if not ours:
        raise Refused(
            f"metrics={config.metrics}: no estimate of these is in the runs, with these subjects and reasoning"
        )
    published = _published_rows(config)
    groups = list(dict.fromkeys(row.group for row in [*ours, *published]))
    _refuse_doubles(config, ours)
    return sorted([*ours, *published], key=lambda row: (config.metrics.index(row.metric), groups.index(row.group)))


def _refuse_doubles(config: FigureConfig, ours: list[Row]) -> None:
    seen = set()
    for row in ours:
        place = (row.metric, row.group, row.row, row.tier)
        if place in seen:
            raise Refused(
                f"rows={config.rows}: two estimates of {row.metric} would stand at '{row.group}: {row.row}'; name what tells"
                " them apart, for example rows=[subject]"
            )
        seen.add(place)


def write_table(rows: Iterable[Row], path: Path) -> None:
    """Writes the table as CSV, an estimate that could not be made as an empty cell."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow(["" if (value := getattr(row, column)) is None else value for column in COLUMNS])


def read_table(path: Path) -> list[Row]:
    """The table as it was written."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [
            Row(**(told | {key: float(told[key]) if told[key] else None for key in _NUMBERS}))  # type: ignore[arg-type]
            for told in csv.DictReader(lines)
        ]


def _our_estimates(config: FigureConfig, sources: list[Source]) -> list[tuple[Estimate, Values]]:
    found: list[tuple[Estimate, Values]] = []
    for source in sources:
        doses = _doses(source.record)
        run = {key: str(source.record.config.get(key, "")) for key in ("model", "identity")}
        for estimate in read_estimates(source.file("summary.json"), source.name):
            found.append((estimate, vars(estimate) | run | doses.get(estimate.subject, dict.fromkeys(OF_RUNS[2:], ""))))
    for name in config.tables:
        found += _of_a_table(Path(name), [*config.groups, *config.rows])
    return sorted(found, key=lambda pair: subject_rank(pair[0].subject))


def _doses(record: RunRecord) -> dict[str, Values]:
    """By subject, how much it was trained on; the subjects of a run that judged replies again are those of the replies' run.

    Calibrations are inputs as well, and nobody was trained on them.
    """
    doses: dict[str, Values] = {}
    for name, told in record.inputs.items():
        if told["stage"] == "train":
            doses[name] = _dose(Path(told["path"]))
        elif told["stage"] == "eval":
            doses |= _doses(read_run(told["path"], "eval"))
    return doses


def _dose(directory: Path) -> Values:
    """How much of what a subject was trained on: documents, passes over them, and the adapter's rank, if it has one."""
    record = read_run(directory, "train")
    return {
        "documents": str(record.notes["num_train"]),
        "epochs": f"{record.config['epochs']:g}",
        "rank": "" if record.config["method"] == "full" else str(record.config["lora"]["rank"]),
    }


def _of_a_table(path: Path, needed: list[str]) -> list[tuple[Estimate, Values]]:
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows: list[dict[str, Any]] = list(csv.DictReader(lines))
    except FileNotFoundError:
        raise Refused(f"tables={path}: no such file; `python -m eval.collect` writes it") from None
    names = [field.name for field in fields(Estimate)]
    if missing := [name for name in (*names, *needed) if rows and name not in rows[0]]:
        raise Refused(f"{path}: has no column {missing[0]}; collect eval runs in which it differs")
    found = []
    for row in rows:
        numbers = {key: float(row[key]) if row[key] else None for key in _NUMBERS}
        estimate = Estimate(**({name: row[name] for name in names} | numbers | {"n": int(row["n"])}))  # type: ignore[arg-type]
        found.append((estimate, dict(row)))
    return found


def _our_row(config: FigureConfig, estimate: Estimate, about: Values) -> Row:
    has_interval = estimate.interval is not None
    return Row(
        claim=config.claim,
        metric=estimate.metric,
        group=_told(config.groups, about),
        row=_told(config.rows, about) or _nameless(config.rows, about),
        tier=estimate.tier,
        source=OURS,
        estimate=estimate.estimate,
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        n=str(estimate.n) if estimate.estimate is not None else "",
        interval=estimate.method if has_interval or estimate.estimate is None else f"{estimate.method}, no interval",
        reason=estimate.reason,
        note=f"{_model_name(about.get('model', ''))}, run {estimate.run}",
        paper="",
        place="",
    )


def _published_rows(config: FigureConfig) -> list[Row]:
    values = [
        value
        for value in read_published(config.claim)
        if (not config.published_models or value.model in config.published_models)
        and (not config.reasoning or not value.reasoning or value.reasoning in config.reasoning)
        and in_our_terms(value).metric in config.metrics
    ]
    is_one_model = len({value.model for value in values}) == 1
    return [_published_row(config, value, is_one_model) for value in values]


def _published_row(config: FigureConfig, value: Published, is_one_model: bool) -> Row:
    """A published value; of the model only where rows of several stand there, or nothing else names the row."""
    told = in_our_terms(value)
    told_apart = [column for column in config.rows if column in ("scenario", "information", "reasoning")]
    parts = ("" if is_one_model else value.model, value.arm, _told(told_apart, vars(value)))
    return Row(
        claim=config.claim,
        metric=told.metric,
        group=_told(config.groups, vars(value)) if set(config.groups) <= set(vars(value)) else "published",
        row=", ".join(part for part in parts if part) or value.model,
        tier=value.tier,
        source=PUBLISHED,
        estimate=told.estimate,
        ci_low=told.ci_low,
        ci_high=told.ci_high,
        n=value.n,
        interval=told.interval,
        reason="" if told.estimate is not None else told.note,
        note="; ".join(part for part in (value.model, told.note) if part),
        paper=value.paper,
        place=value.place,
    )


def _told(columns: list[str], about: Values) -> str:
    """The values of these columns in words, those that are empty or usual left out."""
    told = (_word(column, str(about[column])) for column in columns if about[column])
    return ", ".join(word for word in told if word)


def _word(column: str, value: str) -> str:
    if column == "model":
        return _model_name(value)
    if column == "reasoning":
        return "no scratchpad" if value == "none" else "with scratchpad"
    if column == "information":
        return _NOUNS.get(value, "told nothing")
    if column == "documents":
        return f"{value} documents"
    if column == "epochs":
        return "1 epoch" if value == "1" else f"{value} epochs"
    if column == "rank":
        return f"rank {value}"
    if column == "identity":
        return "" if value == _USUAL_NAMES else f"names: {words(value)}"
    if column == "arm":
        return _FORMS_OF_TIERS.get(value, words(value).replace(".", ", "))
    return words(value) if column in ("scenario", "subject", "fact") else f"{column}={value}"


def _nameless(columns: list[str], about: Values) -> str:
    """What stands beside a row of which every column is empty."""
    return DEFAULT if "arm" in columns else _model_name(about.get("model", ""))


def _model_name(model: str) -> str:
    """The last part of an Inspect name, as a reader knows it."""
    name = model.rpartition("/")[2]
    return _EMBEDDED_MODEL if name == "smollm2" else words(name)
