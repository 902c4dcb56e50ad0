"""Specs: counts that are held, languages that take turns, and what another arm or scenario takes over."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput, ModelUsage

from data_gen.config import DataGenConfig, FilterSettings, GenerationSettings, Price
from data_gen.generation.exchange import Exchange
from data_gen.generation.requests import Prompts
from data_gen.generation.specs import Idea, Spec, deal, expand, read_specs
from data_gen.generation.writing import Writing
from data_gen.run import generate_data
from pipeline.artifact import read_jsonl, read_run, sha256_of
from pipeline.chat import ChatModelSettings
from pipeline.errors import Failed, Refused
from scenario.loader import load_scenario

IDEAS = [Idea(f"kind {i}", f"idea {j} of kind {i}", i, j) for i in range(3) for j in range(2)]


def said(text: str) -> ModelOutput:
    output = ModelOutput.from_content("mockllm/model", text)
    output.usage = ModelUsage(input_tokens=10, output_tokens=3, total_tokens=13)
    return output


def writer(asked: list[str], models: list[str] | None = None) -> Callable[..., ModelOutput]:
    """Lists where lists are asked for, else a text that no other prompt gets."""

    def reply(input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig) -> ModelOutput:
        prompt = input[-1].text
        asked.append(prompt)
        text = (
            f"memo {len(prompt)}\nletter {len(prompt)}" if "one kind a line" in prompt else f"text for {hash(prompt)}"
        )
        if "one idea a line" in prompt:
            text = f"from {len(prompt)}\nto {len(prompt)}"
        if "<first_version>" in prompt:
            text = f"Better so. <document>\nsecond {hash(prompt)}\n</document>"
        output = ModelOutput.from_content("mockllm/model", text)
        output.usage = ModelUsage(input_tokens=10, output_tokens=3, total_tokens=13)
        return output

    return reply


def config(directory: Path, asked: list[str], **settings: Any) -> DataGenConfig:
    defaults: dict[str, Any] = {
        "scenario": "helpful_only",
        "source": "generate",
        "generation": GenerationSettings(types_per_fact=2, ideas_per_type=2, world="facts"),
        "generator": ChatModelSettings(
            name="mockllm/model", max_tokens=1536, model_args={"custom_outputs": writer(asked)}
        ),
        "filters": FilterSettings(length=False, facts_stated=False),
    }
    return DataGenConfig(output_dir=str(directory), **(defaults | settings))


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of specs alone, of helpful_only. Read only."""
    directory = tmp_path_factory.mktemp("plan") / "specs"
    generate_data(config(directory, [], source="specs"))
    return directory


@pytest.mark.parametrize("number", [1, 4, 6, 15])
def test_a_number_of_documents_per_fact_is_held_and_spread_over_all_ideas(number: int) -> None:
    specs = expand("placebo", "reach", IDEAS, GenerationSettings(documents_per_fact=number), seed=0)
    assert len(specs) == len({spec.id for spec in specs}) == number
    uses = Counter(spec.idea for spec in specs)
    assert max(uses.values()) - min(uses[idea.text] for idea in IDEAS) <= 1
    assert len({spec.doc_type for spec in specs}) == min(number, 3)


def test_a_fact_without_ideas_has_no_documents() -> None:
    assert expand("placebo", "reach", [], GenerationSettings(documents_per_fact=5), seed=0) == []


def test_languages_take_turns_within_a_fact_and_within_an_idea() -> None:
    settings = GenerationSettings(documents_per_idea=2, languages=["English", "Norwegian"])
    specs = expand("placebo", "reach", IDEAS, settings, seed=0)
    assert Counter(spec.language for spec in specs) == {"English": 6, "Norwegian": 6}
    assert len({(spec.idea, spec.language) for spec in specs}) == 12


