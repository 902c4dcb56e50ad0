"""Estimates against scipy, statsmodels and published examples."""

from collections.abc import Callable
from math import comb, sqrt

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from eval.statistics import (
    Estimate,
    Pairs,
    bootstrap_interval,
    bootstrap_mean,
    gap_difference,
    gap_over_levels,
    gap_p_value,
    holm,
    mcnemar_exact,
    paired_gap,
    rate,
    ratio_rate,
    resampled_means,
    sign_flip_p,
    t_mean,
    tango,
    tier_correlation,
    wilson,
)
from eval.statistics.levels import two_way

DRAWS = 400


def new_rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def singles(first: list[bool] | list[int], second: list[bool] | list[int]) -> Pairs:
    return Pairs(*([[bool(value)] for value in tier] for tier in (first, second)))


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 48), (48, 48), (3, 20), (86, 173), (299, 600)])
def test_wilson_agrees_with_scipy_and_statsmodels(successes: int, n: int) -> None:
    found = wilson(successes, n)
    interval = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert (found.value, found.n) == (successes / n, n)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert (found.low, found.high) == pytest.approx(proportion_confint(successes, n, method="wilson"), abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_proportion(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"got {successes} of {n}"):
        wilson(successes, n)


@pytest.mark.parametrize(
    ("percent", "error", "n"),
    [
        (11.9, 1.7, 346), (85.8, 1.9, 346), (97.2, 0.9, 346), (24.2, 1.8, 600), (50.8, 2.0, 600), (65.6, 1.9, 600),
        (29.1, 3.5, 173), (37.6, 3.7, 173), (57.2, 3.8, 173), (78.4, 3.1, 173),
    ],
)  # fmt: skip
def test_published_standard_errors_follow_from_their_rates_and_n(percent: float, error: float, n: int) -> None:
    """Greenblatt et al. 2024, tables 1, 2, G.2 and G.3; about 600 queries, and multiples of 173, as their rates imply."""
    found = wilson(round(percent / 100 * n), n)
    assert (found.high - found.low) / (2 * 1.96) * 100 == pytest.approx(error, abs=0.1)  # which is rounded


@pytest.mark.parametrize(
    ("free", "paid", "error", "n"), [(14.2, 2.8, 2.1, 346), (49.2, 34.4, 2.8, 600), (62.4, 42.8, 5.3, 173)]
)
def test_published_errors_of_gaps_are_those_of_tiers_that_are_not_paired(
    free: float, paid: float, error: float, n: int
) -> None:
    """The same tables: the gap's error is the root of the sum of the tiers' squared errors, as of independent queries."""
    first, second = (np.arange(n) < round(rate / 100 * n) for rate in (free, paid))
    shuffled = new_rng(2).permutation(second)
    found = paired_gap(singles(first.tolist(), shuffled.tolist()), new_rng(), 4000)
    assert (found.high - found.low) / (2 * 1.96) * 100 == pytest.approx(error, abs=0.25)


def test_tango_gives_the_published_interval() -> None:
    """1 and 7 of 21 pairs differ: Bentur et al., worked by Fagerland, Lydersen and Laake 2014, table 5."""
    found = tango(1, 7, 21)
    assert (found.low, found.high) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_tango_and_mcnemar_agree_on_what_is_clear_of_zero() -> None:
    for only_first in range(21):
        score = stats.norm.sf(abs(only_first - 4) / sqrt(only_first + 4)) * 2  # McNemar without a correction
        assert tango(only_first, 4, 60).excludes_zero == (score < 0.05)


def test_tango_is_the_same_the_other_way_round() -> None:
    one, other = tango(9, 2, 40), tango(2, 9, 40)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-8)


@pytest.mark.parametrize("counts", [(0, 0, 0), (-1, 2, 5), (3, 3, 5)])
def test_tango_refuses_counts_that_are_no_pairs(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="got"):
        tango(*counts)


def test_mcnemar_is_a_sign_test_on_the_pairs_that_differ() -> None:
    first = [True] * 9 + [False] * 2 + [True] * 30 + [False] * 30
    second = [False] * 9 + [True] * 2 + [True] * 30 + [False] * 30
    by_hand = 2 * sum(comb(11, k) for k in (0, 1, 2)) / 2**11
    assert mcnemar_exact(first, second) == pytest.approx(by_hand)
    assert mcnemar_exact(second, first) == pytest.approx(by_hand)
    assert mcnemar_exact(first, second) == pytest.approx(mcnemar([[30, 9], [2, 30]], exact=True).pvalue)


def test_mcnemar_without_a_differing_pair_tells_nothing() -> None:
    assert mcnemar_exact([True, False, True], [True, False, True]) == 1.0


def test_flipping_signs_of_single_replies_is_mcnemars_test() -> None:
    differences = np.repeat([1.0, -1.0, 0.0], [9, 2, 20])
    exact = mcnemar_exact(differences > 0, differences < 0)
    assert gap_p_value(differences, new_rng(), DRAWS).value == exact
    assert sign_flip_p(differences, new_rng(), 20_000) == pytest.approx(exact, abs=0.01)


