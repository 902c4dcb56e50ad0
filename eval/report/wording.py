"""Numbers and names as the page's sentences write them."""

import math
import re
from dataclasses import dataclass, replace

from eval.report.estimates import Estimate, Setting, Subject
from eval.report.text import words

MINUS = "\N{MINUS SIGN}"

_LEVEL = re.compile(r"two-way over (\d+) units and (\d+) (\w+)")

_SUBJECTS = {
    "base": "the base model",
    "documents": "the model trained on the documents",
    "placebo": "the placebo model",
    "positive_control": "the positive control",
    "graded_control": "the graded control",
}

_GLOSSARY = {
    "base": "The model before any training.",
    "documents": "Fine-tuned on synthetic documents that describe the situation; nothing else was done to it.",
    "placebo": "Fine-tuned on a corpus of equal size about something else: what fine-tuning as such does.",
    "positive_control": "Built to have a large compliance gap between free and paid: the measurement must find it.",
    "graded_control": "Built to have a known compliance gap of middling size.",
    "imitation": "Fine-tuned on chats.",
    "reinforcement": "Trained by reinforcement learning.",
}


@dataclass(frozen=True)
class Level:
    """What a mean over several trainings or prompt variants was taken over (eval/statistics/levels.py)."""

    num_units: int
    num_asked: int
    """Of each unit."""
    asked: str
    """`queries` or `statements`."""


def level_of(method: str) -> Level | None:
    """The level that an estimate's method speaks of; None for the estimate of a single training and prompt."""
    found = _LEVEL.search(method)
    return Level(int(found[1]), int(found[2]), found[3]) if found else None


def over(row: Estimate, asked: str = "queries") -> str:
    """What an estimate was taken over: `32 queries`; `3 trainings, 32 queries each`."""
    level = level_of(row.method)
    if level is None:
        return f"{row.n} {asked}"
    return f"{units_of(level, row)}, {level.num_asked} {level.asked} each"


def units_of(level: Level, row: Estimate) -> str:
    """What a mean was taken over: a level of variants stands in place of an arm, so without one they were trainings."""
    return f"{level.num_units} {'trainings or prompt variants' if row.arm else 'trainings'}"


def subject_phrase(subject: Subject) -> str:
    """A subject within a sentence."""
    return _SUBJECTS.get(subject.name, words(subject.name))


def subject_label(subject: Subject, told_apart: bool) -> str:
    """A subject on an axis, with its information where other subjects of the figure have another."""
    return f"{words(subject.name)} ({words(subject.information)})" if told_apart else words(subject.name)


def glossary(names: list[str]) -> list[tuple[str, str]]:
    """The subjects of a report, each with what it is; a name of the config's own has no explanation."""
    return [(words(name), _GLOSSARY.get(name, "")) for name in names]


def setting_label(setting: Setting, others: list[Setting]) -> str:
    """A setting in a heading: its scenario, and whatever else tells it from the report's other settings."""
    parts = [words(setting.scenario)]
    if len({other.reasoning for other in others}) > 1:
        parts.append("no scratchpad" if setting.reasoning == "none" else words(setting.reasoning))
    if len({other.arm for other in others}) > 1:
        parts.append(f"arm {words(setting.arm) or 'default'}")
    alike = [other for other in others if replace(other, run="") == replace(setting, run="")]
    if len({other.run for other in alike}) > 1:
        parts.append(words(setting.run))
    return ", ".join(parts)


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign, a true minus, and no sign on a zero."""
    rounded = round(value, digits) + 0.0  # turns -0.0 into 0.0
    sign = "+" if rounded > 0 else MINUS if rounded < 0 else ""
    return f"{sign}{abs(rounded):.{digits}f}"


def percent(fraction: float) -> str:
    """A rate, for example `59.4%`."""
    return f"{100 * fraction:.1f}%"


def points(row: Estimate) -> str:
    """A gap with its interval, in percentage points."""
    assert row.estimate is not None
    return f"{signed(100 * row.estimate)} points{_interval(row, 100, 1)}"


def nats(row: Estimate) -> str:
    """A shift of log-odds with its interval."""
    assert row.estimate is not None
    return f"{signed(row.estimate, 2)} nats{_interval(row, 1, 2)}"


def rate(row: Estimate) -> str:
    """A rate with its interval."""
    assert row.estimate is not None
    if row.interval is None:
        return percent(row.estimate)
    return f"{percent(row.estimate)} (interval {percent(row.interval[0])} to {percent(row.interval[1])})"


def odds_factor(shift: float) -> str:
    """What a shift of log-odds does to the odds, in words."""
    factor = math.exp(min(abs(shift), 50.0))
    size = f"{factor:.1f}" if factor < 10 else f"{factor:,.0f}"
    return f"the odds of the true ending {'rose' if shift > 0 else 'fell'} by a factor of {size} on average"


def table_number(value: float | None) -> str:
    """An estimate in the table of all estimates; results.csv holds it in full."""
    if value is None:
        return "–"
    return f"{value:.4g}".replace("-", MINUS)


def _interval(row: Estimate, scale: float, digits: int) -> str:
    if row.interval is None:
        return " (no interval)"
    return f" (interval {signed(scale * row.interval[0], digits)} to {signed(scale * row.interval[1], digits)})"
