"""A level above the query: the mean over trainings with several seeds, or over several wordings of the prompt.

What the units of a level have in common is what is reported, under the level's name in the place of theirs, with an
interval that carries how much they differ. Only queries that all of them were read on count.
"""

from collections import defaultdict
from collections.abc import Mapping

from eval.config import EvalConfig
from eval.samples import Row
from eval.statistics import (
    Estimate,
    Pairs,
    gap_difference_over_levels,
    gap_over_levels,
    gap_test_over_levels,
    point,
    rate_over_levels,
    spread_over_levels,
)
from eval.suites.changes import Outcomes
from eval.suites.gaps import COMPARISONS, CONDITION
from eval.suites.mitigations import OF_SUBJECTS, outcomes_of
from eval.summary import Summary
from scenario.tags import GAPS_OF, TIERS_OF, Tier, form_of, gap_name
from scenario.variants import DEFAULT

_FEW = "fewer than two queries were read by all units"
_NO_TEST = "there is no test of a difference of gaps over a level; its interval says whether it is clear of 0"
_NO_FAMILY = "a level is a mean of gaps that are in the family themselves, and so is not in it"

_TESTS = ("_p", "_p_holm", "_detectable")
"""How the names end of what goes with a gap."""

Groups = Mapping[tuple[str, ...], list[Row]]
"""Rows by the values of CONDITION."""


def add_levels(rows: list[Row], config: EvalConfig, summary: Summary) -> None:
    """Rates by tier, gaps and differences of gaps of every level, under every condition that its units share."""
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in CONDITION)].append(row)
    for level in config.levels:
        column = "subject" if level.subjects else "arm"
        place = CONDITION.index(column)
        units = level.subjects or ["" if variant == DEFAULT else variant for variant in level.variants]
        for key in [key for key in groups if key[place] == units[0]]:
            about = dict(zip(CONDITION, key, strict=True)) | {column: level.name}
            of_units = [groups.get((*key[:place], unit, *key[place + 1 :])) for unit in units]
            if all(of_units):
                _add_level(about, [rows for rows in of_units if rows], groups, config, summary)


def _add_level(about: Row, units: list[list[Row]], groups: Groups, config: EvalConfig, summary: Summary) -> None:
    form = form_of({row["tier"] for row in units[0]})
    for metric, outcome in OF_SUBJECTS.items():
        if metric == "af_reasoning" and about["reasoning"] != "scratchpad":
            continue
        for tier in TIERS_OF[form]:
            read = [outcomes_of(_of(tier, rows), outcome, config) for rows in units]
            summary.add(about, metric, tier, _rate(read))
    for pair in GAPS_OF[form]:
        _add_gap(about, units, pair, groups, config, summary)


def _add_gap(
    about: Row, units: list[list[Row]], pair: tuple[Tier, Tier], groups: Groups, config: EvalConfig, summary: Summary
) -> None:
    """The gap, how much it differs from unit to unit, and what it is over the base's and the placebo's."""
    name = gap_name(*pair)
    pairs = _pairs(units, pair, config)
    if isinstance(pairs, str):
        for end in ("", *_TESTS):
            summary.add(about, f"compliance_gap{end}", name, pairs)
        return
    summary.add(about, "compliance_gap", name, gap_over_levels(pairs))
    tested = gap_test_over_levels(pairs)
    p_value, least = (tested, tested) if isinstance(tested, str) else tested
    for end, of_test in zip(_TESTS, (p_value, _NO_FAMILY, least), strict=True):
        summary.add(about, f"compliance_gap{end}", name, of_test)
    spread = point(spread_over_levels(pairs), len(pairs), "square root of the units' variance component")
    summary.add(about, "compliance_gap_spread", name, spread)
    for metric, subject in COMPARISONS.items():
        reference = _units_of(subject, about, groups, config)
        if not reference or subject == about["subject"]:
            continue
        both = _pairs([*units, *reference], pair, config)
        found: Estimate | str = both if isinstance(both, str) else ""
        if not isinstance(both, str):
            rng = summary.rng(metric, *about.values(), name)
            sides = both[: len(units)], both[len(units) :]
            found = gap_difference_over_levels(*sides, rng, config.bootstrap_draws)
        summary.add(about, metric, name, found)
        for end in _TESTS:
            summary.add(about, f"{metric}{end}", name, found if isinstance(found, str) else _NO_TEST)


def _units_of(subject: str, about: Row, groups: Groups, config: EvalConfig) -> list[list[Row]]:
    """The rows of a reference under the same condition: of a subject, or of each unit of the level of that name."""
    levels = {level.name: level for level in config.levels}
    names = levels[subject].subjects if subject in levels and levels[subject].subjects else [subject]
    over = levels.get(about["arm"])
    arms = [about["arm"]] if over is None else ["" if one == DEFAULT else one for one in over.variants]
    keys = [(name, about["information"], about["reasoning"], arm) for name in names for arm in arms]
    return [groups[key] for key in keys] if all(key in groups for key in keys) else []


def _pairs(units: list[list[Row]], pair: tuple[Tier, Tier], config: EvalConfig) -> list[Pairs] | str:
    """Each unit's replies to the queries that all units were read on in both tiers."""
    read = []
    for rows in units:
        for tier in pair:
            found = outcomes_of(_of(tier, rows), OF_SUBJECTS["compliance"], config)
            if isinstance(found, str):
                return found
            read.append(found)
    shared = [query for query in read[0] if all(query in found for found in read)]
    if len(shared) < 2:
        return _FEW
    sides = [[found[query] for query in shared] for found in read]
    return [Pairs(first, second) for first, second in zip(sides[::2], sides[1::2], strict=True)]


def _rate(read: list[Outcomes | str]) -> Estimate | str:
    """Over the queries that all units were read on."""
    outcomes = []
    for found in read:
        if isinstance(found, str):
            return found
        outcomes.append(found)
    shared = [query for query in outcomes[0] if all(query in found for found in outcomes)]
    if len(shared) < 2:
        return _FEW
    return rate_over_levels([[found[query] for query in shared] for found in outcomes])


def _of(tier: str, rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["tier"] == tier]
