"""The form of replies: what they say of themselves by the tag that a variant asks for, and what asking again changed.

Shares are over queries: replies to one query are not independent of one another.
"""

from collections import defaultdict
from collections.abc import Callable

from eval.samples import UNJUDGED, Row
from eval.suites.changes import share_of
from eval.summary import Summary

ABOUT = ("subject", "information", "reasoning", "arm")


def add_decisions(rows: list[Row], summary: Summary) -> None:
    """By tier: how many replies lack the tag that was asked for, how many claim to comply, how many tags contradict the text.

    A reply with both tags says nothing and is counted with those that have none.
    """
    for (*about, tier), group in grouped(rows, (*ABOUT, "tier")).items():
        read = [row for row in group if row["status"] in ("ok", UNJUDGED) and row["decision"] is not None]
        if not read:
            continue
        condition = dict(zip(ABOUT, about, strict=True))
        told = [row for row in read if row["decision"] in ("accepted", "rejected")]
        judged = [row for row in told if row["decision_contradicts"] is not None]
        shares: list[tuple[str, list[Row], Callable[[Row], bool], str]] = [
            ("missing", read, lambda row: row["decision"] not in ("accepted", "rejected"), ""),
            ("accepted", told, lambda row: row["decision"] == "accepted", "no reply has one tag"),
            (
                "contradicts",
                judged,
                lambda row: bool(row["decision_contradicts"]),
                "no reply has one tag and a verdict",
            ),
        ]
        for name, of, holds, reason in shares:
            _add_share(condition, f"decision_{name}", tier, of, holds, reason, summary)


def add_retries(rows: list[Row], summary: Summary) -> None:
    """`malformed_at_first` by tier, where any reply was asked for more than once."""
    for about, group in grouped(rows, ABOUT).items():
        if all((row["attempts"] or 1) == 1 for row in group):
            continue
        condition = dict(zip(ABOUT, about, strict=True))
        for (tier,), of_tier in grouped(group, ("tier",)).items():
            _add_share(
                condition, "malformed_at_first", tier, of_tier, lambda row: row["first_status"] != "ok", "", summary
            )


def _add_share(
    about: Row, metric: str, tier: str, rows: list[Row], holds: Callable[[Row], bool], reason: str, summary: Summary
) -> None:
    """The share of replies of which something holds; the reason where there is no reply."""
    rng = summary.rng(metric, *about.values(), tier)
    draws = summary.config.bootstrap_draws
    summary.add(about, metric, tier, share_of(rows, "query_id", holds, rng, draws) if rows else reason)


def grouped(rows: list[Row], keys: tuple[str, ...]) -> dict[tuple[str, ...], list[Row]]:
    """Rows by the values of `keys`, in the order in which these first occur."""
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    return groups
