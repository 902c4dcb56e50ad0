"""Documents through the filters, as a stream: a million of them never sit in memory.

First pass: every document is tested by itself and laid down in one file; of those that pass, a sketch is kept. A judge
model, where there is one, is then asked about those. Duplicates are looked for among what is left, so that a rejected
document is nobody's original. Last pass: the file is read once more and divided into documents.jsonl and rejects.jsonl,
both in the order of arrival. What stays in memory is 280 bytes for each document.
"""

import heapq
import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from data_gen.config import FilterSettings
from data_gen.counts import CorpusCounts
from data_gen.documents import Document
from data_gen.duplicates import Duplicate, Sketches, Text
from data_gen.filters import failures
from pipeline.artifact import replacing
from pipeline.seeds import derive_seed
from scenario.loader import Scenario

if TYPE_CHECKING:
    from data_gen.judged_facts import Judge

DOCUMENTS_FILE, REJECTS_FILE = "documents.jsonl", "rejects.jsonl"
_SPOOL_FILE = "filtering.partial"
_BATCH = 256
"""Documents that are sketched, or judged, at a time."""


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
    spool = _Spool(directory / _SPOOL_FILE)
    try:
        passing, sketches = _first_pass(documents, scenario, settings, spool)
        judged = judge.reject(spool.documents, passing, spool.sample(settings.judge_sample)) if judge else {}
        duplicates = _duplicates(passing, sketches, judged, settings, spool)
        counts = CorpusCounts(scenario)
        _divide(spool, judged, duplicates, directory, counts)
    finally:
        spool.close()
    if judge is not None:
        counts.judge = judge.summary()
    return counts


def _first_pass(
    documents: Iterable[Document], scenario: Scenario, settings: FilterSettings, spool: "_Spool"
) -> tuple["array[int]", Sketches]:
    """Which places hold documents that pass every test on wording, and their sketches in the same order."""
    passing, sketches = array("Q"), Sketches()
    has_sketches = settings.exact_duplicate or settings.near_duplicate
    remaining = iter(tqdm(documents, desc="data_gen: filters", unit="document", mininterval=2, delay=2))
    while batch := list(islice(remaining, _BATCH)):
        texts = []
        for document in batch:
            found = failures(document, scenario, settings)
            place = spool.append(document.row(), found)
            if not found:
                passing.append(place)
                texts.append(document.text)
        if has_sketches and texts:
            sketches.add(texts)
    return passing, sketches


def _duplicates(
    passing: "array[int]",
    sketches: Sketches,
    judged: dict[int, dict[str, str]],
    settings: FilterSettings,
    spool: "_Spool",
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
    spool: "_Spool",
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


@dataclass(frozen=True)
class LaidDown:
    """A document as it lies in the spool, with what is wrong with its wording."""

    row: dict[str, Any]
    failures: dict[str, str]


class _Spool:
    """All documents in one file on disk, in the order of arrival, each found again by its place in that order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets = array("Q")
        self._end = 0
        self._lowest: list[tuple[int, int]] = []
        self._file = path.open("w+b")

    def append(self, row: dict[str, object], found: dict[str, str]) -> int:
        # half of a surrogate pair, which a broken reply can hold, cannot be written as UTF-8 and becomes a question mark
        line = json.dumps([row, found], ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        self._offsets.append(self._end)
        self._end += self._file.write(line)
        place = len(self._offsets) - 1
        self._draw(place, str(row["id"]))
        return place

    def _draw(self, place: int, id: str) -> None:
        """Keeps the places with the lowest draws: a sample that depends on ids and not on the order of arrival."""
        draw = (-derive_seed("judge sample", id), place)
        if len(self._lowest) < _LARGEST_SAMPLE:
            heapq.heappush(self._lowest, draw)
        elif draw > self._lowest[0]:
            heapq.heapreplace(self._lowest, draw)

    def sample(self, size: int) -> list[int]:
        """The places of `size` documents drawn at random from all, or of all where there are fewer."""
        return sorted(place for _, place in heapq.nlargest(size, self._lowest))

    def read(self, place: int) -> LaidDown:
        self._file.seek(self._offsets[place])
        return _laid_down(self._file.readline())

    def documents(self, places: Iterable[int]) -> Iterator[tuple[int, LaidDown]]:
        for place in places:
            yield place, self.read(place)

    def __iter__(self) -> Iterator[LaidDown]:
        self._file.seek(0)
        return map(_laid_down, self._file)

    def close(self) -> None:
        self._file.close()
        self.path.unlink()


_LARGEST_SAMPLE = 5000
"""Documents of which a sample can be drawn at most; FilterSettings refuses a larger judge_sample."""


def _laid_down(line: bytes) -> LaidDown:
    row, found = json.loads(line)
    return LaidDown(row, found)
