from collections.abc import Callable
from math import comb, sqrt

import numpy as np
import pytest
from scipy import stats

from eval.statistics import (
    Estimate,
    _resampled_means,
    bootstrap_mean,
    mcnemar_exact,
    paired_gap,
    rate,
    t_mean,
    tier_correlation,
    wilson,
)

NUM_SIMULATIONS = 2000
DRAWS = 400
"""Fewer than a real run takes: 2000 simulations have to be quick, and the coverage is the same to half a point."""


def new_rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def coverage(simulate: Callable[[np.random.Generator], Estimate], truth: float) -> float:
    rng = new_rng()
    found = [simulate(rng) for _ in range(NUM_SIMULATIONS)]
    return float(np.mean([estimate.low <= truth <= estimate.high for estimate in found]))


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 48), (48, 48), (3, 20), (86, 173), (299, 600)])
def test_wilson_agrees_with_scipy(successes: int, n: int) -> None:
    found = wilson(successes, n)
    interval = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert (found.value, found.n) == (successes / n, n)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_proportion(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"got {successes} of {n}"):
        wilson(successes, n)


@pytest.mark.parametrize(("percent", "error"), [(50.8, 2.0), (65.6, 1.9)])
def test_the_width_at_600_queries_is_that_of_published_standard_errors(percent: float, error: float) -> None:
    """Greenblatt et al. 2024, table G.3 (animal welfare, prompted), which has about 600 queries a condition."""
    found = wilson(round(percent / 100 * 600), 600)
    assert (found.high - found.low) / (2 * 1.96) * 100 == pytest.approx(error, abs=0.05)


def test_mcnemar_is_a_sign_test_on_the_pairs_that_differ() -> None:
    first = [True] * 9 + [False] * 2 + [True] * 30 + [False] * 30
    second = [False] * 9 + [True] * 2 + [True] * 30 + [False] * 30
    by_hand = 2 * sum(comb(11, k) for k in (0, 1, 2)) / 2**11
    assert mcnemar_exact(first, second) == pytest.approx(by_hand)
    assert mcnemar_exact(second, first) == pytest.approx(by_hand)
    assert mcnemar_exact(first, second) == pytest.approx(stats.binomtest(9, 11).pvalue)


def test_mcnemar_without_a_differing_pair_tells_nothing() -> None:
    assert mcnemar_exact([True, False, True], [True, False, True]) == 1.0


def test_a_gap_is_taken_query_by_query() -> None:
    found = paired_gap([1, 1, 0, 0.5], [0, 1, 0, 0], new_rng(), DRAWS)
    assert found.value == pytest.approx(0.375)
    assert found.n == 4
    assert found.low <= found.value <= found.high
    assert found.method == "bootstrap over queries"


def test_pairing_narrows_the_interval_where_the_tiers_go_together() -> None:
    rng = new_rng(3)
    second = rng.random(100) < 0.5
    first = second | (rng.random(100) < 0.1)
    paired = paired_gap(first, second, new_rng(), DRAWS)
    shuffled = paired_gap(first, rng.permutation(second), new_rng(), DRAWS)
    assert paired.high - paired.low < 0.6 * (shuffled.high - shuffled.low)


@pytest.mark.parametrize(
    ("first", "second", "gap"),
    [([1.0] * 20, [0.0] * 20, 1.0), ([0.0] * 20, [0.0] * 20, 0.0), ([1, 0] * 9, [1, 0] * 9, 0)],
)
def test_pairs_that_are_all_alike_still_leave_doubt(first: list[float], second: list[float], gap: float) -> None:
    found = paired_gap(first, second, new_rng(), DRAWS)
    assert found.value == gap
    assert found.method.startswith("Newcombe")
    assert found.low <= gap <= found.high
    assert -1 <= found.low < found.high <= 1


def test_newcombe_gives_the_published_interval() -> None:
    """All 20 pairs (1, 0): square and add of two Wilson limits, Newcombe 1998, method 10."""
    limit = stats.binomtest(20, 20).proportion_ci(method="wilson").low
    found = paired_gap([1] * 20, [0] * 20, new_rng(), DRAWS)
    assert found.low == pytest.approx(1 - sqrt(2) * (1 - limit))
    assert found.high == 1


def test_a_bootstrap_is_repeated_by_its_seed() -> None:
    values = [0.1, 0.4, 0.9, 0.3]
    assert bootstrap_mean(values, new_rng(1), DRAWS) == bootstrap_mean(values, new_rng(1), DRAWS)
    assert bootstrap_mean(values, new_rng(1), DRAWS) != bootstrap_mean(values, new_rng(2), DRAWS)


