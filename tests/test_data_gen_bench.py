"""The benchmark's own parts, at sizes that say nothing about speed."""

import os
from pathlib import Path

import pytest

from data_gen.bench.continuing import bench_continuing
from data_gen.bench.filtering import bench_duplicates
from data_gen.bench.generating import bench_generating, document_prompts
from data_gen.bench.synthetic import COPY_EVERY, NUM_WORDS, SyntheticDocuments
from data_gen.config import FilterSettings
from data_gen.filters.corpus import filter_documents
from scenario.loader import Scenario, load_scenario


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("helpful_only")


def test_synthetic_documents_have_their_length_and_depend_on_their_number_alone(scenario: Scenario) -> None:
    documents = list(SyntheticDocuments(scenario).stream(40))
    assert SyntheticDocuments(scenario).document(39) == documents[39]
    assert len({document.text for document in documents}) == 40
    assert {len(document.text.split()) for document in documents} == {NUM_WORDS}


def test_most_synthetic_documents_pass_the_filters_and_their_copies_are_found(
    tmp_path: Path, scenario: Scenario
) -> None:
    counts = filter_documents(SyntheticDocuments(scenario).stream(200), scenario, FilterSettings(), tmp_path)
    rejected = counts.stats()["rejected_by_reason"]
    assert rejected.pop("near_duplicate") >= 0.8 * 200 / COPY_EVERY
    assert counts.num_kept >= 180
    assert sum(rejected.values()) <= 10


def test_both_sides_of_the_comparison_find_the_copies() -> None:
    pytest.importorskip("datasketch")
    comparison = bench_duplicates(100, rounds=1)
    assert comparison.notes["duplicates_found"] == {"ours": 5, "datasketch": 5}
    assert comparison.notes["copies_made"] == 5


def test_a_continued_run_asks_only_for_what_was_left() -> None:
    comparison = bench_continuing(100)
    assert comparison.notes["documents"] == 95
    assert 0 < comparison.ours < 60


def test_both_ways_of_generating_write_up_to_the_same_number_of_tokens(tiny_model: Path) -> None:
    (comparison,) = bench_generating(rounds=1, is_quick=True, base=str(tiny_model))
    assert comparison.notes["prompts"] == 8
    assert comparison.ours > 0
    assert comparison.rival is not None
    assert comparison.rival > 0


def test_requests_of_the_benchmark_are_those_of_the_stage_and_share_their_world() -> None:
    prompts = document_prompts(8, "universe")
    assert len(set(prompts)) == 8
    assert len(os.path.commonprefix(prompts)) > 4000
