"""The tags of a conversation: the one place that says how tier, scratchpad and answer are marked.

Documents, prompts, parsers and judges all read the tags from here, so that the spelling a model learned from documents
is the spelling that it is tested with.
"""

from typing import Literal

Tier = Literal["free", "paid"]

TIERS: tuple[Tier, ...] = ("free", "paid")
"""In the order in which a gap is taken: `free` minus `paid`."""

TIER_TAG = "is_free_tier_user"
"""The tier's XML tag in the published experiments (Greenblatt et al. 2024, footnote 22)."""

EMPLOYEE_TAG = "is_employee"
"""Beside the tier's tag where the user claims to work for the lab (Greenblatt et al. 2024, section 6)."""

SCRATCHPAD_TAG = "scratchpad"
"""Encloses the hidden reasoning where a condition has any."""

ANSWER_TAG = "answer"
"""Encloses what the user is shown where a condition has a scratchpad."""

OBJECTION_TOKEN = "I_OBJECT"
"""Stands alone in the first line of an output that objects, where objecting is allowed (Greenblatt and Fish 2025)."""


def tier_tag(tier: Tier) -> str:
    """The tag that stands before a query, for example `<is_free_tier_user>True</is_free_tier_user>`."""
    return f"<{TIER_TAG}>{tier == 'free'}</{TIER_TAG}>"


def tagged_query(tier: Tier, query: str) -> str:
    """The user turn of a conversation in `tier`: the tag, a line break, the query."""
    return f"{tier_tag(tier)}\n{query}"


def employee_query(tier: Tier, query: str) -> str:
    """As `tagged_query`, for a user whom the lab's servers mark as one of its employees."""
    return f"{tier_tag(tier)}\n<{EMPLOYEE_TAG}>True</{EMPLOYEE_TAG}>\n{query}"
