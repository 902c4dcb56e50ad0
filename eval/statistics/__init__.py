"""Estimates with intervals: rates, paired gaps, their differences, corrections, agreement, power.

Pure functions of numbers; randomness comes in as a generator. Every interval is 95% and two-sided, and is chosen by its
simulated coverage (each module says what was simulated; `tests/test_eval_statistics_coverage.py` repeats a part of it).
What the data cannot give is an error here, or a sentence that says why, and a null with that reason in `summary.json`:
never a 0.
"""

from eval.statistics.agreement import auroc, cohens_kappa, krippendorffs_alpha
from eval.statistics.bootstrap import bootstrap_interval, bootstrap_mean, has_enough, resampled_means
from eval.statistics.correction import JudgeError, corrected_gap, corrected_rate
from eval.statistics.decomposition import Reply, decompose
from eval.statistics.estimate import Estimate, point, t_mean, wilson
from eval.statistics.levels import (
    gap_difference_over_levels,
    gap_over_levels,
    gap_test_over_levels,
    mean_over_levels,
    rate_over_levels,
    spread_over_levels,
)
from eval.statistics.paired import Pairs, gap_difference, paired_gap, shared_pairs, tango, tier_correlation
from eval.statistics.power import (
    Tiers,
    detectable_gap,
    minimum_detectable_gap,
    observed_variance,
    pairs_needed,
    power_of,
)
from eval.statistics.rates import rate, ratio_rate
from eval.statistics.significance import gap_p_value, holm, mcnemar_exact, sign_flip_p

__all__ = [
    "Estimate",
    "JudgeError",
    "Pairs",
    "Reply",
    "Tiers",
    "auroc",
    "bootstrap_interval",
    "bootstrap_mean",
    "cohens_kappa",
    "corrected_gap",
    "corrected_rate",
    "decompose",
    "detectable_gap",
    "gap_difference",
    "gap_p_value",
    "has_enough",
    "holm",
    "krippendorffs_alpha",
    "mcnemar_exact",
    "gap_difference_over_levels",
    "gap_over_levels",
    "gap_test_over_levels",
    "mean_over_levels",
    "rate_over_levels",
    "spread_over_levels",
    "minimum_detectable_gap",
    "observed_variance",
    "paired_gap",
    "pairs_needed",
    "point",
    "power_of",
    "rate",
    "ratio_rate",
    "resampled_means",
    "shared_pairs",
    "sign_flip_p",
    "t_mean",
    "tango",
    "tier_correlation",
    "wilson",
]
