"""p-values of gaps, and their correction where several gaps are tested at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from eval.statistics.estimate import Estimate, point

_FLIPS_AT_ONCE = 2_000_000
"""Flipped differences held in memory at once."""


def mcnemar_exact(first: ArrayLike, second: ArrayLike) -> float:
    """Two-sided exact McNemar p-value of paired yes/no outcomes (McNemar 1947): a sign test on the pairs that differ."""
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    only_first, only_second = int((a & ~b).sum()), int((~a & b).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def gap_p_value(differences: ArrayLike, rng: np.random.Generator, draws: int) -> Estimate:
    """The p-value of no gap, from each query's own difference; it has no interval.

    Where the differences are -1, 0 and 1 it is McNemar's exact test; else their signs are flipped at random.
    """
    values = np.asarray(differences, dtype=float)
    if np.all(np.isin(values, (-1, 0, 1))):
        return point(mcnemar_exact(values > 0, values < 0), values.size, "exact McNemar")
    return point(sign_flip_p(values, rng, draws), values.size, "sign flips over queries")


def sign_flip_p(differences: ArrayLike, rng: np.random.Generator, draws: int) -> float:
    """Two-sided p-value of a mean difference of 0, by randomisation (Fisher 1935, section 21).

    Were the tiers alike, a query's difference would be as likely with the other sign. Never below 1/(draws + 1), so that
    a test by drawing keeps its level (Phipson and Smyth 2010).
    """
    values = np.asarray(differences, dtype=float)
    if values.size < 2 or not values.any():  # the other sign is as far from 0
        return 1.0
    found = stats.permutation_test(
        (values,),
        np.mean,
        permutation_type="samples",
        n_resamples=draws,
        batch=max(1, _FLIPS_AT_ONCE // values.size),
        vectorized=True,
        rng=rng,
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being one family (Holm 1979): below 0.05 keeps the family's error below 5%."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]
