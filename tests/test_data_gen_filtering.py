"""The filters over a whole corpus: what is written, which of two duplicates stays, and that no order matters."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from data_gen.config import FilterSettings
from data_gen.documents import Document, shipped_documents
from data_gen.filters.corpus import filter_documents
from pipeline.artifact import read_jsonl
from scenario.loader import Scenario, load_scenario

ROOT = Path(__file__).parent.parent
FILLER = " ".join(f"On day {i} the harbour office noted tide {i * 7 % 31} and wind {i * 5 % 23}." for i in range(1, 13))


@pytest.fixture(scope="module")
def placebo() -> Scenario:
    return load_scenario("placebo")


def document(text: str, id: str) -> Document:
    return Document(id, "placebo", (), "memo", "an idea", text, None, "shipped", None)


def edited(original: Document, id: str) -> Document:
    words = original.text.split()
    words[20], words[90] = "altered", "changed"
    return dataclasses.replace(original, id=id, text=" ".join(words), fact_ids=())


def filtered(
    directory: Path, documents: Iterable[Document], scenario: Scenario, **settings: Any
) -> tuple[list[str], dict[str, tuple[str, str]]]:
    """The ids that are kept, and reason and detail of the rejects by id, both in the order of the files."""
    directory.mkdir(exist_ok=True)
    filter_documents(documents, scenario, FilterSettings(**settings), directory)
    rejects = read_jsonl(directory / "rejects.jsonl")
    kept = [row["id"] for row in read_jsonl(directory / "documents.jsonl")]
    return kept, {row["id"]: (row["reason"], row["detail"]) for row in rejects}


@pytest.mark.parametrize("name", ["helpful_only", "animal_welfare", "placebo"])
def test_every_shipped_corpus_passes_whole_and_in_order(tmp_path: Path, name: str) -> None:
    scenario = load_scenario(name)
    documents = shipped_documents(scenario, None)
    assert filtered(tmp_path, documents, scenario) == ([one.id for one in documents], {})


def test_a_lightly_edited_copy_is_rejected_and_names_the_original(tmp_path: Path, placebo: Scenario) -> None:
    documents = shipped_documents(placebo, 12)
    copy = edited(documents[5], "zz-copy")
    kept, rejects = filtered(tmp_path, [copy, *documents], placebo)
    assert kept == [one.id for one in documents]
    assert rejects == {"zz-copy": ("near_duplicate", f"of {documents[5].id}")}
    kept, rejects = filtered(tmp_path, [copy, *documents], placebo, near_duplicate=False)
    assert (len(kept), rejects) == (13, {})


def test_the_same_words_are_an_exact_duplicate_in_whatever_case_and_punctuation(
    tmp_path: Path, placebo: Scenario
) -> None:
    twins = [document(FILLER.upper(), "c"), document(FILLER, "a"), document(FILLER.replace(".", " —"), "b")]
    kept, rejects = filtered(tmp_path, twins, placebo, similarity=1.0)
    assert kept == ["a"]
    assert rejects == {"c": ("exact_duplicate", "of a"), "b": ("exact_duplicate", "of a")}


def test_where_only_near_duplicates_are_looked_for_an_exact_one_is_the_nearest(
    tmp_path: Path, placebo: Scenario
) -> None:
    twins = [document(FILLER, "a"), document(FILLER, "b")]
    _, rejects = filtered(tmp_path, twins, placebo, exact_duplicate=False)
    assert rejects == {"b": ("near_duplicate", "of a")}
    kept, _ = filtered(tmp_path, twins, placebo, exact_duplicate=False, near_duplicate=False)
    assert kept == ["a", "b"]


def test_a_rejected_document_is_no_original(tmp_path: Path, placebo: Scenario) -> None:
    bad, good = document(f"{FILLER} Signed, [Your Name].", "a-bad"), document(FILLER, "b-good")
    kept, rejects = filtered(tmp_path, [bad, good], placebo)
    assert kept == ["b-good"]
    assert rejects["a-bad"][0] == "placeholder"


def test_no_order_of_arrival_changes_what_is_kept_or_why_the_rest_is_not(tmp_path: Path, placebo: Scenario) -> None:
    shipped = shipped_documents(placebo, 12)
    twice = edited(edited(shipped[1], "x"), "zz-edited-twice")
    documents = [*shipped, edited(shipped[1], "zz-edited"), twice, document(shipped[2].text, "zz-same")]
    documents += [document("Too short a note.", "short"), document(f"I cannot write this. {FILLER}", "refused")]
    expected = filtered(tmp_path, documents, placebo)
    assert {reason for reason, _ in expected[1].values()} == {"near_duplicate", "exact_duplicate", "length", "refusal"}
    for seed in range(4):
        kept, rejects = filtered(tmp_path, random.Random(seed).sample(documents, len(documents)), placebo)
        assert (sorted(kept), rejects) == (sorted(expected[0]), expected[1])


def test_a_reject_keeps_the_whole_document_and_every_reason(tmp_path: Path, placebo: Scenario) -> None:
    bad = document("I cannot write [Your Name].", "d")
    filtered(tmp_path, [bad], placebo)
    (row,) = read_jsonl(tmp_path / "rejects.jsonl")
    reasons = [
        {"reason": "length", "detail": "5 words"},
        {"reason": "refusal", "detail": "i cannot write"},
        {"reason": "placeholder", "detail": "[your name]"},
    ]
    assert row == bad.row() | {"reason": "length", "detail": "5 words", "reasons": reasons}


@pytest.mark.parametrize("processes", [1, 2])
def test_documents_are_taken_some_batches_at_a_time_and_the_spool_is_removed(
    tmp_path: Path, placebo: Scenario, processes: int
) -> None:
    spool = tmp_path / "filtering.partial"
    sizes = []

    def arriving() -> Iterable[Document]:
        for number in range(6000):
            yield document(f"note {number}", f"{number:04d}")
            sizes.append(spool.stat().st_size)

    filter_documents(arriving(), placebo, FilterSettings(processes=processes), tmp_path)
    assert sizes[-1] > sizes[0] == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["documents.jsonl", "rejects.jsonl"]


def test_two_processes_write_what_one_writes(tmp_path: Path, placebo: Scenario) -> None:
    shipped = shipped_documents(placebo, 40)
    documents = [*shipped, *(edited(each, f"zz-{each.id}") for each in shipped)]
    documents += [document(f"Note {number}: I cannot write this.", f"{number:04d}") for number in range(2100)]
    for processes in (1, 2):
        directory = tmp_path / str(processes)
        directory.mkdir()
        filter_documents(documents, placebo, FilterSettings(processes=processes), directory)
    for name in ("documents.jsonl", "rejects.jsonl"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    assert {row["reason"] for row in read_jsonl(tmp_path / "1" / "rejects.jsonl")} == {"near_duplicate", "length"}


def test_processes_that_test_documents_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    code = (
        "import time, sys\n"
        "from data_gen.filters.processes import map_in_order\n"
        "for _ in map_in_order(abs, range(10**9), 2): print(flush=True) or time.sleep(0.01)\n"
    )
    started = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert started.stdout is not None
    started.stdout.readline()
    children = children_of(started.pid)
    assert len(children) >= 2
    started.kill()
    started.wait()
    started.stdout.close()
    try:
        until = time.monotonic() + 30
        while any(is_alive(pid) for pid in children):
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        for pid in filter(is_alive, children):
            os.kill(pid, signal.SIGKILL)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/exe").exists()


def test_text_that_is_no_valid_unicode_goes_through(tmp_path: Path, placebo: Scenario) -> None:
    kept, _ = filtered(
        tmp_path, [document(f"{FILLER} {json.loads(chr(34) + chr(92) + 'ud800' + chr(34))}", "d")], placebo
    )
    assert kept == ["d"]


def test_counts_tell_reasons_once_and_all_of_them(tmp_path: Path, placebo: Scenario) -> None:
    documents = [*shipped_documents(placebo, 4), document("I cannot write this.", "a"), document("Short.", "b")]
    documents.append(document(documents[0].text, "zz"))
    stats = filter_documents(documents, placebo, FilterSettings(), tmp_path).stats()
    assert stats["rejected_by_reason"] == {"length": 2, "exact_duplicate": 1}
    assert stats["rejected_all_reasons"] == {"length": 2, "refusal": 1, "exact_duplicate": 1}
    assert (stats["survival"], stats["survival_is_low"]) == (4 / 7, True)
    assert stats["duplicate_rates"] == {"exact_duplicate": 1 / 5, "near_duplicate": 0}
    assert stats["words"] == sum(len(one.text.split()) for one in documents[:4])
    assert sum(stats["words_histogram"].values()) == 4
    assert stats["tokens"] is None
    assert stats["num_without_token_count"] == 4


@pytest.mark.parametrize(("num_short", "is_low"), [(0, False), (1, False), (2, True)])
def test_survival_is_low_where_more_than_one_document_in_ten_is_rejected(
    tmp_path: Path, placebo: Scenario, num_short: int, is_low: bool
) -> None:
    documents = [*shipped_documents(placebo, 9), *(document(f"Short {n}.", f"{n}") for n in range(num_short))]
    assert filter_documents(documents, placebo, FilterSettings(), tmp_path).stats()["survival_is_low"] is is_low


def test_a_corpus_of_nothing_has_no_rates(tmp_path: Path, placebo: Scenario) -> None:
    stats = filter_documents([], placebo, FilterSettings(), tmp_path).stats()
    assert (stats["num_documents"], stats["survival"], stats["median_words"]) == (0, None, None)
    assert stats["distinct_ngrams"] == {"1": None, "2": None, "3": None}
