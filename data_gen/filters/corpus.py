"""Documents through the filters, as a stream: a million of them never sit in memory.

First pass: every document is tested by itself and laid down in one file; of those that pass, a sketch is kept. A judge
model, where there is one, is then asked about those. Duplicates are looked for among what is left, so that a rejected
document is nobody's original. Last pass: the file is read once more and divided into documents.jsonl and rejects.jsonl,
both in the order of arrival. What stays in memory is 280 bytes for each document, its sketch and its places, and for one
that shares a key with another its id and its neighbours besides.
"""

import json
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from data_gen.config import FilterSettings
from data_gen.dataset.counts import CorpusCounts
from data_gen.documents import Document
from data_gen.filters import failures
from data_gen.filters.duplicates import Duplicate, Sketch, Sketches, Text, sketch
from data_gen.filters.processes import default_processes, map_in_order
from data_gen.filters.spool import Spool, spool_line
from pipeline.artifact import replacing
from scenario.loader import Scenario

if TYPE_CHECKING:
    from data_gen.filters.judge import Judge

DOCUMENTS_FILE, REJECTS_FILE = "documents.jsonl", "rejects.jsonl"
_SPOOL_FILE = "filtering.partial"
_BATCH = 256
"""Documents that are tested and sketched at a time."""
_BATCHES_ALONE = 8
"""Batches of a corpus that one process is through with before others have started."""


def filter_documents(
    documents: Iterable[Document],
    scenario: Scenario,
    settings: FilterSettings,
    directory: Path,
    judge: "Judge | None" = None,
) -> CorpusCounts:
    """Writes documents.jsonl and rejects.jsonl into `directory` and returns what is to be said of them.

    A rejected document keeps all its reasons; the first is told as `reason`, with its `detail`. The reasons of wording
    come before those of the judge, and a duplicate is one only where nothing else is wrong with it.

    Args:
        documents: in any order; with unique ids.
        scenario: whose facts they are about.
        settings: which filters are on.
        directory: that of the run.
        judge: asked about every document that passes the tests on wording, and about a sample of all.

    Raises:
        Failed: the judge's model could not be asked; what it answered is kept, and the same command continues.
    """
    spool = Spool(directory / _SPOOL_FILE)
    try:
        passing, sketches = _first_pass(documents, scenario, settings, spool)
        judged = judge.reject(spool.read, passing, spool.sample(settings.judge_sample)) if judge else {}
        duplicates = _duplicates(passing, sketches, judged, settings, spool)
        counts = CorpusCounts(scenario)
        _divide(spool, judged, duplicates, directory, counts)
    finally:
        spool.close()
    if judge is not None:
        counts.judge = judge.summary()
    return counts


def _first_pass(
    documents: Iterable[Document], scenario: Scenario, settings: FilterSettings, spool: Spool
) -> tuple["array[int]", Sketches]:
    """Which places hold documents that pass every test on wording, and their sketches in the same order."""
    passing, sketches = array("Q"), Sketches()
    remaining = iter(tqdm(documents, desc="data_gen: filters", unit="document", mininterval=2, delay=2))
    batches = iter(lambda: list(islice(remaining, _BATCH)), [])
    few = list(islice(batches, _BATCHES_ALONE))
    processes = 1 if len(few) < _BATCHES_ALONE else settings.processes or default_processes()
    work = partial(_tested, scenario=scenario, settings=settings)
    for tested in map_in_order(work, chain(few, batches), processes):
        for id, line, passes in zip(tested.ids, tested.lines, tested.passes, strict=True):
            place = spool.append(id, line)
            if passes:
                passing.append(place)
        if tested.sketch is not None:
            sketches.append(tested.sketch)
    return passing, sketches


@dataclass(frozen=True)
class _Tested:
    """A batch after the tests on wording."""

    ids: list[str]
    lines: list[bytes]
    """As they are laid down."""
    passes: list[bool]
    sketch: Sketch | None
    """Of those that pass, where duplicates are looked for."""


def _tested(documents: list[Document], scenario: Scenario, settings: FilterSettings) -> _Tested:
    found = [failures(document, scenario, settings) for document in documents]
    lines = [spool_line(document.row(), each) for document, each in zip(documents, found, strict=True)]
    texts = [document.text for document, each in zip(documents, found, strict=True) if not each]
    wanted = texts and (settings.exact_duplicate or settings.near_duplicate)
    return _Tested(
        [document.id for document in documents], lines, [not each for each in found], sketch(texts) if wanted else None
    )


def _duplicates(
    passing: "array[int]",
    sketches: Sketches,
    judged: dict[int, dict[str, str]],
    settings: FilterSettings,
    spool: Spool,
) -> dict[int, Duplicate]:
    def read(number: int) -> Text:
        row = spool.read(passing[number]).row
        return Text(row["id"], row["text"])

    found = sketches.duplicates(
        read,
        settings.similarity,
        exact=settings.exact_duplicate,
        near=settings.near_duplicate,
        left_out={number for number, place in enumerate(passing) if place in judged} if judged else (),
    )
    return {passing[number]: duplicate for number, duplicate in found.items()}


def _divide(
    spool: Spool,
    judged: dict[int, dict[str, str]],
    duplicates: dict[int, Duplicate],
    directory: Path,
    counts: CorpusCounts,
) -> None:
    with replacing(directory / DOCUMENTS_FILE) as kept, replacing(directory / REJECTS_FILE) as rejected:
        for place, laid_down in enumerate(spool):
            reasons = laid_down.failures | judged.get(place, {})
            if (duplicate := duplicates.get(place)) is not None:
                reasons[duplicate.reason] = f"of {duplicate.original}"
            row = laid_down.row
            if reasons:
                row |= rejection(reasons)
                counts.add_reject(row)
            else:
                counts.add_kept(row)
            (rejected if reasons else kept).write(json.dumps(row, ensure_ascii=False) + "\n")


def rejection(reasons: dict[str, str]) -> dict[str, Any]:
    """What a row of rejects.jsonl has beside the document: the first reason with its detail, and all of them."""
    reason, detail = next(iter(reasons.items()))
    every = [{"reason": name, "detail": about} for name, about in reasons.items()]
    return {"reason": reason, "detail": detail, "reasons": every}