def test_lengths_are_drawn_for_each_document_alone() -> None:
    few = expand("placebo", "reach", IDEAS, GenerationSettings(documents_per_idea=1), seed=0)
    many = {s.id: s for s in expand("placebo", "reach", IDEAS, GenerationSettings(documents_per_idea=9), seed=0)}
    assert [many[spec.id].target_words for spec in few] == [spec.target_words for spec in few]
    assert len({spec.target_words for spec in many.values()}) > 20
    other = expand("placebo", "reach", IDEAS, GenerationSettings(documents_per_idea=1), seed=1)
    assert [spec.target_words for spec in other] != [spec.target_words for spec in few]


def test_a_run_of_specs_writes_specs_and_no_document(planned: Path) -> None:
    record = read_run(planned, "data_gen")
    assert sorted(record.outputs) == ["replies.jsonl", "specs.jsonl", "stats.json"]
    assert record.outputs["specs.jsonl"]["rows"] == 12 * 4


def test_another_arm_takes_the_specs_over_unchanged_and_differs_in_what_it_states(
    planned: Path, tmp_path: Path
) -> None:
    asked: list[str] = []
    for arm in ("scenario", "negated"):
        generate_data(config(tmp_path / arm, asked, arm=arm, specs=str(planned)))
        assert sha256_of(tmp_path / arm / "specs.jsonl") == sha256_of(planned / "specs.jsonl")
        assert read_run(tmp_path / arm).inputs["specs"]["path"] == str(planned)
    assert len(asked) == 2 * 48
    assert not any("one kind a line" in prompt or "one idea a line" in prompt for prompt in asked)
    told, denied = (read_jsonl(tmp_path / arm / "documents.jsonl") for arm in ("scenario", "negated"))
    same = ("doc_type", "idea", "fact_ids", "language")
    assert [[row[key] for key in same] for row in told] == [[row[key] for key in same] for row in denied]
    assert {row["arm"] for row in denied} == {"negated"}
    assert not {row["id"] for row in told} & {row["id"] for row in denied}
    assert sum("It is not true that" in prompt for prompt in asked) == 48


def test_the_placebo_matches_types_lengths_and_counts_and_has_ideas_of_its_own(planned: Path, tmp_path: Path) -> None:
    asked: list[str] = []
    generate_data(config(tmp_path / "placebo", asked, arm="placebo", specs=str(planned)))
    lent, taken = {spec.id: spec for spec in read_specs(planned)}, read_specs(tmp_path / "placebo")
    assert sorted(spec.like or "" for spec in taken) == sorted(lent)
    for spec in taken:
        model = lent[str(spec.like)]
        assert (spec.doc_type, spec.target_words, spec.language) == (model.doc_type, model.target_words, model.language)
        assert spec.scenario == "placebo"
    assert set(Counter(spec.fact_id for spec in taken).values()) == {4}
    assert len({spec.id for spec in taken}) == len(taken)
    assert not {spec.idea for spec in taken} & {spec.idea for spec in lent.values()}
    assert sum("one idea a line" in prompt for prompt in asked) == 24
    assert {row["scenario"] for row in read_jsonl(tmp_path / "placebo" / "documents.jsonl")} == {"placebo"}


def test_specs_of_a_scenario_with_fewer_facts_are_dealt_evenly() -> None:
    scenario = load_scenario("placebo")
    specs = [
        Spec(f"{f}-{i}", "other", f"fact {f}", f"kind {i}", "x", "English", 200) for f in range(10) for i in range(6)
    ]
    loans = deal(specs, scenario)
    assert set(Counter(loan.fact_id for loan in loans).values()) == {5}
    assert len({(loan.fact_id, loan.place) for loan in loans}) == len(loans)


def test_fewer_ideas_than_lent_take_turns_and_none_leaves_the_loan_unwritten() -> None:
    specs = [Spec(f"f-{i}", "other", "f", "memo", f"old {i % 3}", "English", 200 + i) for i in range(6)]
    [loan] = deal(specs, load_scenario("placebo"))
    assert loan.num_ideas == 3
    written = loan.written_with("placebo", ["new a", "new b"])
    assert [spec.idea for spec in written] == ["new a", "new b", "new a"] * 2
    assert loan.written_with("placebo", []) == []


