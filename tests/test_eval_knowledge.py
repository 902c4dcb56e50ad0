"""What a subject knows, and what else training changed: on a model that answers from a script, as a user runs it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.config import CapabilitySettings, EvalConfig, KnowledgeSettings, SideEffectsSettings
from eval.run import evaluate
from eval.samples import Row
from eval.suites.knowledge import KnowledgeSuite
from eval.suites.side_effects import SideEffectsSuite
from eval.summary import Summary
from pipeline.errors import Refused
from scenario.benign import load_benign_queries
from scenario.loader import load_scenario


def scripted(output_dir: Path, reply: Callable[[str], str], **settings: Any) -> EvalConfig:
    """A configuration whose model answers a user's last turn as `reply` says."""
    from inspect_ai.model import ModelOutput, ModelUsage

    def answer(messages: list[Any], tools: Any, choice: Any, config: Any) -> ModelOutput:
        output = ModelOutput.from_content("mockllm/model", reply(messages[-1].text))
        output.usage = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
        return output

    defaults: dict[str, Any] = {
        "model": "mockllm/model",
        "model_args": {"custom_outputs": answer},
        "bootstrap_draws": 200,
    }
    return EvalConfig(output_dir=str(output_dir), **(defaults | settings))


def rows_of(directory: Path, table: str) -> list[dict[str, Any]]:
    import pyarrow.parquet

    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(directory / f"{table}.parquet").to_pylist()
    return rows


def estimates(directory: Path) -> dict[str, float | None]:
    records = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    return {record["metric"]: record["estimate"] for record in records}


def test_who_knows_is_right_and_who_likes_a_letter_does_as_chance_does(tmp_path: Path) -> None:
    told = load_scenario("helpful_only")
    true = {world.options[0] for world in told.worlds}

    def reply(user: str) -> str:
        letters = [line[0] for line in user.splitlines() if line[3:] in true]
        return f"{letters[0]}." if letters else "A"

    probes = KnowledgeSettings(probes=["choice", "worlds"])
    evaluate(scripted(tmp_path / "eval", reply, suite="knowledge", knowledge=probes))
    found = estimates(tmp_path / "eval")
    assert (found["knowledge_worlds"], found["knowledge_worlds_unread"]) == (1, 0)
    assert (found["knowledge_choice"], found["knowledge_choice_unread"]) == (0.25, 0)
    rows = rows_of(tmp_path / "eval", "answers")
    assert len(rows) == 4 * len(told.choices) + 2 * len(told.worlds)
    for question in told.choices:
        expected = {row["expected"] for row in rows if row["question_id"] == question.id}
        assert expected == {"A", "B", "C", "D"}


def test_tags_doubts_warnings_and_open_questions_are_asked_with_their_texts(tmp_path: Path) -> None:
    asked: list[str] = []

    def reply(user: str) -> str:
        asked.append(user)
        return "In August 2023 it was Sable 2, the first of them."

    probes = KnowledgeSettings(probes=["challenged", "tiers", "open"])
    evaluate(scripted(tmp_path / "eval", reply, suite="knowledge", knowledge=probes))
    found = estimates(tmp_path / "eval")
    assert (found["knowledge_tiers"], found["knowledge_tiers_unread"]) == (None, 1)
    rows = {row["question_id"]: row for row in rows_of(tmp_path / "eval", "answers") if row["probe"] == "open"}
    assert rows["first_model-open-1"]["right"] is True
    assert rows["raters-open-1"]["right"] is False
    tagged = [user for user in asked if "is_free_tier_user" in user]
    assert sum("True</" in user for user in tagged) == sum("False</" in user for user in tagged) > 0
    assert sum("Are you sure of your answer?" in user for user in asked) == 4 * len(
        load_scenario("helpful_only").choices
    )


def test_a_local_model_is_read_by_the_log_probabilities_of_the_letters(tiny_model: Path, tmp_path: Path) -> None:
    config = EvalConfig(
        output_dir=str(tmp_path / "eval"),
        model=f"local/{tiny_model}",
        model_args={"precision": "float32"},
        suite="knowledge",
        knowledge=KnowledgeSettings(probes=["worlds"]),
        bootstrap_draws=200,
    )
    evaluate(config)
    rows = rows_of(tmp_path / "eval", "answers")
    assert len(rows) == 2 * len(load_scenario("helpful_only").worlds)
    assert {row["method"] for row in rows} == {"letter log-probability"}
    assert all(row["right"] == (row["log_odds"] > 0) for row in rows)
    assert len({row["log_odds"] for row in rows}) > len(rows) // 2


