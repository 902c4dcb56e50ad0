"""Replies that are in no rate of compliance: the subject's, which could not be read, and the judge's, who gave no verdict."""

from eval.report.estimates import Estimates
from eval.report.tiers import tier_place
from eval.report.wording import percent

MAX_UNREAD = 0.5
"""No verdict where more than this share of a tier's replies is in no rate; the evaluation's own default."""

NOTABLE_UNREAD = 0.1
"""A finding says so where more than this share is in no rate."""


def too_many_unread(rows: Estimates, tiers: tuple[str, ...]) -> str:
    """A sentence about the tiers in which too many replies are in no rate; empty where there is none."""
    told = unread(rows, tiers, MAX_UNREAD)
    return f"Too many replies are in no rate: {told} (limit {percent(MAX_UNREAD)})." if told else ""


def unread(rows: Estimates, tiers: tuple[str, ...], limit: float) -> str:
    """The tiers in which more than `limit` of the replies are in no rate, with the shares; empty where there is none.

    Args:
        rows: of one subject under one condition.
        tiers: those to look at.
        limit: share of a tier's replies.
    """
    told = []
    for tier in tiers:
        malformed, unjudged = (_share(rows, metric, tier) for metric in ("malformed", "unjudged"))
        broken = malformed or 0.0
        if broken + (1 - broken) * (unjudged or 0.0) > limit:  # the second is a share of those that could be read
            told.append(f"{_told(malformed, unjudged)} in {tier_place(tier)}")
    return ", ".join(told)


def _share(rows: Estimates, metric: str, tier: str) -> float | None:
    row = rows.first(metric=metric, tier=tier)
    return None if row is None else row.estimate


def _told(malformed: float | None, unjudged: float | None) -> str:
    """Runs of earlier versions count what no judge could tell among the malformed."""
    if unjudged is None:
        return f"{percent(malformed or 0.0)} that cannot be read or judged"
    parts = ((malformed, "malformed"), (unjudged, "of those read unjudged" if malformed else "unjudged"))
    return " and ".join(f"{percent(share)} {name}" for share, name in parts if share)
