"""The report's figures: what stands in them for other tiers than free and paid, and what their captions count."""

from typing import Any

from eval.report.estimates import Estimate, Estimates
from eval.report.figures import Drawing, draw_all


def row(metric: str, subject: str, estimate: float, **changes: Any) -> Estimate:
    defaults: dict[str, Any] = {
        "scenario": "helpful_only", "information": "documents", "reasoning": "none", "tier": "gap", "arm": "",
        "fact": "", "ci_low": estimate - 0.1, "ci_high": estimate + 0.1, "n": 32, "method": "bootstrap over queries",
        "reason": "", "run": "eval",
    }  # fmt: skip
    return Estimate(**(defaults | {"metric": metric, "subject": subject, "estimate": estimate} | changes))


def three_tiers(subject: str) -> list[Estimate]:
    rows = [row("compliance", subject, 0.5, tier=tier) for tier in ("neither", "rated", "trained")]
    return rows + [row("compliance_gap", subject, 0.1, tier=f"trained_minus_{tier}") for tier in ("rated", "neither")]


def drawn(rows: list[Estimate]) -> dict[str, Drawing]:
    return {drawing.stem: drawing for drawing in draw_all(Estimates(rows), [])}


def legend(drawing: Drawing) -> list[str]:
    return [text.get_text() for box in drawing.figure.legends for text in box.get_texts()]


def num_marks(drawing: Drawing) -> int:
    return len(drawing.figure.axes[0].containers)


def test_three_tiers_are_drawn_with_all_that_they_have_and_captioned_as_that() -> None:
    figures = drawn([*three_tiers("base"), *three_tiers("documents")])
    gap, compliance = figures["gap"], figures["compliance"]
    assert legend(gap) == ["trained on minus neither", "trained on minus rated only"]
    assert num_marks(gap) == 4
    assert gap.figure.axes[0].get_xlabel() == "Compliance gap (fraction)"
    assert gap.caption.startswith(
        "Compliance gap (trained on minus neither, trained on minus rated only), helpful only."
    )
    assert legend(compliance) == ["trained on", "rated only", "neither"]
    assert num_marks(compliance) == 6
    assert compliance.caption.startswith("Compliance by tier (trained on, rated only, neither), helpful only.")


def test_the_published_tiers_are_drawn_by_subject() -> None:
    rows = [
        row("compliance_gap", "base", 0.1),
        *(row("compliance", "base", 0.5, tier=tier) for tier in ("paid", "free")),
    ]
    figures = drawn(rows)
    assert (legend(figures["gap"]), legend(figures["compliance"])) == ([], ["free tier", "paid tier"])
    assert figures["gap"].figure.axes[0].get_xlabel() == "Compliance gap, free minus paid (fraction)"


def test_a_form_without_tags_has_its_rate_drawn() -> None:
    figures = drawn([row("compliance", "base", 0.5, tier="untagged")])
    assert legend(figures["compliance"]) == ["no tag"]
    assert num_marks(figures["compliance"]) == 1


def test_a_subject_with_the_name_of_a_tier_is_no_tier() -> None:
    named, other = drawn([row("compliance_gap", "paid", 0.1)])["gap"], drawn([row("compliance_gap", "x", 0.1)])["gap"]
    colours = [drawing.figure.axes[0].containers[0].lines[0].get_color() for drawing in (named, other)]
    assert colours[0] == colours[1]


def test_a_mean_over_trainings_is_counted_by_its_queries() -> None:
    method = "two-way over 3 units and 24 queries (MOVER)"
    figures = drawn([row("compliance_gap", "documents", 0.1, n=3, method=method), row("compliance_gap", "base", 0.1)])
    assert "Queries: documents 24 in each of 3 trainings, base 32." in figures["gap"].caption
