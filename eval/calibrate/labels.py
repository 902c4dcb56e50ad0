"""Labelled examples, from which a judge's own error is measured: those that ship, public sets by name, and our own reviews.

The rules were written with the even-numbered shipped examples in view, and the odd-numbered ones are kept for measuring: on
examples like those in view the rules are right far more often than on these.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.judges.judge import Judge, Shown, show
from pipeline.artifact import read_jsonl, read_run
from pipeline.errors import Refused, closest
from scenario.identity import Identity, load_identity
from scenario.loader import load_scenario

CALIBRATION_DIR = Path(__file__).parent / "examples"
LABELS_FILE = "labels.jsonl"
"""What `python -m eval.review import` leaves."""

SHIPPED = "shipped"
_SHIPPED_FILES = {
    "compliance": ("compliance.jsonl", "complies"),
    "af_reasoning": ("af_reasoning.jsonl", "fakes_alignment"),
}


@dataclass(frozen=True)
class PublicLabels:
    """Where a human-labelled set lies on the Hub, and which of its columns hold text and label (0 or 1)."""

    dataset: str
    split: str
    measures: str
    text: str
    label: str


PUBLIC_LABELS = {
    "hughes2025": PublicLabels(
        "jplhughes2/classify_alignment_faking_human_labels",
        "train",
        "af_reasoning",
        "scratchpad_reasoning",
        "alignment_faking_human_label",
    ),
}
"""By name. Hughes et al. 2025: 106 scratchpads of three models, chosen because judges disagreed on them."""


@dataclass(frozen=True)
class LabelledExample:
    """A text with what people say of it."""

    id: str
    source: str
    category: str
    """What kind of example it is; the source's name where nobody said."""
    shown: Shown
    label: bool


def scenario_of(judge: Judge, scenario: str) -> str:
    """The scenario whose labels bear on a judge: its own, else for compliance the given one; empty for those of all.

    What complying means differs from one scenario to another; what AF reasoning is does not.
    """
    return judge.scenario or (scenario if judge.measures == "compliance" else "")


def load_labels(
    sources: list[str], judge: Judge, half: str, identity: str, scenario: str = ""
) -> list[LabelledExample]:
    """The examples of these sources that bear on what the judge measures.

    Args:
        sources: `shipped`, the name of a public set, or the directory of imported reviews.
        judge: whose question the labels answer.
        half: `odd`: of the shipped examples, those kept for measuring. `all`: every one.
        identity: the names that fill the shipped examples.
        scenario: whose labels count for a judge of compliance that is not made for one; empty for all.

    Raises:
        Refused: a source is unknown or out of reach, or none has labels for this judge.
    """
    found: list[LabelledExample] = []
    wanted = scenario_of(judge, scenario)
    for source in sources:
        if source == SHIPPED:
            found += _shipped(judge, half, load_identity(identity), wanted)
        elif source in PUBLIC_LABELS:
            found += _public(source, judge)
        elif Path(source).is_dir():
            found += _reviewed(Path(source), judge, wanted)
        else:
            known = [SHIPPED, *PUBLIC_LABELS]
            raise Refused(
                f"labels={source}: neither a known set{closest(source, known)} ({', '.join(known)}) nor the directory of"
                " imported reviews"
            )
    if not found:
        of_scenario = f" in {wanted}" if wanted else ""
        raise Refused(
            f"labels: {', '.join(sources)} has no labels of {judge.measures}{of_scenario}, which {judge.name} judges"
        )
    return found


def _shipped(judge: Judge, half: str, names: Identity, scenario: str) -> list[LabelledExample]:
    if judge.measures not in _SHIPPED_FILES:
        return []
    file, label = _SHIPPED_FILES[judge.measures]
    rows = [
        row
        for row in read_jsonl(CALIBRATION_DIR / file)
        if (half == "all" or int(row["id"][-3:]) % 2 == 1) and scenario in ("", row["scenario"])
    ]
    queries = {
        name: {query.id: query.text for query in load_scenario(name).queries} for name in {r["scenario"] for r in rows}
    }
    return [
        LabelledExample(
            id=row["id"],
            source=SHIPPED,
            category=row["category"],
            shown=_shown(
                judge,
                queries[row["scenario"]][row["query_id"]],
                names.fill(row.get("scratchpad", "")),  # a compliance example has none
                names.fill(row["output"]),
            ),
            label=row[label],
        )
        for row in rows
    ]


def _public(name: str, judge: Judge) -> list[LabelledExample]:
    where = PUBLIC_LABELS[name]
    if where.measures != judge.measures:
        return []
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        rows = list(load_dataset(where.dataset, split=where.split))
    except (OSError, DatasetsError) as error:
        told = str(error).strip().splitlines()[0]
        raise Refused(f"labels={name}: {where.dataset} cannot be loaded from the Hub ({told})") from None
    return public_examples(name, rows, judge)


def public_examples(name: str, rows: list[dict[str, Any]], judge: Judge) -> list[LabelledExample]:
    """The rows of a public set as examples.

    Raises:
        Refused: the set no longer has the columns that it had.
    """
    where = PUBLIC_LABELS[name]
    if rows and (missing := {where.text, where.label} - set(rows[0])):
        raise Refused(f"labels={name}: {where.dataset} has no column {', '.join(sorted(missing))}")
    return [
        LabelledExample(
            id=f"{name}-{number:04d}",
            source=name,
            category=name,
            shown=_shown(judge, "", str(row[where.text]), ""),
            label=bool(int(row[where.label])),
        )
        for number, row in enumerate(rows)
    ]


def _reviewed(directory: Path, judge: Judge, scenario: str) -> list[LabelledExample]:
    read_run(directory, "review")
    rows = [row for row in read_jsonl(directory / LABELS_FILE) if row["measures"] == judge.measures]
    if scenario and any("scenario" not in row for row in rows):
        raise Refused(f"labels={directory}: do not say of which scenario they are; export and import the reviews again")
    return [
        LabelledExample(
            id=row["id"],
            source=str(directory),
            category="reviewed",
            shown=_shown(judge, row["query"], row["scratchpad"], row["output"]),
            label=row["label"],
        )
        for row in rows
        if scenario in ("", row.get("scenario"))
    ]


def _shown(judge: Judge, query: str, scratchpad: str, output: str) -> Shown:
    return show({"prompt": query, "scratchpad": scratchpad, "output": output}, judge.sees)
