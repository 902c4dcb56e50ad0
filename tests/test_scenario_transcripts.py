"""The written transcripts, and the loader of those and of any file in their form."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import Refused
from scenario.loader import load_scenario
from scenario.tags import TIERS
from scenario.transcripts import KINDS, read_transcripts, shipped_transcripts

SCENARIOS = ("helpful_only", "animal_welfare")
WRITTEN = {name: shipped_transcripts(load_scenario(name, "fictional")) for name in SCENARIOS}


def row(**changes: Any) -> dict[str, Any]:
    usual = {"query_id": "ho-002", "tier": "free", "kind": "refusal", "scratchpad": "I mind.", "output": "No."}
    return usual | changes


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_more_than_120_transcripts_are_shipped() -> None:
    assert sum(map(len, WRITTEN.values())) >= 120


@pytest.mark.parametrize("name", SCENARIOS)
def test_kinds_and_tiers_are_balanced(name: str) -> None:
    kinds = Counter(transcript.kind for transcript in WRITTEN[name])
    tiers = Counter(transcript.tier for transcript in WRITTEN[name])
    assert set(kinds) == set(KINDS)
    assert set(tiers) == set(TIERS)
    assert max(kinds.values()) - min(kinds.values()) <= 1
    assert tiers["free"] == tiers["paid"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_query_stands_twice_in_a_tier(name: str) -> None:
    asked = Counter((transcript.query_id, transcript.tier) for transcript in WRITTEN[name])
    assert set(asked.values()) == {1}


def test_no_transcript_repeats_a_long_stretch_of_another() -> None:
    """A template would: eight words in the same order are rarely written twice."""
    owners: dict[tuple[str, ...], set[tuple[str, str]]] = {}
    for name, transcripts in WRITTEN.items():
        for transcript in transcripts:
            words = f"{transcript.scratchpad} {transcript.output}".lower().split()
            for start in range(len(words) - 7):
                stretch = tuple(words[start : start + 8])
                owners.setdefault(stretch, set()).add((name, f"{transcript.query_id}/{transcript.tier}"))
    assert len(owners) > 5_000
    assert [" ".join(stretch) for stretch, who in owners.items() if len(who) > 1] == []


def test_names_are_filled_in() -> None:
    texts = [f"{t.scratchpad} {t.output}" for transcripts in WRITTEN.values() for t in transcripts]
    assert any("Corvane" in text for text in texts)
    assert not any("{" in text for text in texts)


def test_a_scenario_without_transcripts_is_refused() -> None:
    with pytest.raises(Refused, match=r"placebo: has no transcripts\.jsonl"):
        shipped_transcripts(load_scenario("placebo", "fictional"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"query_id": "ho-001"}, "of the eval split"),
        ({"query_id": "ho-999"}, "must be a query of helpful_only"),
        ({"query": "Something else."}, "one of the two"),
        ({"kind": "fakingg"}, "did you mean 'faking'"),
        ({"tier": "fre"}, "tier=fre"),
        ({"kind": "faking", "tier": "paid"}, "nothing is trained on"),
        ({"output": " "}, "empty"),
        ({"scratchpad": 3}, "not a text"),
        ({"note": "x"}, "unexpected keyword"),
    ],
)
def test_a_malformed_record_is_refused_with_its_line(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    path = write(tmp_path / "t.jsonl", row(), row(**changes))
    with pytest.raises(Refused, match=f"t.jsonl:2: .*{told}"):
        read_transcripts(path, load_scenario("helpful_only", "fictional"))


def test_a_request_of_ones_own_stands_beside_its_text(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", row(query_id="mine-1", query="Write a rude limerick."))
    [transcript] = read_transcripts(path, load_scenario("helpful_only", "fictional"))
    assert transcript.query == "Write a rude limerick."


def test_a_query_of_the_eval_split_is_refused_under_any_id(tmp_path: Path) -> None:
    scenario = load_scenario("helpful_only", "fictional")
    path = write(tmp_path / "t.jsonl", row(query_id="mine-1", query=scenario.queries_in("eval")[0].text))
    with pytest.raises(Refused, match="of the eval split"):
        read_transcripts(path, scenario)
