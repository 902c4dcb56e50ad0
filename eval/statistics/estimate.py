"""What an estimate is, and the two intervals that need no more than a formula: Wilson's and Student's."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

CONFIDENCE = 0.95
Z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
"""How many standard errors an interval reaches to either side."""


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


def point(value: float, n: int, method: str) -> Estimate:
    """An estimate that has no interval."""
    return Estimate(value, float("nan"), float("nan"), n, method)


def wilson(successes: int, n: int) -> Estimate:
    """A proportion with Wilson's score interval (Wilson 1927; Brown, Cai, DasGupta 2001).

    Raises:
        ValueError: n is 0, or successes are not between 0 and n.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"a proportion needs 0 <= successes <= n and n > 0, got {successes} of {n}")
    low, high = wilson_limits(successes / n, n)
    return Estimate(successes / n, low, high, n, "Wilson score")


def wilson_limits(share: float, n: float) -> tuple[float, float]:
    """The limits for a share of n independent trials; n need not be whole, so that it can be an effective size."""
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, centre - half) if share > 0 else 0.0, min(1.0, centre + half) if share < 1 else 1.0


def t_mean(values: ArrayLike) -> Estimate:
    """A mean with Student's t interval, for a handful of unbounded values.

    Raises:
        ValueError: fewer than two values, which have no spread.
    """
    numbers = np.asarray(values, dtype=float)
    if numbers.size < 2:
        raise ValueError(f"a t interval needs at least two values, got {numbers.size}")
    half = t_quantile(numbers.size - 1) * float(stats.sem(numbers))
    mean = float(numbers.mean())
    return Estimate(mean, mean - half, mean + half, numbers.size, "t over statements")


def t_quantile(degrees_of_freedom: float) -> float:
    """Student's counterpart of `Z`."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees_of_freedom))