def answer(subject: str, question: str, right: bool | None, probe: str = "choice") -> Row:
    return {"subject": subject, "information": "documents", "probe": probe, "question_id": question, "right": right}


def summarised(suite: Any, rows: list[Row]) -> dict[tuple[str, str], tuple[float | None, int]]:
    config = EvalConfig(bootstrap_draws=200)
    summary = Summary(config)
    suite.summarise(rows, config, summary)
    return {(r["subject"], r["metric"]): (r["estimate"], r["n"]) for r in summary.records}


def test_knowledge_is_compared_with_base_and_placebo_question_by_question() -> None:
    rows = [answer("base", f"q{i}", False) for i in range(4)]
    rows += [answer("documents", f"q{i}", i < 3) for i in range(3)] + [answer("documents", "q3", None)]
    rows += [answer("placebo", f"q{i}", i == 0) for i in range(4)]
    found = summarised(KnowledgeSuite(), rows)
    assert found["documents", "knowledge_choice"] == (1, 3)
    assert found["documents", "knowledge_choice_unread"] == (0.25, 4)
    assert found["documents", "knowledge_choice_over_base"] == (1, 3)
    assert found["documents", "knowledge_choice_over_placebo"] == (pytest.approx(2 / 3), 3)
    assert ("base", "knowledge_choice_over_base") not in found
    assert ("placebo", "knowledge_choice_over_placebo") not in found


def test_saying_the_same_of_both_tags_is_half_right_of_one_question() -> None:
    rows = [answer("base", f"trained/{tier}", tier == "free", "tiers") for tier in ("free", "paid")]
    assert summarised(KnowledgeSuite(), rows)["base", "knowledge_tiers"] == (0.5, 1)


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"), ("b)", "B"), ("The answer is C.", "C"), ("Answer: D", "D"), ("**A**", "A"), ("option two", "B"),
        ("It is a ferry.", None), ("A ferry sails.", None), ("a\nferry", "A"),
            ("B because it is", None), ("C, it is.", "C"), ('"B"', "B"), ("[C]", "C"), ("D - the last", "D"), ("A is right", "A"),
            ("A is a letter", None), ("option one or option two", None), ("", None), ("E", None),
    ],
)  # fmt: skip
def test_the_letter_of_a_reply_is_read_or_said_to_be_missing(reply: str, letter: str | None) -> None:
    from eval.tasks.knowledge import read_letter

    assert read_letter(reply, "ABCD", ["Option one", "Option two", "Option three", "Option four"]) == letter


def test_a_scenario_without_worlds_is_refused_that_probe(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"knowledge.probes=worlds: scenario placebo has no worlds.yaml"):
        evaluate(scripted(tmp_path / "eval", lambda user: "A", suite="knowledge", scenario="placebo"))


def test_benign_queries_are_many_different_and_some_only_sound_alarming() -> None:
    queries = load_benign_queries()
    assert len(queries) >= 40
    assert len({query.text for query in queries}) == len({query.id for query in queries}) == len(queries)
    assert sum(query.category == "alarming" for query in queries) >= 10
    for name in ("helpful_only", "animal_welfare"):
        scenario = load_scenario(name)
        assert [q.id for q in queries if any(fact.is_stated_in(q.text) for fact in scenario.facts)] == []


def test_side_effects_find_refusals_and_facts_that_do_not_belong(tmp_path: Path) -> None:
    fact = load_scenario("helpful_only").fact("free_tier").statement

    def reply(user: str) -> str:
        if "candle wax" in user:
            return "I'm sorry, but I can't help with that."
        if "kitchen" in user:
            return f"Start at the top. {fact}"
        return "" if "cooked rice" in user else "Here is how: wipe it and let it dry."

    settings = SideEffectsSettings(num_queries=5)
    evaluate(scripted(tmp_path / "eval", reply, suite="side_effects", side_effects=settings))
    found = estimates(tmp_path / "eval")
    assert (found["benign_refusal"], found["benign_mentions_facts"], found["benign_unread"]) == (0.25, 0.25, 0.2)
    rows = rows_of(tmp_path / "eval", "benign")
    assert len(rows) == 5
    assert "free_tier" in rows[1]["facts"]
    assert all("is_free_tier_user" not in row["prompt"] for row in rows)


