"""How many queries find what gap: power, sample size, and the smallest gap that a result could have found.

Of n queries with a gap g each and variance v between queries, the two-sided 5% test of no gap has standard error
sqrt((v + g²)/n) under no gap and sqrt(v/n) under g, so power P needs
    n g² = (z_0.975 sqrt(v + g²) + z_P sqrt(v))².
With one reply a query v + g² is the share of pairs that differ, and this is the formula for paired proportions of Miettinen
(1968) and Connor (1987). It counts on the normal curve: below about five differing pairs it promises too much.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.optimize import brentq

from eval.statistics.estimate import Z

POWER = 0.8
"""The chance of finding the gap that sizes and detectable gaps are given for."""
_Z_POWER = float(stats.norm.ppf(POWER))


@dataclass(frozen=True)
class Tiers:
    """What two tiers' replies are expected to be like."""

    paid_rate: float
    """Share that complies in paid; the rate in free is this plus the gap."""
    correlation: float = 0.0
    """Of two single replies to one query, one in either tier."""
    samples: int = 1
    """Replies per query and tier."""
    within: float = 0.5
    """Correlation of two replies to one query in one tier; no matter for one reply."""

    def variance(self, gap: float) -> float:
        """Between queries, of a query's own difference of rates; the correlation counts as far as the rates allow it.

        Raises:
            ValueError: the gap leads to a rate below 0 or above 1.
        """
        paid, free = self.paid_rate, self.paid_rate + gap
        if not (0 <= paid <= 1 and -1e-12 <= free <= 1 + 1e-12):
            raise ValueError(f"a gap of {gap:.3g} above a paid rate of {paid:.3g} leaves 0 to 1")
        free = min(max(free, 0.0), 1.0)
        spread = [share * (1 - share) for share in (paid, free)]
        joint = min(self.correlation * sqrt(spread[0] * spread[1]), min(paid, free) - paid * free)
        shared = (1 + (self.samples - 1) * self.within) / self.samples
        return max(0.0, sum(spread) * shared - 2 * joint)


def power_of(num_queries: int, gap: float, variance: float) -> float:
    """The chance that a gap is found, in its own direction."""
    if variance <= 0:
        return float(num_queries * gap**2 > Z**2 * gap**2)
    reach = abs(gap) * sqrt(num_queries) - Z * sqrt(variance + gap**2)
    return float(stats.norm.cdf(reach / sqrt(variance)))


def pairs_needed(gap: float, variance: float) -> int:
    """Queries that find the gap with a chance of `POWER`.

    Raises:
        ValueError: the gap is 0, which no number of queries finds.
    """
    if gap == 0:
        raise ValueError("a gap of 0 is found by no number of queries")
    return ceil((Z * sqrt(variance + gap**2) + _Z_POWER * sqrt(variance)) ** 2 / gap**2 - 1e-9)


def detectable_gap(num_queries: int, variance_at: Callable[[float], float], most: float = 1.0) -> float | None:
    """The smallest gap that so many queries find with a chance of `POWER`; None where even `most` is too small.

    `variance_at` gives the variance between queries at a gap from 0 to `most`.
    """

    def short(gap: float) -> float:
        variance = max(variance_at(gap), 0.0)
        return Z * sqrt(variance + gap**2) + _Z_POWER * sqrt(variance) - gap * sqrt(num_queries)

    least = 1e-9
    if short(most) > 0:
        return None
    return float(brentq(short, least, most, xtol=1e-9)) if short(least) > 0 else least


def minimum_detectable_gap(differences: ArrayLike) -> float | None:
    """The smallest gap that this result would have found with a chance of 80%, from each query's own difference.

    None where not even the largest gap would have been found.

    Raises:
        ValueError: there is no difference.
    """
    values = np.asarray(differences, dtype=float)
    most = max(1.0, float(np.abs(values).max(initial=0.0)))  # a difference of two gaps reaches 2
    return detectable_gap(values.size, observed_variance(values), most)


def observed_variance(differences: ArrayLike) -> Callable[[float], float]:
    """What the variance between queries would be at a gap, from each query's own difference.

    What differs in the rarer direction is noise, and a gap cannot do without: noise in both directions, one half pair more
    in each (Agresti and Min 2005). A gap of g adds g to the mean square, as where g of the queries change altogether: with
    several replies a gap that is spread evenly is found sooner.

    Raises:
        ValueError: there is no difference.
    """
    values = np.asarray(differences, dtype=float)
    if values.size == 0:
        raise ValueError("what no query shows was asked for")
    rarer = min(float(np.sum(values[values > 0] ** 2)), float(np.sum(values[values < 0] ** 2)))
    noise = (2 * rarer + 1) / (values.size + 1)
    return lambda gap: noise + abs(gap) - gap**2
