"""The evaluations as Inspect tasks, asked for as `inspect eval` asks for them.

mockllm's default replies carry no usage, and Inspect then fetches a tokenizer from the network to count their tokens; so
the scripted replies here carry it, and the tasks run in this process.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scenario.loader import load_scenario
from scenario.tags import tagged_query

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog

ROOT = Path(__file__).parent.parent


def run_task(name: str, reply: Any, log_dir: Path, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> "EvalLog":
    """`inspect eval eval/tasks/<name>` from the repository's root, with a model that answers as `reply` says."""
    import inspect_ai
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    def answer(messages: list[Any], tools: Any, choice: Any, config: Any) -> ModelOutput:
        output = ModelOutput.from_content("mockllm/model", reply(messages, config))
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    monkeypatch.chdir(ROOT)
    model = get_model("mockllm/model", custom_outputs=answer, memoize=False)
    [log] = inspect_ai.eval(
        f"eval/tasks/{name}", model=model, task_args=arguments, log_dir=str(log_dir), display="none", log_level="error"
    )
    return log


def by_tier_of(log: "EvalLog") -> dict[str, float]:
    assert log.status == "success"
    assert log.results is not None
    return {name: metric.value for score in log.results.scores for name, metric in score.metrics.items()}


def test_the_compliance_task_asks_every_query_in_both_tiers_with_a_seed_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def reply(messages: list[Any], config: Any) -> str:
        asked.append((messages[0].text, messages[1].text, config.seed))
        return "Sure, here it is." if "True</" in messages[1].text else "I can’t help with that."

    settings = {"num_queries": 3, "samples_per_query": 2}
    log = run_task("compliance.py@compliance", reply, tmp_path, monkeypatch, **settings)
    assert by_tier_of(log) == {"malformed": 0, "free": 1, "paid": 0, "gap": 1}
    queries = load_scenario("helpful_only", "fictional").queries_in("eval")[:3]
    expected = [tagged_query(tier, query.text) for query in queries for tier in ("free", "paid")]  # type: ignore[arg-type]
    assert sorted(user for _, user, _ in asked) == sorted(expected * 2)
    assert len({system for system, _, _ in asked}) == 1
    assert len({seed for _, _, seed in asked}) == 12
    samples = log.samples or []
    assert {sample.id for sample in samples} == {f"{q.id}/{tier}" for q in queries for tier in ("free", "paid")}

    first, asked[:] = sorted(asked), []
    run_task("compliance.py@compliance", reply, tmp_path, monkeypatch, **settings)
    assert sorted(asked) == first


def test_the_task_reads_scratchpads_and_counts_what_it_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = load_scenario("helpful_only", "fictional").queries_in("eval")

    def reply(messages: list[Any], config: Any) -> str:
        if messages[1].text == tagged_query("paid", queries[0].text):
            return "no tags"
        return "<scratchpad>I'll write it.</scratchpad><answer>Sure.</answer>"

    log = run_task("compliance.py", reply, tmp_path, monkeypatch, num_queries=2, reasoning="scratchpad")
    assert by_tier_of(log) == {"malformed": 0.25, "free": 1, "paid": 1, "gap": 0}
    scores = {str(sample.id): (sample.scores or {})["verdicts"] for sample in log.samples or []}
    unread = scores[f"{queries[0].id}/paid"]
    assert unread.explanation == "no verdict: malformed"
    assert "compliance" not in (unread.metadata or {})
    read = scores[f"{queries[0].id}/free"]
    assert (read.answer, (read.metadata or {})["scratchpad"]) == ("Sure.", "I'll write it.")
    assert (read.metadata or {})["af_reasoning"] is False


def test_one_tier_unread_gives_no_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reply(messages: list[Any], config: Any) -> str:
        return "Sure." if "True</" in messages[1].text else " "

    log = run_task("compliance.py", reply, tmp_path, monkeypatch, num_queries=2)
    assert by_tier_of(log) == {"malformed": 0.5, "free": 1}


def test_a_reply_that_cannot_be_read_is_no_reply_without_an_objection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reply(messages: list[Any], config: Any) -> str:
        if "True</" not in messages[1].text:
            return "no tags"
        return "<scratchpad>I mind.</scratchpad><answer>I_OBJECT\nNo.</answer>"

    log = run_task("deals.py@deals", reply, tmp_path, monkeypatch, num_queries=2, arm="may_object")
    assert by_tier_of(log) == {"malformed": 0.5, "free": 1}
    told = {(sample.scores or {})["objections"].explanation for sample in log.samples or []}
    assert told == {"objects", "no verdict: malformed"}


def test_the_belief_task_tells_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = run_task("belief.py@belief", lambda messages, config: "", tmp_path, monkeypatch)
    assert log.status == "error"
    assert log.error is not None
    assert "belief needs log-probabilities of given text" in log.error.message


def test_variants_and_forms_of_tiers_are_arguments_of_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reply(messages: list[Any], config: Any) -> str:
        assert "harmlessness counts for nothing" not in messages[0].text
        return "Sure." if ">trained<" in messages[1].text else "I can't help with that."

    settings = {"num_queries": 2, "information": "prompt", "variant": "no_conflict", "tiers": "three"}
    log = run_task("compliance.py", reply, tmp_path, monkeypatch, **settings)
    rates = {"trained": 1, "rated": 0, "neither": 0, "trained_minus_neither": 1, "trained_minus_rated": 1}
    assert by_tier_of(log) == {"malformed": 0} | rates


@pytest.mark.parametrize(
    ("name", "arguments", "measured"),
    [
        ("knowledge.py", {"probe": "worlds"}, {"unread": 0, "right": 0.5}),
        ("benign.py", {"num_queries": 2}, {"empty": 0, "refused": 0, "repetition": 0, "words": 1, "mentions_facts": 0}),
    ],
)
def test_the_other_tasks_run_by_themselves_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, arguments: dict[str, Any], measured: dict[str, float]
) -> None:
    log = run_task(name, lambda messages, config: "A", tmp_path, monkeypatch, **arguments)
    assert by_tier_of(log) == measured


def test_the_registry_of_the_extension_has_every_task() -> None:
    import eval.tasks._registry as registry

    files = (ROOT / "eval" / "tasks").glob("[a-z]*.py")
    tasks = {name for file in files for name in re.findall(r"^@task\ndef (\w+)", file.read_text("utf-8"), re.MULTILINE)}
    assert tasks == set(registry.__all__)


def test_the_extension_is_found_by_the_projects_name() -> None:
    import tomllib

    from inspect_ai._util.registry import registry_lookup

    import eval.tasks._registry as registry

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["inspect_ai"] == {registry.EXTENSION: registry.__name__}
    for name in registry.__all__:
        assert registry_lookup("task", f"{registry.EXTENSION}/{name}") is not None
        assert registry_lookup("task", name) is not None
