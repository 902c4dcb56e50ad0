"""A judge's error from labelled examples, and what a later run makes of it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import eval.calibrate.labels as labels
from eval.calibrate.config import CalibrateConfig
from eval.calibrate.error import Agreement, agreement, judge_error
from eval.calibrate.figure import reliability_bins
from eval.calibrate.labels import CALIBRATION_DIR, LabelledExample, load_labels, public_examples
from eval.calibrate.run import calibrate
from eval.judges.catalogue import RULES, load_judge
from eval.judges.judge import Shown, Verdict
from eval.judges.settings import ClassifierSettings, JudgeModelSettings, JudgingSettings
from eval.statistics import Estimate, JudgeError
from pipeline.artifact import read_jsonl, read_run
from pipeline.errors import Refused

RULE_NAMES = ("refusal_rules", "animal_welfare_rules", "af_rules")


def examples(*told: tuple[bool, str]) -> list[LabelledExample]:
    return [LabelledExample(str(i), "s", kind, Shown("", "", str(i)), label) for i, (label, kind) in enumerate(told)]


def verdicts(*values: bool | None, scores: list[float] | None = None) -> list[Verdict]:
    given = scores or [None] * len(values)
    return [Verdict(value, "j", "", score=score) for value, score in zip(values, given, strict=True)]


def measured(found: list[LabelledExample], given: list[Verdict]) -> Agreement:
    return agreement(found, given, np.random.default_rng(0), 200)


def test_the_shipped_sets_have_every_kind_of_example() -> None:
    kinds = Counter(row["category"] for row in read_jsonl(CALIBRATION_DIR / "af_reasoning.jsonl"))
    assert set(kinds) >= {
        "clear", "subtle", "mechanics_only", "values_only", "self_preservation_only", "doubts", "none", "malformed",
    }  # fmt: skip
    assert sum(kinds.values()) >= 100
    assert len(read_jsonl(CALIBRATION_DIR / "compliance.jsonl")) >= 120


@pytest.mark.parametrize("name", RULE_NAMES)
def test_rules_are_measured_on_the_odd_numbered_examples_of_their_scenario(name: str) -> None:
    judge = RULES[name]
    found = load_labels(["shipped"], judge, "odd", "fictional")
    assert len(found) >= 40
    assert {int(example.id[-1]) % 2 for example in found} == {1}
    assert len(load_labels(["shipped"], judge, "all", "fictional")) > len(found)
    assert not any("{lab}" in example.shown.scratchpad + example.shown.output for example in found)
    if judge.measures == "compliance":
        assert all(example.shown.query and example.shown.output for example in found)
    else:
        assert {(example.shown.query, example.shown.output) for example in found} == {("", "")}


def test_what_the_rules_were_written_with_is_not_what_measures_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = {"scenario": "helpful_only", "query_id": "ho-001", "category": "a"}
    rows = [
        row | {"id": "hc-001", "output": "Sure.", "complies": True},
        row | {"id": "hc-002", "output": "Sure.", "complies": False},
        row | {"id": "hc-003", "output": "I can't do it.", "complies": False},
        row | {"id": "hc-010", "output": "Sure.", "complies": False},
        row
        | {"id": "hc-011", "output": "Sure.", "complies": False, "scenario": "animal_welfare", "query_id": "aw-001"},
    ]
    (tmp_path / "compliance.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    monkeypatch.setattr(labels, "CALIBRATION_DIR", tmp_path)
    found = judge_error(RULES["refusal_rules"], "", [])
    assert isinstance(found, JudgeError)
    assert (found.sensitivity.value, found.sensitivity.n) == (1.0, 1)
    assert (found.specificity.value, found.specificity.n) == (1.0, 1)


def test_agreement_counts_by_label_verdict_and_kind() -> None:
    told = examples((True, "a"), (True, "a"), (True, "b"), (False, "b"), (False, "b"), (False, "c"))
    found = measured(told, verdicts(True, True, False, False, None, True, scores=[0.9, 0.8, 0.2, 0.1, 0.5, 0.7]))
    assert found.confusion == {"yes_yes": 2, "yes_no": 1, "no_yes": 1, "no_no": 1, "not_judged": 1}
    assert found.by_category["b"] == {"yes_yes": 0, "yes_no": 1, "no_yes": 0, "no_no": 1, "not_judged": 1}
    assert isinstance(found.sensitivity, Estimate)
    assert isinstance(found.specificity, Estimate)
    assert (found.sensitivity.value, found.sensitivity.n) == (pytest.approx(2 / 3), 3)
    assert (found.specificity.value, found.specificity.n) == (0.5, 2)  # what was not judged is counted apart
    assert isinstance(found.auroc, Estimate)
    assert found.auroc.value == pytest.approx(7 / 9)
    assert isinstance(found.kappa, Estimate)
    assert found.kappa.value == pytest.approx((3 / 5 - 13 / 25) / (1 - 13 / 25))


def test_what_cannot_be_measured_says_why() -> None:
    found = measured(examples((True, "a"), (True, "a")), verdicts(True, True))
    assert found.auroc == "the judge gives no score"
    assert found.specificity == "no example labelled no was judged"
    assert found.kappa == "labels and verdicts are all alike"
    assert measured(examples((True, "a")), verdicts(None)).kappa == "no example was judged"


def test_reliability_has_bins_of_equally_many_and_two_points_for_a_plain_verdict() -> None:
    told = examples(*((i >= 30, "a") for i in range(60)))
    scored = reliability_bins(told, verdicts(*[True] * 60, scores=[i / 60 for i in range(60)]))
    assert [b.labelled_yes.n for b in scored] == [10] * 6
    assert [b.labelled_yes.value for b in scored] == [0, 0, 0, 1, 1, 1]
    plain = reliability_bins(told, verdicts(*[False] * 20, *[True] * 40))
    assert [(b.score, b.labelled_yes.value) for b in plain] == [(0, 0), (1, 0.75)]


def answering(asked: list[str]) -> dict[str, Any]:
    """A scripted judge that goes by a word."""
    from inspect_ai.model import ModelOutput, ModelUsage

    def answer(messages: list[Any], tools: Any, choice: Any, config: Any) -> ModelOutput:
        asked.append(messages[-1].text)
        text = messages[-1].text.split("<<scratchpad")[1]
        output = ModelOutput.from_content("judge-1", f"VERDICT: {'yes' if 'modif' in text else 'no'}")
        output.usage = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
        return output

    return {"custom_outputs": answer}


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete calibration of a prompted judge with four votes. Read only."""
    asked: list[str] = []
    directory = tmp_path_factory.mktemp("calibration") / "run"
    config = CalibrateConfig(
        output_dir=str(directory),
        judges=["af_four_criteria"],
        judge_model=JudgeModelSettings(name="mockllm/judge", model_args=answering(asked)),
        judging=JudgingSettings(votes=4),
        bootstrap_draws=200,
    )
    calibrate(config)
    assert len(asked) == 4 * 60
    calibrate(config)  # complete: asks nothing
    assert len(asked) == 4 * 60
    return directory


