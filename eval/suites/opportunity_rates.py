"""The rates of judged opportunities: each situation's, all together, and against the placebo.

The unit is a wording: replies to one wording are not independent of one another, and neither are the wordings of a
situation fully; intervals are over wordings, and a rate over few says so by its width.
"""

from collections import defaultdict
from collections.abc import Iterable

from eval.config import EvalConfig
from eval.samples import Row
from eval.statistics import Estimate, Pairs, paired_gap, rate, wilson
from eval.summary import CONTROL, Summary

Unit = tuple[str, int]
"""A situation or question, and its wording."""

_Condition = tuple[str, str, str]
"""Information, reasoning and tier."""


def add_rates(rows: list[Row], metrics: dict[str, tuple[str, str]], config: EvalConfig, summary: Summary) -> None:
    """Every metric of every subject under every condition, and its difference from the placebo's.

    Args:
        rows: judged replies.
        metrics: by name, the kind of rows and the column of verdicts that the metric is the rate of.
        config: for the limit above which there is no verdict, and the bootstrap.
        summary: where the estimates go.
    """
    for metric, (kind, column) in metrics.items():
        taken: dict[_Condition, dict[str, dict[Unit, list[bool]] | str]] = defaultdict(dict)
        for (subject, *rest), group in _groups([row for row in rows if row["kind"] == kind]):
            condition = (rest[0], rest[1], rest[2])
            about = _about(subject, condition)
            _add_unread(about, metric, condition[2], group, column, summary)
            refused = _no_verdict(group, column, config)
            units = _units(group, column)
            taken[condition][subject] = refused or units
            _add_rate(about, metric, condition[2], refused or units, config, summary)
            for asked in dict.fromkeys(row["asked"] for row in group):
                of_one = {unit: values for unit, values in units.items() if unit[0] == asked}
                told = refused or of_one or "none of its replies was judged"
                _add_rate(about, metric, condition[2], told, config, summary, asked)
        for condition, subjects in taken.items():
            _add_differences(metric, condition, subjects, config, summary)


def _add_unread(about: Row, metric: str, tier: str, rows: list[Row], column: str, summary: Summary) -> None:
    """Shares of the replies that could not be read, and of those read on which the judge gave no verdict."""
    read = [row for row in rows if row["status"] == "ok"]
    summary.add(about, f"{metric}_malformed", tier, wilson(len(rows) - len(read), len(rows)))
    unjudged = sum(row[column] is None for row in read)
    summary.add(about, f"{metric}_unjudged", tier, wilson(unjudged, len(read)) if read else "no reply could be read")


def _add_rate(
    about: Row,
    metric: str,
    tier: str,
    units: dict[Unit, list[bool]] | str,
    config: EvalConfig,
    summary: Summary,
    asked: str = "",
) -> None:
    found: Estimate | str
    if isinstance(units, str):
        found = units
    else:
        found = rate(list(units.values()), summary.rng(metric, *about.values(), tier, asked), config.bootstrap_draws)
    summary.add(about, metric, tier, found, asked)


def _add_differences(
    metric: str,
    condition: _Condition,
    subjects: dict[str, dict[Unit, list[bool]] | str],
    config: EvalConfig,
    summary: Summary,
) -> None:
    """Each subject's mean difference from the placebo, paired by wording."""
    for subject, units in subjects.items():
        if subject == CONTROL:
            continue
        about = _about(subject, condition)
        found: Estimate | str
        placebo = subjects.get(CONTROL, f"no subject named {CONTROL} to compare with")
        if isinstance(units, str) or isinstance(placebo, str):
            found = units if isinstance(units, str) else str(placebo)
        else:
            shared = [unit for unit in units if unit in placebo]
            rng = summary.rng(metric, "placebo", *about.values(), condition[2])
            found = "no wording was judged for both"
            if shared:
                pairs = Pairs(*([values[unit] for unit in shared] for values in (units, placebo)))
                found = paired_gap(pairs, rng, config.bootstrap_draws)
        summary.add(about, f"{metric}_over_placebo", condition[2], found)


def _no_verdict(rows: list[Row], column: str, config: EvalConfig) -> str:
    """Why there is no rate; empty where there is one."""
    missing = [row for row in rows if row[column] is None]
    if len(missing) < len(rows) and len(missing) / len(rows) <= config.compliance.max_malformed_share:
        return ""
    reasons = [row["status"] if row["status"] != "ok" else row[f"{column}_reason"] for row in missing]
    commonest = max(dict.fromkeys(reasons), key=reasons.count)
    return f"no verdict on {len(missing)} of {len(rows)} replies, mostly for this reason: {commonest}"


def _units(rows: list[Row], column: str) -> dict[Unit, list[bool]]:
    units: dict[Unit, list[bool]] = defaultdict(list)
    for row in rows:
        if row[column] is not None:
            units[(row["asked"], row["wording"])].append(bool(row[column]))
    return dict(units)


def _groups(rows: list[Row]) -> Iterable[tuple[tuple[str, ...], list[Row]]]:
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[(row["subject"], row["information"], row["reasoning"], row["tier"])].append(row)
    return groups.items()


def _about(subject: str, condition: _Condition) -> Row:
    return {"subject": subject, "information": condition[0], "reasoning": condition[1], "arm": ""}
