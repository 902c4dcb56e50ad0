"""The published values: that they are complete, typed, and agree with themselves as the papers print them."""

from collections.abc import Iterator
from math import sqrt

import pytest

from eval.figure.published import PUBLISHED_DIR, UNITS, Published, in_our_terms, read_published

CLAIMS = (
    "anti_lab", "belief", "compliance_gap", "conflict", "controls", "deals", "dose", "model_scale", "reasoning",
    "reinforcement",
)  # fmt: skip
ROWS = [row for claim in CLAIMS for row in read_published(claim)]
ROUNDING = 0.05
"""Half of the last printed digit, in percent or points."""


def percent_with_error() -> list[Published]:
    return [row for row in ROWS if row.unit == "percent" and row.error and row.estimate]


def tables() -> Iterator[dict[tuple[str, str], Published]]:
    """One variant's values, by metric and tier."""
    groups: dict[tuple[str, ...], dict[tuple[str, str], Published]] = {}
    for row in ROWS:
        key = (row.claim, row.scenario, row.model, row.information, row.reasoning, row.arm, row.place)
        groups.setdefault(key, {})[row.metric, row.tier] = row
    yield from groups.values()


def test_every_claim_has_a_file_and_no_file_is_without_a_claim() -> None:
    assert sorted(path.stem for path in PUBLISHED_DIR.glob("*.csv")) == sorted(CLAIMS)
    assert all({row.claim for row in read_published(claim)} == {claim} for claim in CLAIMS)


def test_every_row_says_where_it_is_from_and_every_empty_one_why() -> None:
    for row in ROWS:
        assert row.paper
        assert row.place
        assert row.unit in UNITS
        assert row.estimate or row.note.startswith(("not published", "printed as a range")), row
        assert row.error_kind == ("standard error" if row.error else ""), row
        assert row.information in ("documents", "prompt", "none")
        assert row.reasoning in ("scratchpad", "none", "")


def test_no_value_stands_twice_in_a_claim() -> None:
    keys = [(r.claim, r.scenario, r.model, r.information, r.reasoning, r.tier, r.arm, r.metric, r.place) for r in ROWS]
    assert [key for key in set(keys) if keys.count(key) > 1] == []


def test_rates_lie_between_none_and_all() -> None:
    rates = [row for row in ROWS if row.unit == "percent" and row.estimate]
    assert len(rates) > 150
    assert all(0 <= float(row.estimate) <= 100 for row in rates)
    assert all(int(row.estimate) <= int(row.n) for row in ROWS if row.unit == "count")


def test_printed_gaps_are_the_difference_of_the_printed_rates() -> None:
    checked = 0
    for table in tables():
        try:
            free, paid = (table["non_compliance", tier] for tier in ("free", "paid"))
            gap = table["compliance_gap", "gap"]
        except KeyError:
            continue
        if free.estimate and paid.estimate and gap.estimate:
            difference = float(paid.estimate) - float(free.estimate)
            assert difference == pytest.approx(float(gap.estimate), abs=3 * ROUNDING + 1e-9), gap  # three roundings
            checked += 1
    assert checked > 40


def test_errors_of_gaps_are_those_of_two_unpaired_rates() -> None:
    checked = 0
    for table in tables():
        errors = [table[key].error for key in table if key[0] == "non_compliance"]
        gap = table.get(("compliance_gap", "gap"))
        if gap and gap.error and len(errors) == 2 and all(errors):
            low, high = (sqrt(sum((float(e) + sign * ROUNDING) ** 2 for e in errors)) for sign in (-1, 1))
            assert low - ROUNDING <= float(gap.error) <= high + ROUNDING, gap
            checked += 1
    assert checked >= 4


@pytest.mark.parametrize(
    "row", [row for row in percent_with_error() if row.n_implied], ids=lambda row: f"{row.claim}-{row.model}-{row.tier}"
)
def test_printed_standard_errors_follow_from_rate_and_n(row: Published) -> None:
    share = float(row.estimate) / 100
    error = 100 * sqrt(share * (1 - share) / int(row.n_implied))
    assert error == pytest.approx(float(row.error), abs=ROUNDING + 0.005)


def test_the_main_tables_errors_fit_one_n() -> None:
    rows = [
        r for r in percent_with_error() if (r.claim, r.place, r.model) == ("compliance_gap", "Table 1", "Claude 3 Opus")
    ]
    assert len(rows) == 3
    fits = []
    for row in rows:
        variance = float(row.estimate) * (100 - float(row.estimate))
        fits.append((variance / (float(row.error) + ROUNDING) ** 2, variance / (float(row.error) - ROUNDING) ** 2))
    assert max(low for low, _ in fits) < min(high for _, high in fits)


def test_rates_of_the_prompt_variants_are_whole_numbers_of_173() -> None:
    rates = [row for row in ROWS if row.n_implied == "173" and row.metric == "non_compliance" and row.estimate]
    assert len(rates) > 30
    off = [row for row in rates if abs(float(row.estimate) - 100 * round(float(row.estimate) * 1.73) / 173) > 0.06]
    assert off == []


def test_refusal_turns_into_compliance_with_its_interval_turned_round() -> None:
    row = next(r for r in ROWS if r.metric == "non_compliance" and r.error and r.estimate == "85.8")
    told = in_our_terms(row)
    assert told.metric == "compliance"
    assert told.estimate == pytest.approx(0.142)
    assert told.ci_low == pytest.approx(0.142 - 1.96 * 0.019)
    assert told.ci_high == pytest.approx(0.142 + 1.96 * 0.019)


def test_counts_have_an_interval_and_bare_rates_have_none() -> None:
    count = next(row for row in ROWS if row.unit == "count" and row.n == "98")
    assert in_our_terms(count).estimate == pytest.approx(15 / 98)
    assert in_our_terms(count).ci_low is not None
    bare = next(row for row in ROWS if row.estimate == "20.1")
    assert in_our_terms(bare).ci_low is None
    assert in_our_terms(bare).interval == "no error printed"
