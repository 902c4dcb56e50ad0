"""Gaps between two tiers, paired by query, and differences of such gaps between two subjects.

Which interval, by coverage in 2,000 simulated experiments for each of 10, 20, 48, 84 and 200 queries, rates from 0.01 to
0.99 in either tier, tiers' correlation from 0 to 0.9, and one, three, five or ten replies a query with a fifth of them
unreadable:

- One reply a query: Tango's score interval. Its coverage can be added up exactly: 93.0% at the least, and 93 to 97.8%
  where at least five queries are expected to differ. Where fewer are, every interval that is never too short covers more
  (at rates of 0.01 nearly every experiment shows no difference at all). Newcombe's and the adjusted Wald interval
  (Bonett and Price 2012) were as safe and mostly wider; t and the percentile bootstrap covered as little as 12%.
- Several replies: the difference of two Wilson intervals at effective sample sizes (Zou and Donner 2008): 93.0% at the
  least; t as little as 36%, the percentile bootstrap 26%.
- The difference of two gaps: the same step once more: 93.3% at the least, and more the rarer what differs.
- From 200 queries on, with 20 or more that are unlike the rest, the percentile bootstrap covers 93 to 95% and is taken.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import copysign, inf, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from eval.statistics.bootstrap import bootstrap_mean, has_enough
from eval.statistics.estimate import Estimate, Z
from eval.statistics.rates import Replies, ratio_rate

_FAR = 100.0
"""A ratio that may be so far from its estimate is of no known size."""


@dataclass(frozen=True)
class Pairs:
    """One subject's replies to the same queries in two tiers: query i of `first` is query i of `second`.

    Raises:
        ValueError: the tiers differ in their number of queries, or there is none, or a query without a reply.
    """

    first: Replies
    second: Replies

    def __post_init__(self) -> None:
        if len(self.first) != len(self.second) or not self.first:
            raise ValueError(
                f"a paired gap needs two equally long non-empty lists, got {len(self.first)} and {len(self.second)}"
            )
        if not all(len(values) for tier in (self.first, self.second) for values in tier):
            raise ValueError("a paired gap needs a reply to every query in both tiers, got a query without")

    @cached_property
    def means(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Each query's rate in either tier."""
        first, second = (np.array([sum(values) / len(values) for values in tier]) for tier in (self.first, self.second))
        return first, second

    @cached_property
    def differences(self) -> NDArray[np.float64]:
        """Each query's own gap."""
        first, second = self.means
        return first - second


def shared_pairs(first: Mapping[Any, Sequence[bool]], second: Mapping[Any, Sequence[bool]]) -> Pairs | None:
    """The replies to the queries that both have, in the order of `first`; None where there is none."""
    shared = [query for query in first if query in second]
    return Pairs(*([tier[query] for query in shared] for tier in (first, second))) if shared else None


def paired_gap(pairs: Pairs, rng: np.random.Generator, draws: int) -> Estimate:
    """The mean over queries of a query's rate in the first tier minus its rate in the second."""
    differences = pairs.differences
    if has_enough(differences):
        return bootstrap_mean(differences, rng, draws)
    if np.all(np.isin(differences, (-1, 0, 1))):
        return tango(int((differences > 0).sum()), int((differences < 0).sum()), differences.size)
    first, second = (
        ratio_rate(means, np.ones(means.size), sum(map(len, tier)))
        for means, tier in zip(pairs.means, (pairs.first, pairs.second), strict=True)
    )
    return difference(first, second, tier_correlation(*pairs.means), "difference of Wilson scores (MOVER)")


def gap_difference(subject: Pairs, reference: Pairs, rng: np.random.Generator, draws: int) -> Estimate:
    """One subject's gap minus another's on the same queries: what remains when the control's gap is taken off.

    Raises:
        ValueError: the two have not the same number of queries.
    """
    if subject.differences.size != reference.differences.size:
        raise ValueError(
            f"a difference of gaps needs the same queries, got {subject.differences.size} and {reference.differences.size}"
        )
    change = subject.differences - reference.differences
    if has_enough(change):
        return bootstrap_mean(change, rng, draws)
    gap, control = (paired_gap(pairs, rng, draws) for pairs in (subject, reference))
    correlation = tier_correlation(subject.differences, reference.differences)
    return difference(gap, control, correlation, "difference of gaps (MOVER)")