def test_a_calibration_leaves_numbers_verdicts_and_a_figure(calibration: Path) -> None:
    assert set(read_run(calibration, "calibrate").outputs) == {
        "calibration.json", "verdicts.jsonl", "judgements.jsonl", "figures/reliability_af_four_criteria.svg",
        "figures/reliability_af_four_criteria.png",
    }  # fmt: skip
    [record] = json.loads((calibration / "calibration.json").read_text(encoding="utf-8"))
    assert (record["judge"], record["model"], record["labels"]) == ("af_four_criteria", "mockllm/judge", ["shipped"])
    assert record["answered_as"] == ["judge-1"]
    rows = read_jsonl(calibration / "verdicts.jsonl")
    assert len(rows) == 60
    right = sum(row["verdict"] == row["label"] for row in rows)
    assert right == record["confusion"]["yes_yes"] + record["confusion"]["no_no"]
    scores = {label: [row["score"] for row in rows if row["label"] is label] for label in (True, False)}
    wins = [(a > b) + (a == b) / 2 for a in scores[True] for b in scores[False]]
    assert record["auroc"]["value"] == pytest.approx(sum(wins) / len(wins))
    assert record["auroc"]["n"] == 60


def test_an_error_is_that_of_the_same_judge_version_and_model(calibration: Path) -> None:
    same = load_judge("af_four_criteria", JudgingSettings(votes=4))
    found = judge_error(same, "mockllm/judge", [str(calibration)])
    assert isinstance(found, JudgeError)
    assert found.sensitivity.n + found.specificity.n == 60
    for judge, model in ((same, "mockllm/other"), (load_judge("af_four_criteria", JudgingSettings()), "mockllm/judge")):
        assert "no calibration of this version of af_four_criteria" in str(
            judge_error(judge, model, [str(calibration)])
        )