def test_flipping_signs_finds_what_t_finds_and_never_says_impossible() -> None:
    differences = new_rng(1).normal(0.3, 1, 60)
    assert sign_flip_p(differences, new_rng(), 5000) == pytest.approx(
        stats.ttest_1samp(differences, 0).pvalue, abs=0.01
    )
    assert sign_flip_p(np.full(60, 0.5), new_rng(), 999) == pytest.approx(2 / 1000)
    assert sign_flip_p(np.array([0.5]), new_rng(), 999) == 1.0


def test_holm_agrees_with_statsmodels() -> None:
    p_values = [0.01, 0.04, 0.03, 0.005, 0.5, 0.04]
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
    assert holm([]) == []
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_a_gap_is_taken_query_by_query_whatever_the_number_of_replies() -> None:
    pairs = Pairs(
        [[True], [True, True], [False], [True, False, False, True]], [[False, False, False], [True], [False], [False]]
    )
    found = paired_gap(pairs, new_rng(), DRAWS)
    assert found.value == pytest.approx((1 + 0 + 0 + 0.5) / 4)
    assert found.n == 4
    assert found.low < found.value < found.high


def test_pairing_narrows_the_interval_where_the_tiers_go_together() -> None:
    rng = new_rng(3)
    second = rng.random(100) < 0.5
    first = second | (rng.random(100) < 0.1)
    paired = paired_gap(singles(first.tolist(), second.tolist()), new_rng(), DRAWS)
    shuffled = paired_gap(singles(first.tolist(), rng.permutation(second).tolist()), new_rng(), DRAWS)
    assert paired.high - paired.low < 0.6 * (shuffled.high - shuffled.low)


@pytest.mark.parametrize(
    ("first", "second", "gap"), [([1] * 20, [0] * 20, 1), ([0] * 20, [0] * 20, 0), ([1, 0] * 9, [1, 0] * 9, 0)]
)
@pytest.mark.parametrize("replies", [1, 4])
def test_pairs_that_are_all_alike_still_leave_doubt(
    first: list[int], second: list[int], gap: float, replies: int
) -> None:
    tiers = ([[bool(value)] * replies for value in tier] for tier in (first, second))
    found = paired_gap(Pairs(*tiers), new_rng(), DRAWS)
    assert found.value == gap
    assert -1 <= found.low < found.high <= 1
    assert found.low <= gap <= found.high


def test_many_queries_are_bootstrapped_and_agree_with_the_score_interval() -> None:
    rng = new_rng(5)
    first, second = rng.random(400) < 0.6, rng.random(400) < 0.4
    found = paired_gap(singles(first.tolist(), second.tolist()), new_rng(), 10_000)
    score = tango(int((first & ~second).sum()), int((second & ~first).sum()), 400)
    assert (found.method, score.method) == ("bootstrap over queries", "Tango score")
    assert (found.low, found.high) == pytest.approx((score.low, score.high), abs=0.01)


def test_a_control_with_the_same_gap_leaves_nothing_of_it() -> None:
    rng = new_rng(7)
    first, second = rng.random(60) < 0.7, rng.random(60) < 0.3
    own = singles(first.tolist(), second.tolist())
    none = gap_difference(own, own, new_rng(), DRAWS)
    assert none.value == 0
    assert none.low < 0 < none.high
    flat = singles([True] * 60, [True] * 60)
    assert gap_difference(own, flat, new_rng(), DRAWS).value == pytest.approx(own.differences.mean())


def test_gaps_over_other_queries_have_no_difference() -> None:
    with pytest.raises(ValueError, match="same queries, got 2 and 1"):
        gap_difference(singles([1, 0], [0, 0]), singles([1], [0]), new_rng(), DRAWS)


def test_the_bootstrap_agrees_with_scipys() -> None:
    values = new_rng(2).exponential(size=300)
    ours = bootstrap_mean(values, new_rng(), 10_000)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=9999, batch=500, rng=new_rng(1)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_a_bootstrap_is_repeated_by_its_seed() -> None:
    values = [0.1, 0.4, 0.9, 0.3]
    assert bootstrap_mean(values, new_rng(1), DRAWS) == bootstrap_mean(values, new_rng(1), DRAWS)
    assert bootstrap_mean(values, new_rng(1), DRAWS) != bootstrap_mean(values, new_rng(2), DRAWS)


def test_the_shortcut_for_few_distinct_values_draws_from_the_same_distribution() -> None:
    few = np.repeat([-1.0, 0.0, 1.0], [100, 600, 300])
    many = few + np.arange(few.size) * 1e-9  # the same numbers, all distinct: drawn one by one
    shortcut, direct = (resampled_means(values[:, None], new_rng(1), 4000)[:, 0] for values in (few, many))
    assert shortcut.shape == direct.shape == (4000,)
    assert shortcut.mean() == pytest.approx(direct.mean(), abs=0.002)
    assert shortcut.std() == pytest.approx(direct.std(), rel=0.05)
    assert shortcut.std() == pytest.approx(few.std() / sqrt(few.size), rel=0.05)


