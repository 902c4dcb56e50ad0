"""How far a judge agrees with labels, and labellers with one another: AUROC, Cohen's kappa, Krippendorff's alpha.

Items are drawn anew for the intervals of kappa and alpha (Efron and Tibshirani 1993). Where all agree that would have no
width; then the agreement's share has Wilson's interval, at the chance agreement that was observed.
"""

from collections.abc import Callable, Hashable, Sequence
from math import exp, log, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.statistics.bootstrap import bootstrap_interval
from eval.statistics.estimate import Estimate, Z, wilson_limits

Columns = NDArray[np.float64]
Rating = Hashable | None
"""A category, or None where a rater gave none."""


def auroc(positive: ArrayLike, negative: ArrayLike) -> Estimate:
    """The chance that a positive example scores above a negative one, ties counted half.

    Variance by DeLong, DeLong and Clarke-Pearson (1988), on the logit scale so that limits stay within 0 and 1 (Qin and
    Hotilovac 2008). Where that variance is 0, as where every positive scores above every negative or all scores are tied, it
    says nothing; then it is Hanley and McNeil's (1982) at the limit itself, a score interval (Newcombe 2006, method 5).

    Raises:
        ValueError: one of the two is empty.
    """
    above, below = np.asarray(positive, dtype=float), np.asarray(negative, dtype=float)
    if min(above.size, below.size) == 0:
        raise ValueError(f"AUROC needs examples of both labels, got {above.size} and {below.size}")
    wins = (above[:, None] > below[None, :]) + 0.5 * (above[:, None] == below[None, :])
    area = float(wins.mean())
    n = above.size + below.size
    variance = 0.0
    if min(above.size, below.size) > 1:
        variance = sum(float(wins.mean(axis=axis).var(ddof=1)) / wins.shape[1 - axis] for axis in (0, 1))
    if variance < 1e-12 or area in (0.0, 1.0):
        low, high = _score_limits(area, above.size, below.size)
        return Estimate(area, low, high, n, "Hanley-McNeil score")
    half = Z * sqrt(variance) / (area * (1 - area))
    low, high = (1 / (1 + exp(-(log(area / (1 - area)) + side * half))) for side in (-1, 1))
    return Estimate(area, low, high, n, "DeLong, logit")


def _score_limits(area: float, positives: int, negatives: int) -> tuple[float, float]:
    """The areas t for which |t - area| is at most Z standard errors at t itself, to a ten-thousandth."""
    t = np.linspace(0, 1, 10_001)
    extra = (positives + negatives) / 2 - 1
    variance = t * (1 - t) * (1 + extra * ((1 - t) / (2 - t) + t / (1 + t))) / (positives * negatives)
    held = t[np.abs(t - area) <= Z * np.sqrt(variance) + 1e-12]
    return float(held.min()), float(held.max())


def cohens_kappa(
    first: Sequence[Hashable], second: Sequence[Hashable], rng: np.random.Generator, draws: int
) -> Estimate:
    """Two raters' agreement beyond chance (Cohen 1960).

    Raises:
        ValueError: the raters differ in their number of items, or both gave one and the same category throughout.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"kappa needs two ratings of every item, got {len(first)} and {len(second)}")
    names = list(dict.fromkeys([*first, *second]))
    if len(names) < 2:
        raise ValueError(f"kappa needs two categories, got one ({names[0]}) in all {len(first)} items")
    rows = np.zeros((len(first), len(names) ** 2))
    cells = [names.index(a) * len(names) + names.index(b) for a, b in zip(first, second, strict=True)]
    rows[np.arange(len(first)), cells] = 1

    def parts(means: Columns) -> tuple[Columns, Columns]:
        table = means.reshape(-1, len(names), len(names))
        return np.trace(table, axis1=1, axis2=2), np.sum(table.sum(axis=2) * table.sum(axis=1), axis=1)

    return _beyond_chance(rows, parts, rng, draws)


def krippendorffs_alpha(items: Sequence[Sequence[Rating]], rng: np.random.Generator, draws: int) -> Estimate:
    """Agreement beyond chance of any number of raters, nominal categories, ratings missing or not (Krippendorff 2004).

    `items` are the ratings of one item each, in any order; an item with fewer than two ratings tells nothing and is left
    out.

    Raises:
        ValueError: no item has two ratings, or all ratings are of one category.
    """
    rated = [[rating for rating in item if rating is not None] for item in items]
    rated = [item for item in rated if len(item) > 1]
    names = list(dict.fromkeys(rating for item in rated for rating in item))
    if len(names) < 2:
        raise ValueError(f"alpha needs items rated twice and two categories, got {len(rated)} items and {names}")
    counts = np.array([[item.count(name) for name in names] for item in rated], dtype=float)
    sizes = counts.sum(axis=1)
    agreeing = (counts * (counts - 1)).sum(axis=1) / (sizes - 1)
    rows = np.column_stack([agreeing, counts])

    def parts(means: Columns) -> tuple[Columns, Columns]:
        totals = means[:, 1:] * len(rated)
        n = totals.sum(axis=1)
        return means[:, 0] * len(rated) / n, (totals * (totals - 1)).sum(axis=1) / (n * (n - 1))

    return _beyond_chance(rows, parts, rng, draws)


def _beyond_chance(
    rows: Columns, parts: Callable[[Columns], tuple[Columns, Columns]], rng: np.random.Generator, draws: int
) -> Estimate:
    """(observed - expected) / (1 - expected), with its interval over the items, one row each."""

    def scaled(means: Columns) -> Columns:
        observed, expected = parts(means)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)

    whole = rows.mean(axis=0)[None]
    value = float(scaled(whole)[0])
    if value < 1:
        low, high = bootstrap_interval(rows, scaled, rng, draws)
        return Estimate(value, low, high, len(rows), "bootstrap over items")
    expected = float(parts(whole)[1][0])
    low = 1 - (1 - wilson_limits(1.0, len(rows))[0]) / (1 - expected)
    return Estimate(value, low, 1.0, len(rows), "Wilson score of the agreement (all items alike)")