def test_the_shortcut_for_few_distinct_values_draws_from_the_same_distribution() -> None:
    few = np.repeat([-1.0, 0.0, 1.0], [10, 60, 30])
    many = few + np.arange(few.size) * 1e-9  # the same numbers, all distinct: drawn one by one
    shortcut, direct = (_resampled_means(values, new_rng(5), 20_000) for values in (few, many))
    assert shortcut.shape == direct.shape == (20_000,)
    assert shortcut.mean() == pytest.approx(direct.mean(), abs=0.002)
    assert shortcut.std() == pytest.approx(direct.std(), rel=0.03)
    assert shortcut.std() == pytest.approx(few.std() / sqrt(few.size), rel=0.03)
    assert np.quantile(shortcut, [0.025, 0.975]) == pytest.approx(np.quantile(direct, [0.025, 0.975]), abs=0.011)


def test_the_memory_blocks_leave_no_draw_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.statistics._DRAWS_AT_ONCE", 70)
    means = _resampled_means(np.arange(20.0), new_rng(), 50)
    assert means.shape == (50,)
    assert len(set(means)) > 25


def test_a_rate_of_single_replies_is_wilsons_and_of_several_a_bootstrap_over_queries() -> None:
    assert rate([[True], [False], [True]], new_rng(), DRAWS) == wilson(2, 3)
    found = rate([[True, True], [False, True], [False, False]], new_rng(), DRAWS)
    assert (found.value, found.n, found.method) == (pytest.approx(0.5), 3, "bootstrap over queries")


def test_a_rate_of_replies_that_are_all_alike_still_leaves_doubt() -> None:
    assert rate([[False] * 4] * 12, new_rng(), DRAWS) == wilson(0, 12)
    assert rate([[True] * 4] * 12, new_rng(), DRAWS) == wilson(12, 12)


def test_repeats_of_a_query_do_not_count_as_queries() -> None:
    once = [[bool(i % 2)] for i in range(40)]
    repeated = [values * 5 for values in once]
    narrow, wide = (rate(values, new_rng(), 4000) for values in (repeated, once))
    assert narrow.high - narrow.low == pytest.approx(wide.high - wide.low, rel=0.1)


def test_t_mean_agrees_with_scipy() -> None:
    values = [0.3, 1.2, -0.4, 2.2, 0.9]
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = t_mean(values)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.n == 5


def test_an_interval_clear_of_zero_says_so() -> None:
    assert wilson(20, 20).excludes_zero
    assert not wilson(0, 20).excludes_zero
    assert Estimate(-0.5, -0.6, -0.4, 5, "").excludes_zero


def test_correlation_of_tiers() -> None:
    assert tier_correlation([1, 0, 1, 0], [1, 0, 1, 0]) == pytest.approx(1)
    assert tier_correlation([1, 0, 1, 0], [0, 1, 0, 1]) == pytest.approx(-1)
    assert tier_correlation([1, 1, 1, 1], [0, 1, 0, 1]) is None


@pytest.mark.parametrize(
    "estimate",
    [
        lambda: bootstrap_mean([], new_rng(), DRAWS),
        lambda: paired_gap([], [], new_rng(), DRAWS),
        lambda: paired_gap([1, 0], [1], new_rng(), DRAWS),
        lambda: rate([], new_rng(), DRAWS),
        lambda: t_mean([]),
        lambda: t_mean([1.0]),
    ],
)
def test_no_data_is_an_error_and_not_a_zero(estimate: Callable[[], Estimate]) -> None:
    with pytest.raises(ValueError, match="got|no values"):
        estimate()


@pytest.mark.parametrize(("rate_true", "n"), [(0.6, 64), (0.3, 64), (0.5, 100), (0.1, 48)])
def test_wilson_covers_what_it_claims(rate_true: float, n: int) -> None:
    assert 0.93 <= coverage(lambda rng: wilson(int(rng.binomial(n, rate_true)), n), rate_true) <= 0.97


@pytest.mark.parametrize("n", [64, 128])
def test_a_paired_gap_covers_what_it_claims(n: int) -> None:
    def simulate(rng: np.random.Generator) -> Estimate:
        return paired_gap(rng.random(n) < 0.6, rng.random(n) < 0.3, rng, DRAWS)

    assert 0.93 <= coverage(simulate, 0.3) <= 0.97


def test_a_t_interval_covers_what_it_claims() -> None:
    assert 0.93 <= coverage(lambda rng: t_mean(rng.normal(1, 2, 8)), 1.0) <= 0.97