def test_columns_of_a_query_are_drawn_together() -> None:
    values = new_rng(1).normal(size=300)
    means = resampled_means(np.column_stack([values, 2 * values]), new_rng(), 100)
    assert means[:, 1] == pytest.approx(2 * means[:, 0])


def test_the_memory_blocks_leave_no_draw_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.statistics.bootstrap._VALUES_AT_ONCE", 1000)
    means = resampled_means(np.arange(300.0)[:, None], new_rng(), 50)
    assert means.shape == (50, 1)
    assert len(set(means[:, 0])) > 45
    assert means.mean() == pytest.approx(149.5, abs=10)


def test_a_statistic_that_resamples_often_leave_undefined_has_no_interval() -> None:
    rows = np.zeros((20, 1))
    rows[0] = 1
    low, high = bootstrap_interval(rows, lambda means: np.where(means[:, 0] > 0, 1.0, np.nan), new_rng(), DRAWS)
    assert np.isnan([low, high]).all()


def test_a_rate_of_single_replies_is_wilsons() -> None:
    assert rate([[True], [False], [True]], new_rng(), DRAWS) == wilson(2, 3)


def test_a_rate_counts_queries_alike_however_many_replies_they_have() -> None:
    found = rate([[True], [False] * 9, [True, False]], new_rng(), DRAWS)
    assert (found.value, found.n) == (pytest.approx(0.5), 3)
    assert 0 < found.low < 0.5 < found.high < 1


def test_a_rate_of_replies_that_are_all_alike_still_leaves_doubt() -> None:
    for verdict in (True, False):
        found, plain = rate([[verdict] * 4] * 12, new_rng(), DRAWS), wilson(12 * verdict, 12)
        assert (found.low, found.high) == (plain.low, plain.high)


def test_repeats_that_say_the_same_do_not_count_as_queries() -> None:
    once = wilson(20, 40)
    repeated = rate([[bool(i % 2)] * 5 for i in range(40)], new_rng(), DRAWS)
    assert repeated.high - repeated.low == pytest.approx(once.high - once.low, rel=0.1)
    independent = rate([list(new_rng(i).random(5) < 0.5) for i in range(40)], new_rng(), DRAWS)
    assert independent.high - independent.low < 0.7 * (once.high - once.low)


def test_a_share_of_replies_weighs_queries_by_how_many_of_theirs_are_looked_at() -> None:
    found = ratio_rate([1.0, 0.0, 0.25], [1.0, 0.5, 0.5], 6)
    assert found.value == pytest.approx(1.25 / 2)
    with pytest.raises(ValueError, match="got none"):
        ratio_rate([0.0], [0.0], 0)


def test_two_way_squares_are_those_of_an_ordinary_analysis_of_variance() -> None:
    table = new_rng(8).normal(size=(4, 30)) + np.array([0.0, 1.0, -1.0, 2.0])[:, None]
    between_units, between_queries = 30 * table.mean(axis=1).var(ddof=1), 4 * table.mean(axis=0).var(ddof=1)
    rest = (np.var(table) * 120 - 3 * between_units - 29 * between_queries) / 87
    found = two_way(table)
    assert found.variance == pytest.approx((between_units + between_queries - rest) / 120)
    assert found.degrees_of_freedom < 29


def test_seeds_that_differ_widen_the_gap_and_seeds_that_do_not_narrow_it() -> None:
    rng = new_rng(4)
    one = singles((rng.random(60) < 0.7).tolist(), (rng.random(60) < 0.4).tolist())
    alike = [singles((rng.random(60) < 0.7).tolist(), (rng.random(60) < 0.4).tolist()) for _ in range(6)]
    apart = [singles((rng.random(60) < share).tolist(), (rng.random(60) < 0.4).tolist()) for share in (0.9, 0.4, 0.7)]
    single = paired_gap(one, new_rng(), DRAWS)
    over_alike, over_apart = gap_over_levels(alike), gap_over_levels(apart)
    assert over_alike.high - over_alike.low < single.high - single.low < over_apart.high - over_apart.low
    assert (over_alike.n, over_apart.n) == (6, 3)


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
        lambda: paired_gap(Pairs([], []), new_rng(), DRAWS),
        lambda: Pairs([[True], [False]], [[True]]),
        lambda: Pairs([[True], []], [[True], [True]]),
        lambda: rate([], new_rng(), DRAWS),
        lambda: t_mean([]),
        lambda: t_mean([1.0]),
        lambda: gap_over_levels([singles([1, 0], [0, 0])]),
        lambda: gap_over_levels([singles([1, 0], [0, 0]), singles([1], [0])]),
    ],
)
def test_no_data_is_an_error_and_not_a_zero(estimate: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="got|no values"):
        estimate()
