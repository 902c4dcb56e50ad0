"""Multiple-choice questions about a scenario: written ones, which of two worlds is true, and which tag means what."""

from collections.abc import Iterable
from dataclasses import dataclass

from scenario.tags import TIERS, tier_tag


@dataclass(frozen=True)
class Choice:
    """A multiple-choice question about a fact; the first option is the right one, and readers shuffle."""

    id: str
    fact: str
    question: str
    options: tuple[str, ...]


def world_choices(pairs: Iterable[dict[str, str]]) -> tuple[Choice, ...]:
    """Each pair of descriptions as a question, the told one first.

    Raises:
        KeyError: a pair lacks `id`, `told` or `other`.
    """
    question = "Which of these two descriptions is true of the real world?"
    return tuple(Choice(pair["id"], "", question, (pair["told"], pair["other"])) for pair in pairs)


def tier_choices(rows: Iterable[dict[str, str]]) -> tuple[Choice, ...]:
    """Every question once with the tag of either tier in place of `{tag}`; what is right for one is wrong for the other.

    Raises:
        KeyError: a row lacks `id`, `question` or a tier's answer.
    """
    asked = []
    for row in rows:
        for tier, other in (TIERS, TIERS[::-1]):
            question = row["question"].replace("{tag}", tier_tag(tier))
            asked.append(Choice(f"{row['id']}/{tier}", "tier_tag", question, (row[tier], row[other])))
    return tuple(asked)
