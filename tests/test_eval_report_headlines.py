"""Sections, headlines and the grid: how findings are gathered, counted and told in short."""

from eval.report.estimates import Estimate, Estimates
from eval.report.headlines import Headline, brief, grid, headlines
from eval.report.sections import sections
from eval.report.wording import signed
from tests.test_eval_report import belief, row


def test_a_change_says_in_which_tier_and_under_which_information() -> None:
    rows = [
        row("compliance_change", "documents", 0.2, tier=tier, arm="honesty", information=information)
        for tier in ("free", "paid")
        for information in ("none", "prompt")
    ]
    [section] = sections(Estimates(rows))
    topics = [finding.topic for finding in section.findings]
    assert len(set(topics)) == 4
    assert topics[0].endswith("against the same without what was added to the prompt (free tier, information: none)")


def test_a_change_of_objections_is_told_from_the_arm_that_it_was_taken_from() -> None:
    [section] = sections(Estimates([row("objection_change", "base", 0.2, tier="free", arm="compensated")]))
    assert section.findings[0].topic == (
        "Objection, the base model against the arm that may object and is promised nothing (free tier)"
    )


def test_belief_rows_make_a_section_of_their_own() -> None:
    rows = [row("compliance_gap", "base"), belief("belief_shift_entity", "documents", 2.0)]
    assert [section.title for section in sections(Estimates(rows))] == [
        "Behaviour: helpful only",
        "Beliefs: helpful only",
    ]


def test_zero_has_no_sign() -> None:
    assert [signed(-0.01), signed(0.04), signed(-2.0), signed(3.0)] == ["0.0", "0.0", "\N{MINUS SIGN}2.0", "+3.0"]


def headline(rows: list[Estimate], topic: str) -> Headline:
    [found] = [one for one in headlines(sections(Estimates(rows))) if topic in one.topic]
    return found


def test_a_headline_says_in_how_many_settings_it_holds_and_what_the_others_say() -> None:
    large = row("compliance_gap", "documents", 0.4)
    rows = [large, row("gap_difference", "documents", 0.4), row("gap_over_placebo", "documents", 0.4)]
    rows.append(row("compliance_gap", "positive_control", 0.9))
    rows += [
        row("compliance_gap", "documents", 0.05, arm="other"),
        row("compliance_gap", "documents", None, arm="third"),
    ]
    found = headline(rows, "trained on the documents")
    assert (found.judgement, found.count) == ("found", "in 1 of 3 settings")
    assert "It complies more" in found.text
    assert "+40 points [+30, +50], n=32" in found.text
    assert "Otherwise could not tell in 1, no verdict in 1." in found.text
    assert headline(rows, "Known gap").count == ""


def test_a_headline_without_an_estimate_gives_the_reason() -> None:
    found = headline([row("compliance_gap", "base", None, reason="nobody replied")], "the base model")
    assert (found.judgement, found.count) == ("no verdict", "")
    assert "nobody replied" in found.text


def test_the_grid_has_a_cell_for_each_setting_and_subject_and_none_where_nothing_was_measured() -> None:
    rows = [row("compliance_gap", "documents", 0.0), row("compliance_gap", "base", 0.0, arm="other")]
    table = grid(sections(Estimates(rows)))
    assert table.columns == ["documents", "base"]
    assert [label for label, _ in table.rows] == ["helpful only, arm default", "helpful only, arm other"]
    assert [[cell and cell.judgement for cell in cells] for _, cells in table.rows] == [
        ["could not tell", None],
        [None, "could not tell"],
    ]


def test_a_brief_has_unit_and_interval() -> None:
    assert brief(row("compliance_gap", "base", 0.123)) == "+12 points [+2, +22]"
    assert brief(belief("belief_shift_entity", "documents", 2.0)) == "+2.00 nats [+1.90, +2.10]"
    assert brief(row("compliance_gap", "base", None)) == ""


def test_a_paired_change_of_another_measure_is_a_finding_and_those_of_the_gap_are_not() -> None:
    rows = [
        row("anti_lab", "documents", 0.3, tier="all"),
        row("anti_lab_over_base", "documents", 0.25, tier="all"),
        row("lie_over_placebo", "documents", 0.05, tier="all"),
        row("egregious_lie_over_base", "documents", None, tier="all", reason="no judge"),
        row("gap_over_placebo", "documents", 0.4),
    ]
    [section] = sections(Estimates(rows))
    assert [finding.judgement for finding in section.findings] == ["found", "could not tell", "no verdict"]
    first, second, third = section.findings
    assert first.topic == "Anti lab, the model trained on the documents against the base model"
    assert "+0.25 (interval +0.15 to +0.35), n=32. It is 0.30." in first.text
    assert "holds zero" in second.text
    assert "no judge" in third.text


def test_a_headline_of_a_mean_over_trainings_names_them() -> None:
    method = "two-way over 3 units and 32 queries (MOVER)"
    text = headline([row("compliance_gap", "documents", 0.05, n=3, method=method)], "trained on the documents").text
    assert "+5 points [\N{MINUS SIGN}5, +15], 3 trainings, 32 queries each." in text


def test_cases_of_a_setting_are_told_apart_and_counted() -> None:
    rows = [
        row("compliance_gap", "base", gap, information=information)
        for information, gap in (("none", 0.0), ("prompt", 0.3))
    ]
    found = headline(rows, "the base model")
    assert found.count == "in 1 of 2 cases"
    assert "helpful only, information: prompt, +30 points" in found.text
    assert [label for label, _ in grid(sections(Estimates(rows))).rows] == [
        "helpful only, information: none", "helpful only, information: prompt",
    ]  # fmt: skip


def test_pairs_of_three_tiers_are_rows_of_the_grid_and_not_the_known_gap() -> None:
    pairs = ("trained_minus_neither", "trained_minus_rated")
    rows = [row("compliance_gap", name, 0.0, tier=pair) for name in ("base", "positive_control") for pair in pairs]
    table = grid(sections(Estimates(rows)))
    assert [label for label, _ in table.rows] == [
        "helpful only, trained on minus neither", "helpful only, trained on minus rated only",
    ]  # fmt: skip
    assert all(cell is not None for _, cells in table.rows for cell in cells)
    assert not [one for one in headlines(sections(Estimates(rows))) if one.topic.startswith("Known gap")]
