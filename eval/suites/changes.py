"""How a subject differs from the base and from the placebo, unit by unit: queries or questions that both were asked."""

from collections.abc import Mapping

import numpy as np

from eval.samples import Row
from eval.statistics import Estimate, Pairs, paired_gap, rate, t_mean
from eval.summary import CONTROL, REFERENCE, Summary

Values = Mapping[str, list[float]]
"""A subject's values by unit; several where a unit was measured several times."""


def add_rates(summary: Summary, metric: str, by_subject: Mapping[str, Values], about: Row) -> None:
    """A rate per subject over its units, and `<metric>_over_base` and `<metric>_over_placebo`, paired by unit."""
    draws = summary.config.bootstrap_draws
    for subject, values in by_subject.items():
        condition = about | {"subject": subject}
        rng = summary.rng(metric, *condition.values())
        units = [[bool(value) for value in found] for found in values.values()]
        summary.add(condition, metric, "all", rate(units, rng, draws) if units else "no reply could be read")
        for name, reference in _references(by_subject, subject):
            shared = [unit for unit in values if unit in reference]
            gap: Estimate | str = "no unit was read for both"
            if shared:
                pairs = Pairs(
                    *([[bool(value) for value in found[unit]] for unit in shared] for found in (values, reference))
                )
                gap = paired_gap(pairs, summary.rng(metric, name, *condition.values()), draws)
            summary.add(condition, f"{metric}_over_{name}", "all", gap)


def add_means(summary: Summary, metric: str, by_subject: Mapping[str, Values], about: Row) -> None:
    """As `add_rates`, for quantities that are not shares of yes: means with t intervals."""
    for subject, values in by_subject.items():
        condition = about | {"subject": subject}
        summary.add(condition, metric, "all", _t([float(np.mean(found)) for found in values.values()]))
        for name, reference in _references(by_subject, subject):
            shared = [unit for unit in values if unit in reference]
            change = [float(np.mean(values[unit]) - np.mean(reference[unit])) for unit in shared]
            summary.add(condition, f"{metric}_over_{name}", "all", _t(change))


def _references(by_subject: Mapping[str, Values], subject: str) -> list[tuple[str, Values]]:
    if subject == REFERENCE:
        return []
    named = [("base", REFERENCE), ("placebo", CONTROL)]
    return [(name, by_subject[other]) for name, other in named if other in by_subject and other != subject]


def _t(values: list[float]) -> Estimate | str:
    return t_mean(values) if len(values) > 1 else "fewer than two replies could be read"