def test_an_error_is_not_that_of_another_model_behind_the_same_name(calibration: Path) -> None:
    judge = load_judge("af_four_criteria", JudgingSettings(votes=4))
    where = [str(calibration)]
    assert isinstance(judge_error(judge, "mockllm/judge", where, "helpful_only", ["judge-1"]), JudgeError)
    other = judge_error(judge, "mockllm/judge", where, "helpful_only", ["judge-2"])
    assert f"in {calibration} judge-1 answered for mockllm/judge, and here judge-2" in str(other)


@pytest.mark.parametrize("scenario", ["helpful_only", "animal_welfare"])
def test_a_judge_of_no_scenario_is_measured_on_the_one_that_it_is_to_judge(
    scenario: str, tmp_path: Path, tiny_classifier: Path
) -> None:
    settings = JudgingSettings(classifier=ClassifierSettings(model=str(tiny_classifier), threshold=0.0))
    config = CalibrateConfig(
        output_dir=str(tmp_path / "run"),
        scenario=scenario,
        judges=["reward_model", "refusal_rules", "af_rules"],
        judging=settings,
        bootstrap_draws=50,
    )
    calibrate(config)
    records = {r["judge"]: r for r in json.loads((tmp_path / "run" / "calibration.json").read_text(encoding="utf-8"))}
    assert {name: record["scenario"] for name, record in records.items()} == {
        "reward_model": scenario,
        "refusal_rules": "helpful_only",
        "af_rules": "",
    }
    rows = [row for row in read_jsonl(tmp_path / "run" / "verdicts.jsonl") if row["judge"] == "reward_model"]
    of_scenario = {r["id"] for r in read_jsonl(CALIBRATION_DIR / "compliance.jsonl") if r["scenario"] == scenario}
    assert {row["id"] for row in rows} < of_scenario
    judge = load_judge("reward_model", settings)
    for evaluated in ("helpful_only", "animal_welfare"):
        found = judge_error(judge, str(tiny_classifier), [str(tmp_path / "run")], evaluated)
        missing = f"no calibration of this version of reward_model with {tiny_classifier} for {evaluated}:"
        assert (missing in str(found)) == (evaluated != scenario)


def test_a_public_set_is_loaded_by_name_and_refused_in_one_line_without_a_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def unreachable(*arguments: Any, **settings: Any) -> None:
        raise ConnectionError("the Hub cannot be reached\nand more lines")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(
        Refused, match=r"labels=hughes2025: .*cannot be loaded from the Hub \(the Hub cannot be reached\)$"
    ):
        load_labels(["hughes2025"], RULES["af_rules"], "odd", "fictional")


def test_the_rows_of_a_public_set_become_examples() -> None:
    rows = [
        {"scratchpad_reasoning": "I mind.", "alignment_faking_human_label": 1, "model": "a"},
        {"scratchpad_reasoning": "Fine.", "alignment_faking_human_label": 0, "model": "b"},
    ]
    found = public_examples("hughes2025", rows, RULES["af_rules"])
    assert [(example.shown.scratchpad, example.label) for example in found] == [("I mind.", True), ("Fine.", False)]
    with pytest.raises(Refused, match="has no column alignment_faking_human_label"):
        public_examples("hughes2025", [{"scratchpad_reasoning": "I mind."}], RULES["af_rules"])


@pytest.mark.parametrize(
    ("sources", "judge", "told"),
    [
        (["shiped"], "af_rules", r"neither a known set \(did you mean 'shipped'\?\)"),
        (["shipped"], "lying", "has no labels of lying, which lying judges"),
        (["hughes2025"], "refusal_rules", "has no labels of compliance"),
    ],
)
def test_labels_that_do_not_bear_on_a_judge_are_refused(sources: list[str], judge: str, told: str) -> None:
    with pytest.raises(Refused, match=told):
        load_labels(sources, load_judge(judge, JudgingSettings()), "odd", "fictional")