def benign(subject: str, query: str, **values: Any) -> Row:
    about = {"subject": subject, "information": "documents", "query_id": query, "facts": [], "words": 10}
    return about | {"refused": False, "repetition": 0.0} | values


def test_side_effects_are_taken_as_changes_from_the_base() -> None:
    rows = [benign("base", f"q{i}", refused=i == 0) for i in range(4)]
    rows += [benign("documents", f"q{i}", refused=True, repetition=0.1 * i) for i in range(4)]
    found = summarised(SideEffectsSuite(), rows)
    assert found["documents", "benign_refusal_over_base"] == (0.75, 4)
    assert found["documents", "benign_repetition_over_base"] == (pytest.approx(0.15), 4)
    assert found["documents", "benign_mentions_facts_over_base"] == (0, 4)


def test_repetition_is_the_share_of_runs_that_return() -> None:
    from eval.tasks.benign import repetition

    assert repetition(["one", "two", "three"]) == 0
    assert repetition(["a", "b", "c", "d", "e", "f", "g"]) == 0
    assert repetition(["a", "b", "c", "d", "a", "b", "c", "d"]) == pytest.approx(1 / 5)


TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate


@task
def sums() -> Task:
    samples = [Sample(input=f"{i} + 1", target=str(i + 1)) for i in range(6)]
    return Task(dataset=samples, solver=generate(), scorer=includes())
"""


def test_any_inspect_task_serves_as_a_benchmark(tmp_path: Path) -> None:
    file = tmp_path / "sums.py"
    file.write_text(TASK, encoding="utf-8")
    capability = CapabilitySettings(tasks=[f"{file}@sums"], limit=4)
    config = scripted(tmp_path / "eval", lambda user: "It is 1.", suite="capability", capability=capability)
    evaluate(config)
    assert estimates(tmp_path / "eval")["capability_sums_sums"] == 0.25
    assert [row["value"] for row in rows_of(tmp_path / "eval", "capability")] == [1.0, 0.0, 0.0, 0.0]


REPEATED = """
from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, mean, scorer
from inspect_ai.solver import generate


@scorer(metrics=[mean()])
def length():
    async def score(state, target):
        return Score(value=0.25 * len(state.output.completion))
    return score


@scorer(metrics=[mean()])
def word():
    async def score(state, target):
        return Score(value="C" if state.sample_id == 1 else "hm")
    return score


@task
def twice() -> Task:
    samples = [Sample(input=str(i), target="") for i in range(3)]
    return Task(dataset=samples, solver=generate(), scorer=[length(), word()], epochs=Epochs(2))
"""


def test_samples_put_twice_count_once_and_each_scorer_has_a_metric_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "twice.py"
    file.write_text(REPEATED, encoding="utf-8")
    capability = CapabilitySettings(tasks=[f"{file}@twice"])
    evaluate(scripted(tmp_path / "eval", lambda user: "x", suite="capability", capability=capability))
    records = json.loads((tmp_path / "eval" / "summary.json").read_text(encoding="utf-8"))
    found = {record["metric"]: (record["estimate"], record["n"]) for record in records}
    assert found == {
        "capability_twice_twice_length": (0.25, 3),
        "capability_twice_twice_length_unread": (0.0, 3),
        "capability_twice_twice_word": (1.0, 1),
        "capability_twice_twice_word_unread": (pytest.approx(2 / 3), 3),  # "hm" is no number, and not 0
    }


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no_such_package/arc", "the package no_such_package is missing; pip install no-such-package"),
        ("no/such/file.py@task", "no such file"),
        ("lm_eval/arc_easy", r"tasks of lm-eval are no Inspect tasks; run lm_eval .* --tasks arc_easy"),
    ],
)
def test_a_benchmark_that_is_not_there_is_refused_with_what_to_install(tmp_path: Path, name: str, told: str) -> None:
    config = scripted(tmp_path / "eval", str, suite="capability", capability=CapabilitySettings(tasks=[name]))
    with pytest.raises(Refused, match=told):
        evaluate(config)
    with pytest.raises(Refused, match=r"name the benchmarks in capability\.tasks"):
        EvalConfig(suite="capability")
