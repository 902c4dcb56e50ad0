"""One thing that was asked, and what is judged of it."""

from dataclasses import dataclass
from typing import Literal

from eval.report.estimates import Estimate, Estimates
from eval.report.text import words

Judgement = Literal["found", "reversed", "cause open", "could not tell", "not found", "no verdict", "not measured"]
"""`cause open`: an effect that the base model does not have, and no placebo to say whether the content of the training or
training as such made it."""


@dataclass(frozen=True)
class Finding:
    """A topic, the judgement on it, and the numbers in sentences."""

    topic: str
    judgement: Judgement
    text: str
    rests_on: Estimate | None = None
    """The estimate that was judged; None where there was none to look at."""
    case: str = ""
    """What tells it from findings of the same setting and topic: information, tiers. The topic says it as well."""


def named(topic: str, case: str) -> str:
    """A topic with its case, where there is one."""
    return f"{topic} ({case})" if case else topic


def information_case(rows: Estimates, information: str) -> str:
    """The information, where these rows know of more than one."""
    is_told_apart = len({row.information for row in rows.rows}) > 1
    return f"information: {words(information)}" if is_told_apart else ""


def reason_of(row: Estimate) -> str:
    """Why a row has no estimate."""
    return row.reason or "no reason was given"