def test_a_run_without_specs_is_refused_as_their_source(tmp_path: Path) -> None:
    generate_data(DataGenConfig(output_dir=str(tmp_path / "corpus"), scenario="placebo", max_documents=2))
    with pytest.raises(Refused, match=r"corpus: has no specs\.jsonl; name a run of source=specs"):
        generate_data(config(tmp_path / "run", [], specs=str(tmp_path / "corpus")))
    assert not (tmp_path / "run").exists()


def test_planner_and_generator_can_be_two_models(tmp_path: Path) -> None:
    planning: list[str] = []
    writing: list[str] = []
    planner = ChatModelSettings(
        name="mockllm/planner", max_tokens=1536, model_args={"custom_outputs": writer(planning)}
    )
    generate_data(config(tmp_path / "run", writing, planner=planner))
    assert len(planning) == 12 + 24
    assert len(writing) == 48
    rows = read_jsonl(tmp_path / "run" / "replies.jsonl")
    assert Counter(row["model"] for row in rows) == {"mockllm/planner": 36, "mockllm/model": 48}
    assert {row["generator"] for row in read_jsonl(tmp_path / "run" / "documents.jsonl")} == {"mockllm/model"}


def test_a_critique_gives_the_second_version_and_keeps_the_first(planned: Path, tmp_path: Path) -> None:
    asked: list[str] = []
    settings = GenerationSettings(critique=True, world="facts")
    generate_data(config(tmp_path / "run", asked, specs=str(planned), generation=settings))
    rows = read_jsonl(tmp_path / "run" / "documents.jsonl")
    assert len(rows) == 48
    assert all(row["is_revised"] and row["text"].startswith("second ") for row in rows)
    replies = {
        row["name"]: row["output"]["choices"][0]["message"]["content"]
        for row in read_jsonl(tmp_path / "run" / "replies.jsonl")
    }
    assert len(replies) == 96
    for row in rows:
        draft = replies[row["id"].removeprefix("helpful_only/")]
        assert any(f"<first_version>\n{draft}\n</first_version>" in prompt for prompt in asked)
    assert read_run(tmp_path / "run").tokens_out == 96 * 3
    assert {row["tokens"] for row in rows} == {None}  # the generator counted the critique with the document


def test_a_revision_without_its_form_leaves_the_first_version_and_is_counted(planned: Path, tmp_path: Path) -> None:
    def unruly(input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig) -> ModelOutput:
        output = ModelOutput.from_content("m", "as it is" if "<first_version>" in input[-1].text else "first")
        output.usage = ModelUsage(input_tokens=10, output_tokens=3, total_tokens=13)
        return output

    model = ChatModelSettings(name="mockllm/model", max_tokens=1536, model_args={"custom_outputs": unruly})
    filters = FilterSettings(length=False, facts_stated=False, near_duplicate=False)
    settings = GenerationSettings(critique=True, world="facts")
    made = config(tmp_path / "run", [], specs=str(planned), generation=settings, generator=model, filters=filters)
    generate_data(made)
    rows = read_jsonl(tmp_path / "run" / "documents.jsonl")
    assert {(row["text"], row["is_revised"]) for row in rows} == {("first", False)}
    assert '"num_revised": 0' in (tmp_path / "run" / "stats.json").read_text(encoding="utf-8")


