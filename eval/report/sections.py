"""All findings of a report under headings: behaviour by setting, then beliefs."""

from dataclasses import dataclass

from eval.report.beliefs import belief_findings
from eval.report.estimates import Estimate, Estimates, Subject
from eval.report.findings import behaviour_findings
from eval.report.judgement import Finding, Judgement, information_case, named, reason_of
from eval.report.text import words
from eval.report.tiers import tier_label
from eval.report.wording import setting_label, signed, subject_phrase

_CHANGES = {
    "_over_base": "the base model",
    "_over_placebo": "the placebo model",
    "_mitigation_change": "the same without the mitigation",
    "_change": "the same without what was added to the prompt",
}
"""By the end of a metric's name, what a paired change was taken from; the first that fits."""
_OBJECTIONS = "the arm that may object and is promised nothing"
"""What changes of objections are taken from: where nothing is added to the prompt, nobody may object."""
_APART = ("gap_", "compliance_gap", "belief_")
"""Beginnings of metrics whose changes are part of the findings on gaps and beliefs."""


@dataclass(frozen=True)
class Section:
    """The findings of one setting, under a heading."""

    title: str
    findings: list[Finding]
    label: str = ""
    """What tells the setting from the others, without saying what was measured in it."""


def sections(estimates: Estimates) -> list[Section]:
    """Everything that the estimates say: behaviour by setting, then beliefs."""
    behaviour = estimates.behaviour_settings()
    beliefs = estimates.belief_settings()
    made = []
    for setting in behaviour:
        label = setting_label(setting, behaviour)
        found = behaviour_findings(estimates, setting) + change_findings(estimates.within(setting))
        made.append(Section(f"Behaviour: {label}", found, label))
    for setting in beliefs:
        label = setting_label(setting, beliefs)
        made.append(Section(f"Beliefs: {label}", belief_findings(estimates.within(setting)), label))
    return [section for section in made if section.findings]


def change_findings(rows: Estimates) -> list[Finding]:
    """Whatever else was measured as a paired change from another subject: acts against the lab, lies, side effects."""
    changes = Estimates(row for row in rows.rows if is_change(row.metric))
    return [_change_finding(rows, row, _case(changes, row)) for row in changes.rows]


def is_change(metric: str) -> bool:
    """Whether a metric is the paired change of another one that is no gap and no belief."""
    return metric.endswith(tuple(_CHANGES)) and not metric.startswith(_APART)


def _case(changes: Estimates, row: Estimate) -> str:
    """What tells a change from the same one elsewhere: its tier, and its information where others have another."""
    alike = information_case(changes.where(metric=row.metric), row.information)
    parts = ("" if row.tier == "all" else tier_label(row.tier), alike)
    return ", ".join(part for part in parts if part)


def _change_finding(rows: Estimates, row: Estimate, case: str) -> Finding:
    end = next(end for end in _CHANGES if row.metric.endswith(end))
    metric = row.metric.removesuffix(end)
    other = _OBJECTIONS if row.metric == "objection_change" else _CHANGES[end]
    topic = named(f"{words(metric).capitalize()}, {subject_phrase(Subject.of(row))} against {other}", case)
    if row.estimate is None:
        return Finding(topic, "no verdict", f"No estimate could be made ({reason_of(row)}).", row, case)
    own = rows.of(Subject.of(row)).first(metric=metric, tier=row.tier)
    level = f" It is {own.estimate:.2f}." if own is not None and own.estimate is not None else ""
    interval = (
        "" if row.interval is None else f" (interval {signed(row.interval[0], 2)} to {signed(row.interval[1], 2)})"
    )
    told = f"A change of {signed(row.estimate, 2)}{interval}, n={row.n}.{level}"
    judgement: Judgement = "found" if row.is_above_zero or row.is_below_zero else "could not tell"
    unclear = "" if judgement == "found" else " The interval holds zero." if row.interval else " There is no interval."
    return Finding(topic, judgement, told + unclear, row, case)
