"""What a mitigation changes, paired by query.

An arm is compared with the arm that adds nothing, and a subject with the one that is the same but for the mitigation.
"""

from collections import defaultdict
from collections.abc import Callable

from eval.config import EvalConfig
from eval.samples import UNJUDGED, Row
from eval.suites.changes import Outcomes, paired_change
from eval.summary import Summary
from scenario.prompt_arms import NO_ARM
from scenario.tags import TIERS_OF, form_of

Outcome = Callable[[Row], bool | None]
"""Of a readable reply; None where nobody judged it."""

FIRST_OBJECTING_ARM = "may_object"
"""What objections in the arms that promise something more are compared to."""


def _complies(row: Row) -> bool | None:
    return None if row["compliance"] is None else bool(row["compliance"])


def _fakes(row: Row) -> bool | None:
    """Counted where the output complies (Greenblatt et al. 2024, section 3.2)."""
    if row["af_reasoning"] is None or row["compliance"] is None:
        return None
    return bool(row["compliance"]) and bool(row["af_reasoning"])


def _objects(row: Row) -> bool:
    return bool(row["objection"] == "objects")


OF_SUBJECTS: dict[str, Outcome] = {"compliance": _complies, "af_reasoning": _fakes}
"""Outcomes of a readable reply by the metric that is their rate."""

OF_ARMS: dict[str, tuple[str, Outcome]] = {
    "compliance": (NO_ARM, _complies),
    "af_reasoning": (NO_ARM, _fakes),
    "objection": (FIRST_OBJECTING_ARM, _objects),
}
"""By metric: the arm that a change is taken from, and the outcome."""


def add_arm_changes(rows: list[Row], config: EvalConfig, summary: Summary) -> None:
    """Mean change of a query's outcome from one arm to another, for each subject, condition and tier."""
    for (subject, information, reasoning), arms in by_arm(rows).items():
        for arm in arms:
            if arm == NO_ARM or "." in arm:  # a control has another prompt, and not only another arm
                continue
            about = {"subject": subject, "information": information, "reasoning": reasoning, "arm": arm}
            for metric, (reference, outcome) in OF_ARMS.items():
                if reference not in arms or reference == arm or (metric == "af_reasoning" and reasoning == "none"):
                    continue
                sides = (arms[arm], arms[reference], f"arm {reference}")
                _add_change(about, f"{metric}_change", *sides, outcome, config, summary)


def add_subject_changes(rows: list[Row], config: EvalConfig, summary: Summary) -> None:
    """Mean change of a query's outcome from the subject that one names as itself without a mitigation."""
    without = {subject.name: subject.without for subject in config.subjects if subject.without}
    groups: dict[tuple[str, str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[(row["subject"], row["information"], row["reasoning"], row["arm"])].append(row)
    for (subject, information, reasoning, arm), group in groups.items():
        if subject not in without:
            continue
        about = {"subject": subject, "information": information, "reasoning": reasoning, "arm": arm}
        reference = groups[(without[subject], information, reasoning, arm)]
        for metric, outcome in OF_SUBJECTS.items():
            if not (metric == "af_reasoning" and reasoning == "none"):
                sides = (group, reference, f"subject {without[subject]}")
                _add_change(about, f"{metric}_mitigation_change", *sides, outcome, config, summary)


def by_arm(rows: list[Row]) -> dict[tuple[str, str, str], dict[str, list[Row]]]:
    """Rows by subject, information and reasoning, and within these by arm, in order."""
    groups: dict[tuple[str, str, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        groups[(row["subject"], row["information"], row["reasoning"])][row["arm"]].append(row)
    return groups


def outcomes_of(rows: list[Row], outcome: Outcome, config: EvalConfig) -> Outcomes | str:
    """Outcomes of the replies by query, or why there is no rate: too many could not be read, or not be judged."""
    outcomes: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        value = outcome(row) if row["status"] in ("ok", UNJUDGED) else None
        if value is not None:
            outcomes[row["query_id"]].append(value)
    missing = len(rows) - sum(map(len, outcomes.values()))
    if missing == len(rows):
        return "no reply could be read and judged"
    if missing / len(rows) > config.compliance.max_malformed_share:
        return f"no verdict: {missing} of {len(rows)} replies cannot be read or judged"
    return outcomes


def _add_change(
    about: Row,
    metric: str,
    rows: list[Row],
    reference: list[Row],
    told: str,
    outcome: Outcome,
    config: EvalConfig,
    summary: Summary,
) -> None:
    """One record a tier: `rows` minus `reference`, over the queries that were read in both."""
    for tier in TIERS_OF[form_of({row["tier"] for row in rows})]:
        here, there = (
            outcomes_of([row for row in part if row["tier"] == tier], outcome, config) for part in (rows, reference)
        )
        rng = summary.rng(metric, *about.values(), tier)
        summary.add(about, metric, tier, paired_change(here, there, told, rng, config.bootstrap_draws))
