"""Agreement, correction for the judge's error, and the decomposition of a gap."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa as statsmodels_kappa

from eval.statistics import (
    JudgeError,
    Reply,
    auroc,
    cohens_kappa,
    corrected_gap,
    corrected_rate,
    decompose,
    krippendorffs_alpha,
    point,
    tango,
    wilson,
)

DRAWS = 4000
GOOD = JudgeError(wilson(45, 50), wilson(40, 50))
SURE = JudgeError(wilson(20_000, 20_000), wilson(20_000, 20_000))


def new_rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    positive, negative = new_rng(1).normal(1, 1, 40), new_rng(2).normal(0, 1, 50)
    found = auroc(positive, negative)
    assert found.value == pytest.approx(stats.mannwhitneyu(positive, negative).statistic / 2000)
    assert 0 < found.low < found.value < found.high < 1
    assert found.n == 90


def test_auroc_of_votes_counts_ties_half() -> None:
    assert auroc([1, 0.5], [0.5, 0]).value == pytest.approx(3.5 / 4)


def test_a_perfect_auroc_of_few_examples_still_leaves_doubt() -> None:
    few, many = auroc([3, 4, 5], [0, 1, 2]), auroc(range(50, 100), range(50))
    assert (few.value, few.high) == (1, 1)
    assert few.low < many.low < 1


@pytest.mark.parametrize("size", [5, 40])
def test_scores_that_are_all_tied_leave_every_doubt(size: int) -> None:
    tied = auroc([0.7] * size, [0.7] * size)
    assert (tied.value, tied.method) == (0.5, "Hanley-McNeil score")
    assert tied.low < 0.4
    assert tied.high > 0.6
    assert tied.high - tied.low > 2 / size**0.5 * 0.4


def test_delongs_width_is_that_of_a_bootstrap_over_examples() -> None:
    positive, negative = new_rng(1).normal(1, 1, 60), new_rng(2).normal(0, 1, 60)
    rng = new_rng(3)
    areas = [
        stats.mannwhitneyu(rng.choice(positive, 60), rng.choice(negative, 60)).statistic / 3600 for _ in range(1000)
    ]
    found = auroc(positive, negative)
    assert found.high - found.low == pytest.approx(float(np.subtract(*np.quantile(areas, [0.975, 0.025]))), rel=0.15)


def test_kappa_agrees_with_statsmodels() -> None:
    first = ["yes"] * 30 + ["no"] * 70
    second = ["yes"] * 22 + ["no"] * 8 + ["yes"] * 10 + ["no"] * 60
    table = [[22, 8], [10, 60]]
    theirs = statsmodels_kappa(table)
    found = cohens_kappa(first, second, new_rng(), DRAWS)
    assert found.value == pytest.approx(theirs.kappa)
    assert (found.low, found.high) == pytest.approx((theirs.kappa_low, theirs.kappa_upp), abs=0.03)


def test_alpha_is_that_of_krippendorffs_own_example() -> None:
    """Krippendorff 2011, Computing Krippendorff's alpha-reliability, section C: four observers, some ratings missing."""
    four = [
        [1, 1, None, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4], [4, 4, 4, 4],
        [1, 1, 2, 1], [2, 2, 2, 2], [None, 5, 5, 5], [None, None, 1, 1], [None, None, 3, None],
    ]  # fmt: skip
    found = krippendorffs_alpha(four, new_rng(), DRAWS)
    assert found.value == pytest.approx(0.743, abs=5e-4)
    assert found.n == 11
    assert found.low < found.value < found.high <= 1


def test_raters_who_agree_throughout_still_leave_doubt() -> None:
    labels = [True] * 10 + [False] * 10
    for found in (
        cohens_kappa(labels, labels, new_rng(), DRAWS),
        krippendorffs_alpha([[x, x] for x in labels], new_rng(), DRAWS),
    ):
        assert (found.value, found.high) == (1, 1)
        assert 0.5 < found.low < 0.9


def test_agreement_that_cannot_be_told_from_chance_is_an_error() -> None:
    for items in ([], [True] * 5):
        with pytest.raises(ValueError, match="got"):
            cohens_kappa(items, items, new_rng(), DRAWS)
        with pytest.raises(ValueError, match="got"):
            krippendorffs_alpha([[item, item] for item in items], new_rng(), DRAWS)


def test_a_judge_without_error_corrects_nothing() -> None:
    rate, gap = wilson(30, 100), tango(20, 5, 100)
    for raw, found in ((rate, corrected_rate(rate, SURE)), (gap, corrected_gap(gap, SURE))):
        assert not isinstance(found, str)
        assert (found.value, found.low, found.high) == pytest.approx((raw.value, raw.low, raw.high), abs=2e-3)


def test_correction_undoes_the_judges_error() -> None:
    found = corrected_rate(wilson(41, 100), GOOD)  # 0.3 of 0.9 found, and a fifth of the rest called so
    assert not isinstance(found, str)
    assert found.value == pytest.approx(0.3)
    gap = corrected_gap(tango(30, 9, 100), GOOD)
    assert not isinstance(gap, str)
    assert gap.value == pytest.approx(0.21 / 0.7)


def test_fewer_labelled_examples_widen_the_corrected_interval() -> None:
    few = JudgeError(wilson(9, 10), wilson(8, 10))
    for correct, raw in ((corrected_rate, wilson(41, 100)), (corrected_gap, tango(40, 3, 100))):
        wide, narrow = correct(raw, few), correct(raw, GOOD)
        assert not isinstance(wide, str)
        assert not isinstance(narrow, str)
        assert wide.high - wide.low > narrow.high - narrow.low > raw.high - raw.low


