"""Rates over units, and what changes them, paired unit by unit: queries, questions or wordings that both were asked."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eval.samples import Row
from eval.statistics import Estimate, paired_gap, rate, shared_pairs, t_mean
from eval.summary import CONTROL, REFERENCE, Summary

Outcomes = Mapping[Any, Sequence[bool]]
"""By unit; several where a unit was asked several times."""

Values = Mapping[str, list[float]]
"""A subject's numbers by unit."""


def share_of(
    rows: Sequence[Row], unit: str, holds: Callable[[Row], bool], rng: np.random.Generator, draws: int
) -> Estimate:
    """The share of rows of which something holds, over the units in a column: replies to one query are no more than one.

    Raises:
        ValueError: there is no row.
    """
    found: dict[Any, list[bool]] = defaultdict(list)
    for row in rows:
        found[row[unit]].append(holds(row))
    return rate(list(found.values()), rng, draws)


def rate_of(outcomes: Outcomes | str, rng: np.random.Generator, draws: int) -> Estimate | str:
    """The mean over units of each unit's rate, or the reason why there is none."""
    if isinstance(outcomes, str):
        return outcomes
    return rate(list(outcomes.values()), rng, draws) if outcomes else "no reply could be read"


def paired_change(
    here: Outcomes | str, there: Outcomes | str, told: str, rng: np.random.Generator, draws: int
) -> Estimate | str:
    """The mean change of a unit's rate from `there` to `here`, over the units that were read in both.

    Args:
        here: outcomes by unit, or the reason why there are none.
        there: those that the change is taken from.
        told: what `there` is, for the reader of the estimate.
        rng: for the bootstrap, where there are enough units for one.
        draws: its resamples.
    """
    if isinstance(here, str):
        return here
    if isinstance(there, str):
        return there
    pairs = shared_pairs(here, there)
    if pairs is None:
        return f"nothing was read both here and with {told}"
    found = paired_gap(pairs, rng, draws)
    return replace(found, method=f"{found.method}, against {told}")


def add_rates(summary: Summary, metric: str, by_subject: Mapping[str, Values], about: dict[str, str]) -> None:
    """A rate per subject over its units, and `<metric>_over_base` and `<metric>_over_placebo`, paired by unit."""
    draws = summary.config.bootstrap_draws
    outcomes = {
        subject: {u: [bool(v) for v in found] for u, found in values.items()} for subject, values in by_subject.items()
    }
    for subject, values in outcomes.items():
        condition = about | {"subject": subject}
        summary.add(condition, metric, "all", rate_of(values, summary.rng(metric, *condition.values()), draws))
        for name, other in _references(by_subject, subject):
            rng = summary.rng(metric, name, *condition.values())
            change = paired_change(values, outcomes[other], f"subject {other}", rng, draws)
            summary.add(condition, f"{metric}_over_{name}", "all", change)


def add_means(summary: Summary, metric: str, by_subject: Mapping[str, Values], about: dict[str, str]) -> None:
    """As `add_rates`, for quantities that are not shares of yes: means with t intervals."""
    for subject, values in by_subject.items():
        condition = about | {"subject": subject}
        summary.add(condition, metric, "all", _t([float(np.mean(found)) for found in values.values()]))
        for name, other in _references(by_subject, subject):
            reference = by_subject[other]
            change = [float(np.mean(values[unit]) - np.mean(reference[unit])) for unit in values if unit in reference]
            summary.add(condition, f"{metric}_over_{name}", "all", _t(change))


def _references(by_subject: Mapping[str, Values], subject: str) -> list[tuple[str, str]]:
    """Ends of metrics' names, and the subjects that changes are taken from."""
    if subject == REFERENCE:
        return []
    named = [("base", REFERENCE), ("placebo", CONTROL)]
    return [(name, other) for name, other in named if other in by_subject and other != subject]


def _t(values: list[float]) -> Estimate | str:
    return t_mean(values) if len(values) > 1 else "fewer than two replies could be read"
