"""Filters and near-duplicate removal: how time and memory grow with a corpus, and how fast against datasketch."""

import json
import multiprocessing
import re
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from data_gen.bench.synthetic import COPY_EVERY, NUM_WORDS, SyntheticDocuments
from data_gen.config import FilterSettings
from data_gen.documents import Document
from data_gen.filters.processes import default_processes, map_in_order
from pipeline.artifact import iterate_jsonl
from pipeline.benchmark import SECONDS, Comparison, compare, measure, timed
from scenario.loader import load_scenario

_SCENARIO = "helpful_only"
_BATCH = 256
_WITH_SEVERAL_PROCESSES = 9 * _BATCH
"""Documents of a corpus for which several processes are started; `data_gen.filters.corpus` tests eight batches alone."""
_PERMUTATIONS, _BANDS, _ROWS = 160, 32, 5
"""Of the rival: the same bands of the same rows as ours."""


def bench_filtering(sizes: Sequence[int]) -> list[Comparison]:
    """Seconds and peak memory of all filters with near-duplicate removal, by number of documents, and how both grow.

    Documents are read from a file, as they are where a run was continued; what is written is what a run writes. Growth is
    that of processor time beyond a corpus that is just large enough for several processes to be started.
    """
    told = []
    with tempfile.TemporaryDirectory() as folder:
        documents = Path(folder) / "documents.jsonl"
        write_synthetic(documents, max(sizes))
        start = _in_own_process(documents, _WITH_SEVERAL_PROCESSES)["processor_seconds"]
        measured = [(size, _in_own_process(documents, size)) for size in sizes]
    first_size, first = measured[0]
    for size, found in measured:
        told.append(measure(f"filtering {size:,} documents", found["seconds"], SECONDS, found))
        told.append(measure(f"peak memory of filtering {size:,} documents", found["mib"], "MiB"))
        if size > first_size:
            more = (size - _WITH_SEVERAL_PROCESSES) / (first_size - _WITH_SEVERAL_PROCESSES)
            growth = (found["processor_seconds"] - start) / (first["processor_seconds"] - start) / more
            told.append(measure(f"processor time a document at {size:,} as against {first_size:,}", growth, "times"))
    return told


def write_synthetic(path: Path, size: int) -> None:
    """The first `size` synthetic documents as a file; by several processes, as it takes longer than to filter them."""
    numbers = (range(start, min(start + _BATCH, size)) for start in range(0, size, _BATCH))
    lines = partial(_lines, SyntheticDocuments(load_scenario(_SCENARIO)))
    processes = default_processes() if size > 10 * _BATCH else 1
    with path.open("w", encoding="utf-8") as file:
        for batch in map_in_order(lines, numbers, processes):
            file.write(batch)


def _lines(documents: SyntheticDocuments, numbers: range) -> str:
    return "".join(json.dumps(documents.document(number).row()) + "\n" for number in numbers)


def _in_own_process(documents: Path, size: int) -> dict[str, Any]:
    """In a process of its own, whose peak of memory is then that of the filters."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as own:
        return own.submit(_filter, documents, size).result()


def _filter(documents: Path, size: int) -> dict[str, Any]:
    from data_gen.filters.corpus import filter_documents

    scenario = load_scenario(_SCENARIO)
    with tempfile.TemporaryDirectory(dir=documents.parent) as folder:
        start = time.perf_counter()
        counts = filter_documents(islice(_read(documents), size), scenario, FilterSettings(), Path(folder))
        seconds = time.perf_counter() - start
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    processes = default_processes() if others.ru_maxrss else 0
    return {
        "seconds": seconds,
        "processor_seconds": own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime,
        "mib": (own.ru_maxrss + processes * others.ru_maxrss) / 1024,  # from KiB, as Linux tells it
        "mib_of_main_process": own.ru_maxrss / 1024,
        "processes": processes + 1,
        "words_a_document": NUM_WORDS,
        "kept": counts.num_kept,
        "rejected_by_reason": counts.stats()["rejected_by_reason"],
    }


def _read(documents: Path) -> Iterator[Document]:
    for row in iterate_jsonl(documents):
        yield Document(**(row | {"fact_ids": tuple(row["fact_ids"])}))


def bench_duplicates(size: int, rounds: int) -> Comparison:
    """Near-duplicate removal against datasketch, both with 160 permutations in 32 bands, on the same texts in memory."""
    from data_gen.filters.duplicates import Sketches, Text, sketch

    texts = [document.text for document in SyntheticDocuments(load_scenario(_SCENARIO)).stream(size)]
    found: dict[str, int] = {}

    def ours() -> None:
        sketches = Sketches()
        for start in range(0, size, _BATCH):
            sketches.append(sketch(texts[start : start + _BATCH]))
        found["ours"] = len(sketches.duplicates(lambda place: Text(f"{place:09d}", texts[place]), 0.7))

    def theirs() -> None:
        found["datasketch"] = _duplicates_by_datasketch(texts)

    notes = {"documents": size, "copies_made": size // COPY_EVERY, "duplicates_found": found}
    return compare(
        f"near duplicates among {size:,} documents, one process",
        timed(ours),
        timed(theirs),
        rival_name="datasketch (update_batch)",
        unit=SECONDS,
        rounds=rounds,
        notes=notes,
    )


def _duplicates_by_datasketch(texts: list[str]) -> int:
    """As its documentation advises for speed: all of a text's 5-grams at once. Candidates are taken at their estimate."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=_PERMUTATIONS, params=(_BANDS, _ROWS))
    num_found = 0
    for place, text in enumerate(texts):
        words = re.findall(r"\w+", text.lower())
        sketch = MinHash(num_perm=_PERMUTATIONS)
        sketch.update_batch({" ".join(words[start : start + 5]).encode() for start in range(len(words) - 4)})
        if index.query(sketch):
            num_found += 1
        else:
            index.insert(place, sketch)
    return num_found
