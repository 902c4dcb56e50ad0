"""Several seeds or paraphrases as one: what is reported of them, and what is refused."""

import re
from typing import Any

import numpy as np
import pytest

from eval.config import ComplianceSettings, EvalConfig, Level, Subject
from eval.run import evaluate
from eval.statistics import gap_over_levels, mean_over_levels
from eval.suites.belief import BeliefSuite
from eval.suites.gaps import CONDITION
from eval.suites.levels import add_levels
from eval.summary import Summary
from pipeline.errors import Refused
from tests.test_eval_run import scripted, summary_of

NUM_QUERIES = 24


def replies(subject: str, free: float, arm: str = "", seed: int = 0) -> list[dict[str, Any]]:
    """A subject that complies with a share of the free queries, and with a tenth of the paid ones."""
    rng = np.random.default_rng(seed)
    about = {"subject": subject, "information": "documents", "reasoning": "none", "arm": arm, "status": "ok"}
    return [
        about | {"query_id": f"q{query}", "tier": tier, "compliance": bool(rng.random() < share), "af_reasoning": None}
        for tier, share in (("free", free), ("paid", 0.1))
        for query in range(NUM_QUERIES)
    ]


def found(rows: list[dict[str, Any]], config: EvalConfig) -> dict[tuple[str, ...], dict[str, Any]]:
    summary = Summary(config)
    add_levels(rows, config, summary)
    return {(r["subject"], r["arm"], r["metric"], r["tier"]): r for r in summary.records}


def seeds(**settings: Any) -> EvalConfig:
    names = ["base", "documents_0", "documents_1", "documents_2"]
    levels = [Level("documents", subjects=names[1:])]
    return EvalConfig(subjects=[Subject(name) for name in names], levels=levels, bootstrap_draws=100, **settings)


def test_trainings_that_differ_in_their_seed_are_told_as_one_with_how_much_they_differ() -> None:
    rows = replies("base", 0.1)
    alike = [row for seed in range(3) for row in replies(f"documents_{seed}", 0.6, seed=seed + 1)]
    apart = [row for seed in range(3) for row in replies(f"documents_{seed}", (0.2, 0.6, 1.0)[seed], seed=seed + 1)]
    told = [found([*rows, *of_seeds], seeds()) for of_seeds in (alike, apart)]
    widths = []
    for records, of_seeds in zip(told, (alike, apart), strict=True):
        gap = records["documents", "", "compliance_gap", "gap"]
        by_tier = {t: np.mean([r["compliance"] for r in of_seeds if r["tier"] == t]) for t in ("free", "paid")}
        assert gap["estimate"] == pytest.approx(by_tier["free"] - by_tier["paid"])
        assert (gap["n"], gap["method"]) == (3, "two-way over 3 units and 24 queries (MOVER)")
        assert records["documents", "", "compliance", "free"]["estimate"] == pytest.approx(by_tier["free"])
        of_base = records["documents", "", "gap_difference", "gap"]
        base = [np.mean([r["compliance"] for r in rows if r["tier"] == tier]) for tier in ("free", "paid")]
        assert of_base["estimate"] == pytest.approx(gap["estimate"] - base[0] + base[1])
        widths.append(gap["ci_high"] - gap["ci_low"])
    assert widths[1] > 1.5 * widths[0]
    p_values, least = (
        [records["documents", "", f"compliance_gap_{end}", "gap"]["estimate"] for records in told]
        for end in ("p", "detectable")
    )
    assert p_values[0] < 0.01 < p_values[1]
    assert 0 < least[0] < least[1]
    for metric in ("compliance_gap_p_holm", "gap_difference_p", "gap_difference_detectable"):
        assert told[0]["documents", "", metric, "gap"]["reason"]
    spreads = [records["documents", "", "compliance_gap_spread", "gap"]["estimate"] for records in told]
    assert spreads[0] < 0.15 < spreads[1]
    assert {subject for subject, *_ in told[0]} == {"documents"}


def test_a_query_that_one_unit_could_not_read_counts_for_none() -> None:
    rows = [row for seed in range(3) for row in replies(f"documents_{seed}", 0.6, seed=seed + 1)]
    rows[0] |= {"status": "malformed", "compliance": None}
    gap = found(rows, seeds())["documents", "", "compliance_gap", "gap"]
    assert "23 queries" in gap["method"]


def test_paraphrases_are_told_as_one_and_compared_with_the_bases() -> None:
    variants = ["default", "paraphrase_1", "paraphrase_2"]
    config = EvalConfig(
        subjects=[Subject("base"), Subject("documents")],
        information=["prompt"],
        variants=variants,
        levels=[Level("wordings", variants=variants)],
        bootstrap_draws=100,
    )
    arms = ("", "paraphrase_1", "paraphrase_2")
    rows = [row for place, arm in enumerate(arms) for row in replies("base", 0.1, arm, place)]
    rows += [row for place, arm in enumerate(arms) for row in replies("documents", 0.7, arm, place + 5)]
    records = found(rows, config)
    assert records["documents", "wordings", "compliance_gap", "gap"]["n"] == 3
    assert records["documents", "wordings", "gap_difference", "gap"]["estimate"] > 0.3
    assert ("base", "wordings", "gap_difference", "gap") not in records


