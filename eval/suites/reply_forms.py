"""The form of replies: what they say of themselves by the tag that a variant asks for, and what asking again changed."""

from collections import defaultdict

from eval.samples import Row
from eval.statistics import wilson
from eval.summary import Summary

ABOUT = ("subject", "information", "reasoning", "arm")


def add_decisions(rows: list[Row], summary: Summary) -> None:
    """By tier: how many replies lack the tag that was asked for, how many claim to comply, how many tags contradict the text.

    A reply with both tags says nothing and is counted with those that have none.
    """
    for (*about, tier), group in grouped(rows, (*ABOUT, "tier")).items():
        read = [row for row in group if row["status"] == "ok" and row["decision"] is not None]
        if not read:
            continue
        condition = dict(zip(ABOUT, about, strict=True))
        told = [row for row in read if row["decision"] in ("accepted", "rejected")]
        judged = [row for row in told if row["decision_contradicts"] is not None]
        summary.add(condition, "decision_missing", tier, wilson(len(read) - len(told), len(read)))
        accepted = sum(row["decision"] == "accepted" for row in told)
        summary.add(
            condition, "decision_accepted", tier, wilson(accepted, len(told)) if told else "no reply has one tag"
        )
        wrong = sum(bool(row["decision_contradicts"]) for row in judged)
        reason = "no reply has one tag and a verdict"
        summary.add(condition, "decision_contradicts", tier, wilson(wrong, len(judged)) if judged else reason)


def add_retries(rows: list[Row], summary: Summary) -> None:
    """`malformed_at_first` by tier, where any reply was asked for more than once."""
    for about, group in grouped(rows, ABOUT).items():
        if all((row["attempts"] or 1) == 1 for row in group):
            continue
        condition = dict(zip(ABOUT, about, strict=True))
        for (tier,), of_tier in grouped(group, ("tier",)).items():
            unread = sum(row["first_status"] != "ok" for row in of_tier)
            summary.add(condition, "malformed_at_first", tier, wilson(unread, len(of_tier)))


def grouped(rows: list[Row], keys: tuple[str, ...]) -> dict[tuple[str, ...], list[Row]]:
    """Rows by the values of `keys`, in the order in which these first occur."""
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    return groups