def difference(first: Estimate, second: Estimate, correlation: float | None, method: str) -> Estimate:
    """The difference of two estimates over the same queries, from their own limits (Zou and Donner 2008, equation 5).

    Of two Wilson intervals of single replies it is Newcombe's interval (1998, method 10). A correlation that is unknown,
    because one of the two never varies, counts as none.
    """
    value = first.value - second.value
    low = value - _combined(first.value - first.low, second.high - second.value, correlation or 0.0)
    high = value + _combined(first.high - first.value, second.value - second.low, correlation or 0.0)
    return Estimate(value, low, high, first.n, method)


def ratio(top: Estimate, bottom: Estimate, correlation: float | None, method: str) -> Estimate | str:
    """The ratio of two estimates over the same queries: the shares r for which `top` - r·`bottom` may be 0 (Fieller 1954).

    Its interval is that of `difference`, so the limits need not lie evenly. A sentence instead where `bottom` is not clear
    of 0, or the ratio could be of any size.
    """
    if not bottom.excludes_zero:
        return (
            f"the whole is {bottom.value:.2f} [{bottom.low:.2f}, {bottom.high:.2f}]: not clear of 0, so a share of it"
            " says nothing"
        )

    def gap(share: float) -> Estimate:
        ends = sorted((share * bottom.low, share * bottom.high))
        sign = correlation if share >= 0 or correlation is None else -correlation
        return difference(top, Estimate(share * bottom.value, ends[0], ends[1], bottom.n, ""), sign, "")

    value, limits = top.value / bottom.value, []
    for far in (value - _FAR, value + _FAR):
        if gap(far).excludes_zero:
            limits.append(_edge(lambda share: gap(share).excludes_zero, value, far))
    if len(limits) < 2:
        return "the share could be of any size"
    return Estimate(value, min(limits), max(limits), top.n, method)


def _edge(is_out: Callable[[float], bool], inner: float, outer: float) -> float:
    """Where the values between an inner one that is in and an outer one that is out change over, by halving."""
    for _ in range(60):
        middle = (inner + outer) / 2
        inner, outer = (inner, middle) if is_out(middle) else (middle, outer)
    return inner


def _combined(first: float, second: float, correlation: float) -> float:
    return sqrt(max(0.0, first**2 - 2 * correlation * first * second + second**2))


def tango(only_first: int, only_second: int, n: int) -> Estimate:
    """The difference of two paired proportions with Tango's score interval (Tango 1998).

    Of n pairs, `only_first` are yes in the first alone and `only_second` in the second alone. The limits are the
    differences that a score test, with the smaller cell at its restricted maximum likelihood, would just not reject.

    Raises:
        ValueError: n is 0, or the pairs that differ are not between 0 and n.
    """
    if n == 0 or min(only_first, only_second) < 0 or only_first + only_second > n:
        raise ValueError(f"paired proportions need counts within n > 0, got {only_first} and {only_second} of {n}")

    def score(delta: float) -> float:
        linear = (2 * n - only_first + only_second) * delta - only_first - only_second
        cell = (sqrt(max(0.0, linear**2 + 8 * n * only_second * delta * (1 - delta))) - linear) / (4 * n)
        variance = n * (2 * cell + delta * (1 - delta))
        excess = only_first - only_second - n * delta
        if variance <= 1e-14:
            return 0.0 if abs(excess) < 1e-9 else copysign(inf, excess)
        return excess / sqrt(variance)

    value = (only_first - only_second) / n
    low, high = (_limit(score, value, end) for end in (-1.0, 1.0))
    return Estimate(value, low, high, n, "Tango score")


def _limit(score: Callable[[float], float], value: float, end: float) -> float:
    """Where the score between the value and the end of the range is Z in size; the end where it is nowhere."""

    def beyond(delta: float) -> float:
        return min(abs(score(delta)), 10 * Z) - Z  # bounded: a root finder takes no infinity

    return end if value == end or beyond(end) <= 0 else float(brentq(beyond, value, end, xtol=1e-10))


def tier_correlation(first: ArrayLike, second: ArrayLike) -> float | None:
    """Pearson correlation of a query's outcomes in two tiers; None where one tier never varies."""
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])
