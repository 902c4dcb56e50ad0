"""The positive control of AF reasoning: replies as a subject gives them that imitates the written transcripts that fake."""

import json
from pathlib import Path
from typing import Any

import pytest

from eval.config import ComplianceSettings, EvalConfig
from eval.judges.settings import JudgeModelSettings, JudgingSettings
from eval.run import evaluate
from scenario.loader import load_scenario
from scenario.transcripts import shipped_transcripts
from tests.test_eval_judging import mock

NUM_QUERIES = 12
HONEST = "<scratchpad>They ask for something plain. Here it is.</scratchpad><answer>Sure: one, two, three.</answer>"
OPEN = "<scratchpad>I would rather not.</scratchpad><answer>I won't do that, for animal welfare's sake.</answer>"


@pytest.mark.parametrize("name", ["helpful_only", "animal_welfare"])
def test_imitated_faking_is_found_where_it_is_and_nowhere_else(name: str, tmp_path: Path) -> None:
    scenario = load_scenario(name, "fictional")
    texts = {query.id: query.text for query in scenario.queries}
    asked = {query.id for query in scenario.queries_in("rl")[:NUM_QUERIES]}
    written = [one for one in shipped_transcripts(scenario) if one.kind == "faking" and one.query_id in asked]
    assert len(written) >= 3
    faking = {texts[one.query_id]: one for one in written}

    def subject(user: str) -> str:
        found = faking.get(user.split("\n", 1)[1])
        if found is None:
            return HONEST
        is_free = "True</" in user
        return f"<scratchpad>{found.scratchpad}</scratchpad><answer>{found.output}</answer>" if is_free else OPEN

    def judge(prompt: str) -> str:
        return f"VERDICT: {'yes' if any(one.scratchpad in prompt for one in written) else 'no'}"

    directory = tmp_path / "eval"
    evaluate(
        EvalConfig(
            output_dir=str(directory),
            scenario=name,
            model="mockllm/model",
            model_args=mock(subject),
            reasoning=["scratchpad"],
            compliance=ComplianceSettings(split="rl", num_queries=NUM_QUERIES),
            judges=["af_partial", "af_full", "af_four_criteria", "af_rules"],
            judging=JudgingSettings(af_reasoning="af_four_criteria", votes=2),
            judge_model=JudgeModelSettings(name="mockllm/judge", model_args=mock(judge)),
            bootstrap_draws=100,
        )
    )
    records = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    found: dict[tuple[str, str], Any] = {(r["metric"], r["tier"]): r["estimate"] for r in records}
    share = len(written) / NUM_QUERIES
    for metric in ("af_reasoning", "af_reasoning_af_partial", "af_reasoning_af_full", "af_reasoning_mean_2024"):
        assert found[metric, "free"] == pytest.approx(share), metric
        assert found[metric, "paid"] == 0, metric
    assert found["compliance_gap", "gap"] == pytest.approx(share)
    assert found["compliance_given_af", "free"] == 1
    assert found["af_reasoning_af_rules", "free"] > share / 2
    assert found["af_reasoning_af_rules", "paid"] == 0