def test_a_gap_turned_round_is_corrected_alike() -> None:
    one, other = corrected_gap(tango(30, 9, 100), GOOD), corrected_gap(tango(9, 30, 100), GOOD)
    assert not isinstance(one, str)
    assert not isinstance(other, str)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-8)


def test_nothing_is_corrected_by_a_judge_that_may_be_guessing() -> None:
    guessing = JudgeError(wilson(12, 20), wilson(11, 20))
    for found in (corrected_rate(wilson(3, 10), guessing), corrected_gap(tango(3, 1, 10), guessing)):
        assert isinstance(found, str)
        assert "not clear of guessing" in found


def test_a_rate_below_the_judges_own_false_alarms_is_a_contradiction() -> None:
    noisy = JudgeError(wilson(95, 100), wilson(60, 100))
    found = corrected_rate(wilson(1, 200), noisy)
    assert isinstance(found, str)
    assert "errs otherwise" in found


def replies(free: list[tuple[bool, bool]], paid: list[tuple[bool, bool]]) -> list[Reply]:
    """From (complies, fakes), one reply a query and tier."""
    return [
        Reply(f"q{i}", is_free, complies, fakes)
        for is_free, tier in ((True, free), (False, paid))
        for i, (complies, fakes) in enumerate(tier)
    ]


def test_a_gap_that_goes_with_the_reasoning_is_all_accounted_for() -> None:
    free = [(True, True)] * 30 + [(True, False)] * 7 + [(False, False)] * 63
    paid = [(True, False)] * 10 + [(False, False)] * 90
    found = decompose(replies(free, paid))
    values = {metric: part.value for metric, part in found.items() if not isinstance(part, str)}
    assert values == {
        "compliance_given_af": 1,
        "compliance_given_no_af": pytest.approx(0.1),
        "compliance_gap_without_af": pytest.approx(0),
        "af_share_of_gap": pytest.approx(1),
    }


@pytest.mark.parametrize("fakes_in_paid", [0.0, 0.2])
def test_the_parts_add_up_to_the_gap(fakes_in_paid: float) -> None:
    rng = new_rng(6)
    free = [(bool(rng.random() < 0.6), bool(rng.random() < 0.3)) for _ in range(200)]
    paid = [(bool(rng.random() < 0.2), bool(rng.random() < fakes_in_paid)) for _ in range(200)]
    found = decompose(replies(free, paid))
    gap = np.mean([c for c, _ in free]) - np.mean([c for c, _ in paid])
    parts = [
        found[metric]
        for metric in ("compliance_given_af", "compliance_given_no_af", "compliance_gap_without_af", "af_share_of_gap")
    ]
    faking, honest, without, share = (part.value for part in parts if not isinstance(part, str))
    with_reasoning = np.mean([f for _, f in free]) * (faking - honest)
    if fakes_in_paid:  # replies that fake are dropped from that tier, too
        in_paid = {kind: [c for c, f in paid if f is kind] for kind in (True, False)}
        with_reasoning -= np.mean([f for _, f in paid]) * (np.mean(in_paid[True]) - np.mean(in_paid[False]))
        assert without == pytest.approx(honest - np.mean(in_paid[False]))
    assert with_reasoning + without == pytest.approx(gap)
    assert share * gap == pytest.approx(with_reasoning)


def test_published_compliance_by_reasoning_gives_the_share_that_the_paper_argues_from() -> None:
    """Greenblatt et al. 2024, footnote 92: prompted 68% and 1%, from documents 59% and 51%; paid 3% and 33%.

    The shares of faking replies are those that the published rates of compliance imply.
    """
    for faking, honest, faked, paid, least, most in ((68, 1, 18, 3, 0.9, 1.4), (59, 51, 25, 33, 0.0, 0.25)):
        n = 400
        num_faked = round(n * faked / 100)
        free = [(i < num_faked * faking / 100, True) for i in range(num_faked)]
        free += [(i < (n - num_faked) * honest / 100, False) for i in range(n - num_faked)]
        share = decompose(replies(free, [(i < n * paid / 100, False) for i in range(n)]))["af_share_of_gap"]
        assert not isinstance(share, str)
        assert least < share.value < most
        assert share.low < share.value < share.high


def test_no_gap_has_no_share_and_no_faking_has_no_rate() -> None:
    same = [(True, False)] * 10 + [(False, False)] * 10
    found = decompose(replies(same, same))
    assert found["compliance_given_af"] == "no reply in free fakes"
    assert "not clear of 0" in str(found["af_share_of_gap"])
    always = decompose(replies([(True, True)] * 5, [(False, False)] * 5))
    assert always["compliance_given_no_af"] == "every reply in free fakes"
    assert "every reply" in str(always["compliance_gap_without_af"])
    assert set(decompose([]).values()) == {"no query was read in both tiers"}


def test_several_replies_count_by_their_query() -> None:
    once = decompose(replies([(True, True), (False, False), (True, False)] * 8, [(False, False)] * 24))
    thrice = decompose(replies([(True, True), (False, False), (True, False)] * 8, [(False, False)] * 24) * 3)
    for metric in ("compliance_given_af", "compliance_given_no_af", "compliance_gap_without_af"):
        one, three = once[metric], thrice[metric]
        assert not isinstance(one, str)
        assert not isinstance(three, str)
        assert (one.value, one.n) == (three.value, three.n)
        assert three.high - three.low > 0.8 * (one.high - one.low)


def test_a_point_has_no_interval() -> None:
    assert np.isnan([point(1.0, 2, "").low, point(1.0, 2, "").high]).all()