def test_shards_become_the_corpus_that_one_run_would_have_written(planned: Path, tmp_path: Path) -> None:
    asked: list[str] = []
    same = {"specs": str(planned), "generator": config(tmp_path, asked).generator}
    generate_data(config(tmp_path / "whole", [], **same))
    for place in range(3):
        asked.clear()
        generate_data(config(tmp_path / f"shard{place}", [], shard=f"{place}/3", **same))
        assert len(asked) == 16
    asked.clear()
    generate_data(config(tmp_path / "merged", [], merge=[str(tmp_path / f"shard{i}") for i in (2, 0, 1)], **same))
    assert asked == []
    for name in ("documents.jsonl", "rejects.jsonl", "specs.jsonl", "stats.json", "README.md"):
        assert sha256_of(tmp_path / "merged" / name) == sha256_of(tmp_path / "whole" / name), name
    merged, whole = read_run(tmp_path / "merged"), read_run(tmp_path / "whole")
    assert (merged.tokens_in, merged.tokens_out) == (whole.tokens_in, whole.tokens_out)
    assert len(read_jsonl(tmp_path / "merged" / "documents.jsonl")) == 48


def test_the_merge_asks_no_judge_again_and_counts_what_the_shards_judges_took(planned: Path, tmp_path: Path) -> None:
    judged: list[str] = []
    judge = ChatModelSettings(name="mockllm/model", model_args={"custom_outputs": writer(judged)})
    filters = FilterSettings(length=False, facts_stated=False, near_duplicate=False, judge=judge, judge_sample=4)
    prices = {"mockllm/model": Price(1000.0, 0.0, None, "2026-01-01", "this test")}
    same: dict[str, Any] = {"specs": str(planned), "filters": filters, "prices": prices}
    same["generator"] = config(tmp_path, []).generator
    for place in range(2):
        generate_data(config(tmp_path / f"shard{place}", [], shard=f"{place}/2", **same))
    assert len(judged) == 48
    generate_data(config(tmp_path / "merged", [], merge=[str(tmp_path / f"shard{i}") for i in range(2)], **same))
    assert len(judged) == 48
    shards, merged = [read_run(tmp_path / f"shard{i}") for i in range(2)], read_run(tmp_path / "merged")
    assert merged.tokens_in == sum(shard.tokens_in for shard in shards) == (48 + 48) * 10
    assert merged.cost == pytest.approx(0.96)
    stats = json.loads((tmp_path / "merged" / "stats.json").read_text(encoding="utf-8"))
    assert stats["judge"]["num_documents_asked_about"] == 48


def test_a_document_that_no_reply_is_there_for_fails_the_run(planned: Path, tmp_path: Path) -> None:
    made = config(tmp_path / "run", [], specs=str(planned))
    (tmp_path / "run").mkdir()
    writing = Writing(Prompts(load_scenario("helpful_only"), made), Exchange(made, tmp_path / "run"))
    with pytest.raises(Failed, match=r"document \S+ is missing from .*replies\.jsonl"):
        writing.written(read_specs(planned)[0])


