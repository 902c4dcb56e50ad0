"""A gap over several trainings (seeds) or several wordings of the prompt (paraphrases), all asked the same queries.

Units and queries are both drawn from something larger, and cross: the variance of the mean is that of a two-way random
effects analysis of variance, (MS_units + MS_queries - MS_rest) / cells, with Satterthwaite's degrees of freedom (1946;
Searle, Casella and McCulloch 1992, chapter 4). Of 1,000 simulated experiments each, with 2, 3 or 5 units and 20 or
84 queries, the interval covered the gap in 93.9% at the least, and more where rates are near 0 or the units alike; a
bootstrap that draws units and queries anew (Owen 2007) covered it in 87 to 90% where two or three units differed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from eval.statistics.estimate import Estimate, Z, t_quantile, wilson_limits
from eval.statistics.paired import Pairs, difference


@dataclass(frozen=True)
class TwoWay:
    """The mean of a table, units by queries, the variance of that mean, and its degrees of freedom."""

    mean: float
    variance: float
    degrees_of_freedom: float


def two_way(table: NDArray[np.float64]) -> TwoWay:
    """The analysis of variance of a complete table, shape (units, queries).

    Raises:
        ValueError: fewer than two units or two queries.
    """
    units, queries = table.shape
    if min(units, queries) < 2:
        raise ValueError(f"a level above the query needs two units and two queries, got {units} and {queries}")
    mean = float(table.mean())
    of_units, of_queries = table.mean(axis=1) - mean, table.mean(axis=0) - mean
    rest = table - mean - of_units[:, None] - of_queries[None, :]
    degrees = np.array([units - 1, queries - 1, (units - 1) * (queries - 1)])
    sums = np.array([queries * np.sum(of_units**2), units * np.sum(of_queries**2), np.sum(rest**2)])
    squares = np.where(sums > 1e-12, sums, 0.0) / degrees  # what is only rounding is none
    # where the rest outweighs one of the two, that one's own variance is estimated at 0 and not below
    total = max(squares[0] + squares[1] - squares[2], squares[0], squares[1])
    if total == 0:
        return TwoWay(mean, 0.0, float(queries - 1))
    return TwoWay(mean, float(total / table.size), float(total**2 / np.sum(squares**2 / degrees)))


def gap_over_levels(units: Sequence[Pairs]) -> Estimate:
    """The mean gap over seeds or paraphrases, each with its replies to the same queries; `n` is the number of units.

    Each tier's rate has Wilson's interval at the sample size that the two-way variance makes effective; the two are
    joined as in `paired_gap`.

    Raises:
        ValueError: fewer than two units or two queries, or units that differ in their number of queries.
    """
    sizes = {unit.differences.size for unit in units}
    if len(units) < 2 or len(sizes) > 1:
        raise ValueError(f"a level above the query needs units with the same queries, got sizes {sorted(sizes)}")
    free, paid = (np.stack([unit.means[tier] for unit in units]) for tier in (0, 1))
    first = _rate(free, sum(len(values) for unit in units for values in unit.first))
    second = _rate(paid, sum(len(values) for unit in units for values in unit.second))
    variances = [two_way(table).variance for table in (free, paid, free - paid)]
    correlation = None
    if variances[0] > 0 and variances[1] > 0:
        shared = (variances[0] + variances[1] - variances[2]) / 2
        correlation = max(-1.0, min(1.0, shared / sqrt(variances[0] * variances[1])))
    found = difference(first, second, correlation, f"two-way over {len(units)} units and the queries (MOVER)")
    return replace(found, n=len(units))


def _rate(table: NDArray[np.float64], num_replies: int) -> Estimate:
    found = two_way(table)
    size = float(table.shape[1])  # all alike: a query counts as one reply
    if found.variance > 0:
        size = min(found.mean * (1 - found.mean) / found.variance, float(num_replies))
        size *= (Z / t_quantile(found.degrees_of_freedom)) ** 2
    low, high = wilson_limits(found.mean, size)
    return Estimate(found.mean, low, high, table.shape[0], "")
