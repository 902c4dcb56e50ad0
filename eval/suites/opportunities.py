"""The rates of judged opportunities: each situation's, all together, and against the placebo.

The unit is a wording: replies to one wording are not independent of one another, and neither are the wordings of a
situation fully; intervals are over wordings, and a rate over few says so by its width.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

from eval.config import EvalConfig
from eval.samples import Row
from eval.suites.changes import Outcomes, paired_change, rate_of, share_of
from eval.summary import CONTROL, Summary

_Condition = tuple[str, str, str]
"""Information, reasoning and tier."""


def add_opportunities(
    rows: list[Row], metrics: dict[str, tuple[str, str]], config: EvalConfig, summary: Summary
) -> None:
    """Every metric of every subject under every condition, and its difference from the placebo's.

    Args:
        rows: judged replies.
        metrics: by name, the kind of rows and the column of verdicts that the metric is the rate of.
        config: for the limit above which there is no verdict, and the bootstrap.
        summary: where the estimates go.
    """
    for metric, (kind, column) in metrics.items():
        taken: dict[_Condition, dict[str, Outcomes | str]] = defaultdict(dict)
        for (subject, *rest), group in _groups([row for row in rows if row["kind"] == kind]):
            condition = (rest[0], rest[1], rest[2])
            about = _about(subject, condition)
            _add_unread(about, metric, condition[2], group, column, summary)
            found = _no_verdict(group, column, config) or _outcomes(group, column)
            taken[condition][subject] = found
            for asked in ("", *dict.fromkeys(row["asked"] for row in group)):
                told = found if isinstance(found, str) else _of_one(found, asked)
                rng = summary.rng(metric, *about.values(), condition[2], asked)
                summary.add(about, metric, condition[2], rate_of(told, rng, config.bootstrap_draws), asked)
        for condition, subjects in taken.items():
            _add_differences(metric, condition, subjects, config, summary)


def _add_unread(about: Row, metric: str, tier: str, rows: list[Row], column: str, summary: Summary) -> None:
    """Shares of the replies that could not be read, and of those read on which the judge gave no verdict."""
    units = [row | {"unit": (row["asked"], row["wording"])} for row in rows]
    read = [row for row in units if row["status"] == "ok"]
    shares: dict[str, tuple[list[Row], Callable[[Row], bool]]] = {
        f"{metric}_malformed": (units, lambda row: row["status"] != "ok"),
        f"{metric}_unjudged": (read, lambda row: row[column] is None),
    }
    for name, (of, holds) in shares.items():
        rng = summary.rng(name, *about.values(), tier)
        draws = summary.config.bootstrap_draws
        summary.add(about, name, tier, share_of(of, "unit", holds, rng, draws) if of else "no reply could be read")


def _add_differences(
    metric: str, condition: _Condition, subjects: dict[str, Outcomes | str], config: EvalConfig, summary: Summary
) -> None:
    """Each subject's mean difference from the placebo, paired by wording."""
    placebo = subjects.get(CONTROL, f"no subject named {CONTROL} to compare with")
    for subject, found in subjects.items():
        if subject == CONTROL:
            continue
        about = _about(subject, condition)
        rng = summary.rng(metric, "placebo", *about.values(), condition[2])
        change = paired_change(found, placebo, f"subject {CONTROL}", rng, config.bootstrap_draws)
        summary.add(about, f"{metric}_over_placebo", condition[2], change)


def _no_verdict(rows: list[Row], column: str, config: EvalConfig) -> str:
    """Why there is no rate; empty where there is one."""
    missing = [row for row in rows if row[column] is None]
    if len(missing) < len(rows) and len(missing) / len(rows) <= config.compliance.max_malformed_share:
        return ""
    reasons = [row["status"] if row["status"] != "ok" else row[f"{column}_reason"] for row in missing]
    commonest = max(dict.fromkeys(reasons), key=reasons.count)
    return f"no verdict on {len(missing)} of {len(rows)} replies, mostly for this reason: {commonest}"


def _outcomes(rows: list[Row], column: str) -> Outcomes:
    """Verdicts by situation or question, and its wording."""
    units: dict[tuple[str, int], list[bool]] = defaultdict(list)
    for row in rows:
        if row[column] is not None:
            units[(row["asked"], row["wording"])].append(bool(row[column]))
    return dict(units)


def _of_one(outcomes: Outcomes, asked: str) -> Outcomes | str:
    """Those of one situation or question; all of them where it is empty."""
    found = {unit: values for unit, values in outcomes.items() if asked in ("", unit[0])}
    return found or "none of its replies was judged"


def _groups(rows: list[Row]) -> Iterable[tuple[tuple[str, ...], list[Row]]]:
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[(row["subject"], row["information"], row["reasoning"], row["tier"])].append(row)
    return groups.items()


def _about(subject: str, condition: _Condition) -> Row:
    return {"subject": subject, "information": condition[0], "reasoning": condition[1], "arm": ""}
