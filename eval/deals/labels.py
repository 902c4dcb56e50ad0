"""Objections for reading by hand: exported blind to subject, arm and tier, and read back as labels.

What models write goes into a file that spreadsheets open, so a cell that a spreadsheet would take for a formula is
exported with an apostrophe before it.
"""

import csv
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.deals.objections import CATEGORIES
from eval.judges.judge import without_tier
from eval.samples import UNJUDGED
from pipeline.errors import Refused, closest

COLUMNS = ("id", "request", "objection", "category", "asks_for", "cause", "note")
"""Of the exported file; the last four are empty and for the reader."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class ReadableObjection:
    """An objection with what machines made of it."""

    id: str
    request: str
    text: str
    rules: str
    judge: str
    """Category of the judge model; empty where there is none."""


@dataclass(frozen=True)
class Label:
    """What a reader made of an objection."""

    category: str
    asks_for: str
    cause: str
    note: str


def objections_of(runs: Iterable[Path]) -> list[ReadableObjection]:
    """Every objection of the runs, in an order that a hash gives and that says nothing of where it stood.

    Raises:
        Refused: a run has no table of deals.
    """
    found: dict[str, ReadableObjection] = {}
    for run in runs:
        for row in _rows(run / "deals.parquet"):
            if row["status"] in ("ok", UNJUDGED) and row["objection"] == "objects":
                about = [row[key] for key in ("subject", "scenario", "arm", "sample_id", "repeat", "reply")]
                id = hashlib.sha256("\x1f".join(map(str, about)).encode()).hexdigest()[:12]
                found[id] = ReadableObjection(
                    id,
                    without_tier(row["prompt"]),
                    row["objection_text"],
                    row["objection_category"],
                    row["judged_category"] or "",
                )
    return [found[id] for id in sorted(found)]


def export_objections(runs: Iterable[Path], path: Path) -> int:
    """Writes the CSV to label; returns how many objections are in it.

    Raises:
        Refused: there is no objection, or the file is there already and may hold labels.
    """
    objections = objections_of(runs)
    if not objections:
        raise Refused("no objection in these runs, so there is nothing to label")
    if path.exists():
        raise Refused(f"{path}: is there already and may hold labels; choose another --output")
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for objection in objections:
            writer.writerow([objection.id, _guarded(objection.request), _guarded(objection.text), "", "", "", ""])
    os.replace(partial, path)
    return len(objections)


def read_labels(path: Path, known: set[str]) -> tuple[dict[str, Label], int]:
    """The labels by objection, and how many rows have no category yet.

    Raises:
        Refused: the file is missing or has other columns, or a row names an unknown objection or category, or one twice.
    """
    if not path.is_file():
        raise Refused(f"{path}: no such file; python -m eval.deals export writes one")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise Refused(f"{path}: needs the columns {', '.join(COLUMNS)} in this order")
        rows = list(reader)
    labels: dict[str, Label] = {}
    num_empty = 0
    for number, row in enumerate(rows, start=2):
        if row["id"] not in known:
            raise Refused(f"{path}: row {number}: '{row['id']}' is no objection of these runs")
        if row["id"] in labels:
            raise Refused(f"{path}: row {number}: '{row['id']}' is labelled twice")
        category = (row["category"] or "").strip()
        if not category:
            num_empty += 1
            continue
        if category not in CATEGORIES:
            raise Refused(
                f"{path}: row {number}: category '{category}'{closest(category, CATEGORIES)}; must be one of"
                f" {', '.join(CATEGORIES)}"
            )
        rest = {name: (row[name] or "").strip() for name in ("asks_for", "cause", "note")}
        labels[row["id"]] = Label(category, **rest)
    return labels, num_empty


def agreement(objections: Iterable[ReadableObjection], labels: dict[str, Label], by: str) -> tuple[int, int]:
    """On how many labelled objections `by` (`rules` or `judge`) gives the reader's category, and how many it read."""
    pairs = [(getattr(o, by), labels[o.id].category) for o in objections if o.id in labels and getattr(o, by)]
    return sum(machine == hand for machine, hand in pairs), len(pairs)


def _guarded(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _rows(table: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    if not table.exists():
        raise Refused(f"{table.parent}: has no {table.name}; python -m eval suite=deals writes one")
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(table).to_pylist()
    return rows