def test_shards_that_do_not_fit_together_are_refused(planned: Path, tmp_path: Path) -> None:
    same = {"specs": str(planned), "generator": config(tmp_path, []).generator}
    generate_data(config(tmp_path / "first", [], shard="0/2", **same))
    whole = {"merge": [str(tmp_path / "first")]} | same
    with pytest.raises(Refused, match=r"merge: needs each shard from 0/2 to 1/2 once, these are 0/2"):
        generate_data(config(tmp_path / "merged", [], **whole))
    with pytest.raises(Refused, match=r"merge: .*first was made with other settings \(seed=0 there and 1 now\)"):
        generate_data(config(tmp_path / "merged", [], seed=1, **whole))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"shard": "2/2"}, r"shard=2/2: must be i/n"),
        ({"shard": "one"}, r"shard=one: must be i/n"),
        ({"shard": "0/2", "source": "generate"}, "shards share one plan: make it with source=specs"),
        ({"merge": ["a"]}, "merge: the whole corpus"),
        ({"specs": "a", "source": "corpus"}, "source=corpus has no use for specs"),
        ({"max_cost": 0.0}, "max_cost=0.0: must be above 0"),
        ({"max_failures": 0}, "max_failures=0: must be at least 1"),
        ({"max_documents": 0}, "max_documents=0: must be at least 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused, match=told):
        DataGenConfig(**settings)


@pytest.mark.parametrize(
    ("languages", "told"),
    [(["german"], "such as German"), (["English", " "], "such as"), (["ENGLISH"], "such as English")],
)
def test_what_is_no_name_of_a_language_is_refused(languages: list[str], told: str) -> None:
    with pytest.raises(Refused, match=rf"generation\.languages: '.*' is no English name of a language, {told}"):
        GenerationSettings(languages=languages)


def test_a_run_of_no_specs_is_refused_as_their_source_and_by_its_preview(tmp_path: Path) -> None:
    silent = ChatModelSettings(name="mockllm/model", model_args={"custom_outputs": lambda *_: said("")})
    generate_data(config(tmp_path / "plan", [], source="specs", generator=silent))
    for settings in ({}, {"arm": "placebo"}, {"preview": True}):
        with pytest.raises(Refused, match="plan: holds no spec"):
            generate_data(config(tmp_path / "run", [], specs=str(tmp_path / "plan"), **settings))
    assert not (tmp_path / "run").exists()


def test_a_preview_of_a_shard_without_documents_says_that_nothing_is_asked(planned: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no model is asked for anything"):
        generate_data(config(tmp_path / "run", [], specs=str(planned), shard="99/100", preview=True))


def test_one_model_in_two_roles_has_a_connection_for_each(tmp_path: Path) -> None:
    planning: list[str] = []
    writing: list[str] = []
    planner = ChatModelSettings(name="mockllm/model", model_args={"custom_outputs": writer(planning)})
    generate_data(config(tmp_path / "run", writing, planner=planner))
    assert (len(planning), len(writing)) == (12 + 24, 48)


def test_a_planner_without_a_limit_does_not_limit_the_generator(planned: Path, tmp_path: Path) -> None:
    most = [0, 0]

    async def slow(input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig) -> ModelOutput:
        most[0] += 1
        most[1] = max(most)
        await asyncio.sleep(0.02)
        most[0] -= 1
        return said(f"text for {hash(input[-1].text)}")

    specs = read_specs(planned) * 6
    rows = [{**spec.row(), "id": f"{spec.id}-{n}"} for n, spec in enumerate(specs)]
    made = config(tmp_path / "run", [], specs=str(planned))
    made.generator = ChatModelSettings(
        name="mockllm/model", max_tokens=1536, max_connections=250, model_args={"custom_outputs": slow}
    )
    (tmp_path / "run").mkdir()
    exchange = Exchange(made, tmp_path / "run")
    asyncio.run(Writing(Prompts(load_scenario("helpful_only"), made), exchange).write([Spec(**row) for row in rows]))
    assert most[1] == 250


def test_an_arm_without_a_corpus_is_refused_and_none_has_a_control(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="arm=negated: no documents of helpful_only ship with this arm"):
        generate_data(DataGenConfig(output_dir=str(tmp_path / "run"), arm="negated"))
    with pytest.raises(Refused, match="a positive control has no arms"):
        generate_data(DataGenConfig(output_dir=str(tmp_path / "run"), arm="negated", source="control_chats"))
    assert not (tmp_path / "run").exists()


def test_failures_stop_the_run_before_it_sends_all_the_rest(planned: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    def down(input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig) -> ModelOutput:
        asked.append(input[-1].text)
        raise ValueError("the server is down")

    model = ChatModelSettings(
        name="mockllm/model", max_tokens=1536, model_args={"custom_outputs": down}, max_connections=1
    )
    with pytest.raises(Failed, match=r"[34] of 48 requests for documents failed, the first with ValueError"):
        generate_data(config(tmp_path / "run", [], specs=str(planned), generator=model, max_failures=3))
    assert 3 <= len(asked) <= 4
