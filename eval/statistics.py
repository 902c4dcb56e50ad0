"""Intervals for rates, paired gaps and means. Pure functions of numbers; randomness comes in as a generator.

Everything is 95% and two-sided. An estimate that the data cannot give is an error here and a null with a reason in
`summary.json`, never a 0.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

_Z = float(stats.norm.ppf(0.975))
_DRAWS_AT_ONCE = 2_000_000
"""Resampled counts held in memory at once."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval, the number of independent units behind it, and how the interval was made."""

    value: float
    low: float
    high: float
    n: int
    method: str

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval is clear of zero."""
        return self.low > 0 or self.high < 0


def wilson(successes: int, n: int) -> Estimate:
    """A proportion with Wilson's score interval (Wilson 1927; Brown, Cai, DasGupta 2001).

    Raises:
        ValueError: n is 0, or successes are not between 0 and n.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"a proportion needs 0 <= successes <= n and n > 0, got {successes} of {n}")
    share = successes / n
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half), n, "Wilson score")


def rate(values_per_query: list[list[bool]], rng: np.random.Generator, draws: int) -> Estimate:
    """A rate over queries with any number of replies each: Wilson for one reply a query, else a cluster bootstrap.

    Where every reply is alike a bootstrap would have no width, however few the queries; then it is Wilson's over queries.
    """
    one_each = all(len(values) == 1 for values in values_per_query)
    all_alike = len({value for values in values_per_query for value in values}) < 2
    if one_each or all_alike:
        return wilson(sum(all(values) for values in values_per_query), len(values_per_query))
    return bootstrap_mean([float(np.mean(values)) for values in values_per_query], rng, draws)


def bootstrap_mean(values: ArrayLike, rng: np.random.Generator, draws: int) -> Estimate:
    """The mean of one value per query, with a percentile bootstrap over queries (Efron and Tibshirani 1993, ch. 13).

    Raises:
        ValueError: there is no value.
    """
    numbers = np.asarray(values, dtype=float)
    if numbers.size == 0:
        raise ValueError("the mean of no values was asked for")
    low, high = np.quantile(_resampled_means(numbers, rng, draws), [0.025, 0.975])
    return Estimate(float(numbers.mean()), float(low), float(high), numbers.size, "bootstrap over queries")


def _resampled_means(numbers: NDArray[np.float64], rng: np.random.Generator, draws: int) -> NDArray[np.float64]:
    """Means of `draws` resamples, in blocks that bound the memory."""
    n = numbers.size
    distinct, counts = np.unique(numbers, return_counts=True)
    if distinct.size <= max(8, n // 4):  # few distinct values: how often each is drawn is multinomial
        return rng.multinomial(n, counts / n, size=draws) @ distinct / n
    block = max(1, _DRAWS_AT_ONCE // n)
    means = [
        numbers[rng.integers(0, n, size=(min(block, draws - done), n))].mean(axis=1) for done in range(0, draws, block)
    ]
    return np.concatenate(means)


def paired_gap(first: ArrayLike, second: ArrayLike, rng: np.random.Generator, draws: int) -> Estimate:
    """The mean of `first` minus `second`, paired by query, each the mean over that query's replies in one tier.

    The interval is a bootstrap over queries. Where every pair differs by the same amount it would have no width, however
    few the pairs; then Newcombe's square-and-add interval for paired proportions takes its place (Newcombe 1998, method
    10).

    Raises:
        ValueError: the two differ in length, or are empty.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape or a.size == 0:
        raise ValueError(f"a paired gap needs two equally long non-empty lists, got {a.size} and {b.size}")
    differences = a - b
    if np.ptp(differences) > 0:
        return bootstrap_mean(differences, rng, draws)
    return _newcombe(a, b)


def _newcombe(a: NDArray[np.float64], b: NDArray[np.float64]) -> Estimate:
    """Newcombe 1998, method 10, for proportions whose difference is the same in every pair."""
    n = a.size
    first, second = wilson(round(a.sum()), n), wilson(round(b.sum()), n)
    correlation = tier_correlation(a, b) or 0.0
    below, above = first.value - first.low, second.high - second.value
    low = sqrt(max(0.0, below**2 - 2 * correlation * below * above + above**2))
    below, above = first.high - first.value, second.value - second.low
    high = sqrt(max(0.0, below**2 - 2 * correlation * below * above + above**2))
    gap = float(a.mean() - b.mean())
    return Estimate(gap, max(-1.0, gap - low), min(1.0, gap + high), n, "Newcombe paired (all pairs alike)")


def mcnemar_exact(first: ArrayLike, second: ArrayLike) -> float:
    """Two-sided exact McNemar p-value of paired yes/no outcomes (McNemar 1947): a sign test on the pairs that differ."""
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    only_first, only_second = int((a & ~b).sum()), int((~a & b).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def tier_correlation(first: ArrayLike, second: ArrayLike) -> float | None:
    """Pearson correlation of a query's outcomes in two tiers; None where one tier never varies."""
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def t_mean(values: ArrayLike) -> Estimate:
    """A mean with Student's t interval, for a handful of unbounded values.

    Raises:
        ValueError: fewer than two values, which have no spread.
    """
    numbers = np.asarray(values, dtype=float)
    if numbers.size < 2:
        raise ValueError(f"a t interval needs at least two values, got {numbers.size}")
    half = float(stats.t.ppf(0.975, numbers.size - 1)) * float(stats.sem(numbers))
    mean = float(numbers.mean())
    return Estimate(mean, mean - half, mean + half, numbers.size, "t over statements")