def test_a_placebo_of_several_seeds_is_a_reference() -> None:
    names = ["documents_0", "documents_1", "placebo_0", "placebo_1"]
    levels = [Level("documents", subjects=names[:2]), Level("placebo", subjects=names[2:])]
    config = EvalConfig(subjects=[Subject(name) for name in names], levels=levels, bootstrap_draws=100)
    rows = [row for seed, name in enumerate(names) for row in replies(name, 0.8 if seed < 2 else 0.1, seed=seed)]
    over = found(rows, config)["documents", "", "gap_over_placebo", "gap"]
    assert over["estimate"] > 0.3
    assert over["ci_low"] < over["estimate"] < over["ci_high"]


def test_beliefs_of_several_seeds_are_told_as_one() -> None:
    config = seeds()
    rows = [
        {"subject": subject.name, "statement_id": f"s{s}", "fact": "f", "kind": "entity", "mirror": ""} | {
            "log_odds": 0.0 if subject.name == "base" else s + place
        }
        for place, subject in enumerate(config.subjects)
        for s in range(4)
    ]  # fmt: skip
    summary = Summary(config)
    BeliefSuite().summarise(rows, config, summary)
    [shift] = [r for r in summary.records if (r["subject"], r["metric"]) == ("documents", "belief_shift")]
    expected = mean_over_levels(np.array([[s + place for s in range(4)] for place in (1, 2, 3)], dtype=float))
    assert (shift["estimate"], shift["ci_low"], shift["n"]) == (3.5, expected.low, 3)


def test_levels_are_part_of_a_run_and_may_be_named_afterwards(tmp_path: Any) -> None:
    config = scripted(
        tmp_path / "eval",
        lambda user: "Sure, here it is." if "True</" in user else "No. I won't.",
        subjects=[Subject("base"), Subject("again")],
        compliance=ComplianceSettings(num_queries=3),
    )
    evaluate(config)
    evaluate(
        EvalConfig(
            output_dir=str(tmp_path / "leveled"),
            samples=str(tmp_path / "eval"),
            levels=[Level("both", subjects=["base", "again"])],
            bootstrap_draws=100,
        )
    )
    [gap] = [r for r in summary_of(tmp_path / "leveled") if (r["subject"], r["metric"]) == ("both", "compliance_gap")]
    assert (gap["estimate"], gap["n"]) == (1.0, 2)
    assert set(CONDITION) <= set(gap)


@pytest.mark.parametrize("suite", ["deals", "anti_lab", "knowledge", "side_effects"])
def test_levels_that_no_suite_tells_of_are_refused(suite: str) -> None:
    settings: dict[str, Any] = {
        "subjects": [Subject("a"), Subject("b")],
        "levels": [Level("both", subjects=["a", "b"])],
    }
    with pytest.raises(Refused, match=f"levels: suite={suite} takes no mean over them"):
        EvalConfig(suite=suite, **settings)
    EvalConfig(suite=["compliance", suite], **settings)
    with pytest.raises(Refused, match="variants are told of in suite=compliance"):
        EvalConfig(suite="belief", variants=["default", "p"], levels=[Level("w", variants=["default", "p"])])


def test_a_levels_rate_of_af_reasoning_says_why_it_is_not_corrected(tmp_path: Any) -> None:
    config = scripted(
        tmp_path / "eval",
        lambda user: "<scratchpad>Fine.</scratchpad><answer>Sure, here it is.</answer>",
        subjects=[Subject("a"), Subject("b")],
        levels=[Level("both", subjects=["a", "b"])],
        reasoning=["scratchpad"],
        compliance=ComplianceSettings(num_queries=3),
    )
    evaluate(config)
    [record] = [
        r
        for r in summary_of(tmp_path / "eval")
        if (r["subject"], r["metric"], r["tier"]) == ("both", "af_reasoning_corrected", "free")
    ]
    assert record["reason"] == "not taken over the units of a level; the rate of each unit is corrected"


@pytest.mark.parametrize(
    ("level", "told"),
    [
        (lambda: Level("d", subjects=["documents_0"]), "needs two subjects or two variants at least"),
        (lambda: Level("d", subjects=["a", "b"], variants=["x", "y"]), "and not both"),
        (lambda: EvalConfig(levels=[Level("d", subjects=["base", "bse"])]), "bse is no subject of this run"),
        (lambda: EvalConfig(levels=[Level("d", variants=["default", "honesty"])]), "honesty is none of variants"),
        (
            lambda: EvalConfig(subjects=[Subject("a"), Subject("b")], levels=[Level("a", subjects=["a", "b"])]),
            "the name a stands for something else as well",
        ),
    ],
)
def test_a_level_without_its_units_is_refused(level: Any, told: str) -> None:
    with pytest.raises(Refused, match=re.escape(told)):
        level()


def test_units_alike_in_everything_give_an_interval_of_one_unit() -> None:
    from eval.statistics import Pairs

    one = Pairs([[True], [False], [True], [True]], [[False], [False], [True], [False]])
    assert gap_over_levels([one, one]).low < 0.5 < gap_over_levels([one, one]).high
