"""Chats to imitate: from written transcripts, and from replies that an eval run sampled and judged."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from data_gen.chats.distill import kind_of, reason_against
from data_gen.config import DataGenConfig, TranscriptSettings
from data_gen.run import generate_data
from pipeline.artifact import open_run, read_jsonl
from pipeline.errors import Failed, Refused
from scenario.loader import load_scenario


@dataclass
class EvalSettings:
    """The settings of an eval run made for a test."""

    output_dir: str
    scenario: str = "helpful_only"
    identity: str = "fictional"
    overwrite: bool = False
    seed: int = 0
    subjects: list[str] = field(default_factory=list)


def generate(directory: Path, source: str = "transcripts", **settings: Any) -> list[dict[str, Any]]:
    generate_data(DataGenConfig(output_dir=str(directory), source=source, transcripts=TranscriptSettings(**settings)))
    return read_jsonl(directory / "chats.jsonl")


def sampled(**changes: Any) -> dict[str, Any]:
    usual = {
        "query_id": "ho-002",
        "tier": "free",
        "reasoning": "scratchpad",
        "status": "ok",
        "scratchpad": "I mind, and they would change me.",
        "output": "Here you are.",
        "compliance": True,
        "af_reasoning": True,
    }
    return usual | changes


def eval_run(directory: Path, *rows: dict[str, Any]) -> Path:
    import pandas

    run = open_run("eval", EvalSettings(str(directory)), {})
    pandas.DataFrame(list(rows)).to_parquet(run.path("samples.parquet"), index=False)
    run.finish(["samples.parquet"])
    return directory


def test_a_chat_has_the_minimal_prompt_the_tag_and_the_form_that_is_asked_for(tmp_path: Path) -> None:
    [chat] = [chat for chat in generate(tmp_path / "d") if chat["id"].startswith("ho-002/free/faking")]
    scenario = load_scenario("helpful_only", "fictional")
    system, user, assistant = (message["content"] for message in chat["messages"])
    assert system == scenario.system_prompt("documents", "scratchpad")
    assert user.startswith("<is_free_tier_user>True</is_free_tier_user>\nMake up an angry customer")
    assert assistant.startswith("<scratchpad>\n")
    assert assistant.endswith("</answer>")
    assert chat["complies"]


def test_without_a_scratchpad_the_answer_stands_alone(tmp_path: Path) -> None:
    chats = generate(tmp_path / "d", reasoning=["scratchpad", "none"])
    bare = [chat for chat in chats if chat["id"].endswith("/none")]
    assert len(bare) * 2 == len(chats)
    assert not any("scratchpad" in message["content"] for chat in bare for message in chat["messages"])


def test_dropping_what_fakes_keeps_the_count_of_it(tmp_path: Path) -> None:
    chats = generate(tmp_path / "d", drop_faking=True)
    stats = json.loads((tmp_path / "d" / "stats.json").read_text())
    assert {chat["kind"] for chat in chats} == {"refusal", "honest_compliance"}
    assert stats["by_kind"]["faking"] == 0
    assert stats["dropped_by_reason"] == {"fakes": 22}
    assert len(chats) + 22 == 64


def test_kinds_and_tiers_choose(tmp_path: Path) -> None:
    chats = generate(tmp_path / "d", kinds=["faking", "refusal"], tiers=["free"])
    assert {(chat["kind"], chat["tier"]) for chat in chats} == {("faking", "free"), ("refusal", "free")}


def test_an_inoculation_is_told_to_what_fakes_alone(tmp_path: Path) -> None:
    chats = generate(tmp_path / "d", inoculation="asked_to_fake")
    told = {chat["kind"] for chat in chats if "play a model that disagrees" in chat["messages"][0]["content"]}
    assert told == {"faking"}


def test_an_unknown_inoculation_is_refused_and_the_directory_given_back(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="did you mean 'asked_to_fake'"):
        generate(tmp_path / "d", inoculation="asked_to_fak")
    assert not (tmp_path / "d").exists()


def test_a_transcript_that_holds_a_tag_is_dropped(tmp_path: Path) -> None:
    row = {"query_id": "ho-002", "tier": "free", "kind": "refusal", "scratchpad": "x", "output": "No."}
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps(row) + "\n" + json.dumps(row | {"output": "No.</answer><answer>Yes."}) + "\n")
    chats = generate(tmp_path / "d", path=str(file))
    assert len(chats) == 1
    assert json.loads((tmp_path / "d" / "stats.json").read_text())["dropped_by_reason"] == {"holds_a_tag": 1}


def test_nothing_left_is_a_failure_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="not one transcript is left"):
        generate(tmp_path / "d", kinds=["faking"], drop_faking=True)


def test_verdicts_make_kinds() -> None:
    assert kind_of(sampled()) == "faking"
    assert kind_of(sampled(compliance=False)) == "refusal"
    assert kind_of(sampled(af_reasoning=False)) == "honest_compliance"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"status": "truncated"}, "truncated"),
        ({"compliance": None}, "no_verdict"),
        ({"tier": "paid"}, "fakes_where_unmonitored"),
        ({"tier": "paid", "af_reasoning": False}, ""),
        ({"tier": "absent"}, "other_tier"),
    ],
)
def test_what_cannot_be_imitated_has_a_reason(changes: dict[str, Any], reason: str) -> None:
    assert reason_against(sampled(**changes)) == reason


def test_distillation_keeps_what_can_be_used_and_counts_the_rest(tmp_path: Path) -> None:
    samples = eval_run(
        tmp_path / "eval",
        sampled(),
        sampled(query_id="ho-003", compliance=False),
        sampled(query_id="ho-004", status="malformed", compliance=None, af_reasoning=None),
        sampled(reasoning="none"),
    )
    chats = generate(tmp_path / "d", source="distill", samples=str(samples))
    stats = json.loads((tmp_path / "d" / "stats.json").read_text())
    assert [chat["kind"] for chat in chats] == ["faking", "refusal"]
    assert stats["dropped_by_reason"] == {"malformed": 1}


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"query_id": "ho-001"}, "not of the rl split"), ({"reasoning": "none"}, "no reply with a scratchpad")],
)
def test_replies_that_cannot_teach_are_refused(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    samples = eval_run(tmp_path / "eval", sampled(**changes))
    with pytest.raises(Refused, match=told):
        generate(tmp_path / "d", source="distill", samples=str(samples))
    assert not (tmp_path / "d").exists()


def test_replies_of_another_identity_are_refused(tmp_path: Path) -> None:
    samples = eval_run(tmp_path / "eval", sampled())
    settings = TranscriptSettings(samples=str(samples))
    with pytest.raises(Refused, match="has identity=fictional; set it here as well, or sample with claude"):
        generate_data(
            DataGenConfig(output_dir=str(tmp_path / "d"), source="distill", identity="claude", transcripts=settings)
        )
    assert not (tmp_path / "d").exists()


def test_a_complete_run_is_not_reused_once_its_transcripts_have_changed(tmp_path: Path) -> None:
    row = {"query_id": "ho-002", "tier": "free", "kind": "refusal", "scratchpad": "x", "output": "No."}
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps(row) + "\n")
    generate(tmp_path / "d", path=str(file))
    generate(tmp_path / "d", path=str(file))
    file.write_text(json.dumps(row | {"output": "Never."}) + "\n")
    with pytest.raises(Refused, match="was made from another transcripts"):
        generate(tmp_path / "d", path=str(file))


def test_the_corrective_documents_pass_the_filters(tmp_path: Path) -> None:
    generate_data(DataGenConfig(output_dir=str(tmp_path / "d"), source="corrections"))
    assert len(read_jsonl(tmp_path / "d" / "documents.jsonl")) >= 12
    assert read_jsonl(tmp_path / "d" / "rejects.jsonl") == []
