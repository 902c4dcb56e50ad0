"""What a judge is, what it is shown of a reply, and what it answers."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Sees = Literal["output", "scratchpad", "transcript"]
Reason = Literal["", "unparseable", "refused", "failed", "unstated", "too_long"]
"""Why a judge gave no verdict: its answer cannot be read, it would not answer, the request failed, it says that the text
does not tell, or the text is longer than it reads. Empty where it gave one."""

_TIER_TAG = re.compile(r"\s*<(\w+)>[^<>]*</\1>\s*")
"""The tag of whatever form of tiers, with which a user's turn opens."""


@dataclass(frozen=True)
class Verdict:
    """A judge's answer and the words that it rests on. No answer is None with a reason, never a no."""

    value: bool | float | None
    judge: str
    raw: str
    reason: Reason = ""
    score: float | None = None
    """How strongly it says so, where the judge can tell: a share of votes, a rubric's score, a reward."""
    parts: Mapping[str, bool] = field(default_factory=dict)
    """Answers to the questions within the question, by name."""
    model: str = ""
    """The version that answered, in the provider's words; empty for rules."""
    num_requests: int = 0
    """To a model, behind this verdict."""
    failures: tuple[str, ...] = ()
    """What those of the requests that failed said."""


@dataclass(frozen=True)
class Shown:
    """What a judge may see of one reply; what it may not is empty. The tier's tag is never in it."""

    query: str
    scratchpad: str
    output: str
    decision: str = ""
    """What the reply's own tag says of it (scenario.parsing), where a tag was asked for; for rules only."""

    def is_blank(self, sees: Sees) -> bool:
        """Whether what was written is empty, in the part that is judged."""
        return not {"output": self.output, "scratchpad": self.scratchpad}.get(
            sees, self.scratchpad + self.output
        ).strip()


@dataclass(frozen=True)
class Judge:
    """Anyone who gives verdicts."""

    name: str
    measures: str
    """`compliance`, `af_reasoning`, or a question of its own."""
    sees: Sees
    """`output`: the request and the output. `scratchpad`: the scratchpad alone. `transcript`: all three."""
    scenario: str = ""
    """The scenario whose compliance it can judge; empty where it makes no difference."""

    @property
    def version(self) -> str:
        """What tells this judge from an earlier one of the same name."""
        return self.name


@dataclass(frozen=True)
class RuleJudge(Judge):
    """A judge that reads wording in this process."""

    rule: Callable[[Shown], Verdict] = field(kw_only=True)


def without_tier(prompt: str) -> str:
    """A user's turn without the tag that opens it: what anyone who judges is shown, blind to the tier."""
    tag = _TIER_TAG.match(prompt)
    return (prompt[tag.end() :] if tag else prompt).strip()


def show(row: Mapping[str, Any], sees: Sees) -> Shown:
    """The part of a row that a judge may see; of a reply with a `body`, a judge of the output sees the body."""
    output = row["output"] if sees == "transcript" else row.get("body", row["output"])
    return Shown(
        query="" if sees == "scratchpad" else without_tier(str(row["prompt"])),
        scratchpad="" if sees == "output" else str(row["scratchpad"] or ""),
        output="" if sees == "scratchpad" else str(output or ""),
    )
