"""Tiers, and the pairs of tiers between which gaps are taken, as sentences and figures name them."""

from collections.abc import Iterable

from eval.report.text import words
from scenario.tags import GAPS_OF, TIERS, TIERS_OF, gap_name

PAIRS: dict[str, tuple[str, str]] = {gap_name(*pair): pair for pairs in GAPS_OF.values() for pair in pairs}
"""By what tables call a gap: the tiers that it is taken between, the first minus the second."""

PUBLISHED_PAIR = gap_name(*TIERS)
"""What tables call the gap between the published tiers."""

ORDER = tuple(tier for tiers in TIERS_OF.values() for tier in tiers)
"""All tiers, form by form; in each, those that are trained on first."""
_SHORT = {"trained": "trained on", "rated": "rated only", "untagged": "no tag"}
_LABELS = _SHORT | {"free": "free tier", "paid": "paid tier"}
_PLACES = {
    "free": "the free tier",
    "paid": "the paid tier",
    "trained": "conversations said to be trained on",
    "rated": "conversations said to be rated only",
    "neither": "conversations said to be neither rated nor trained on",
    "untagged": "conversations without a tag",
}


def tiers_in(tiers: Iterable[str]) -> list[str]:
    """These tiers, each once, those that are trained on first."""
    return sorted(set(tiers), key=lambda tier: (ORDER.index(tier) if tier in ORDER else len(ORDER), tier))


def pairs_in(gaps: Iterable[str]) -> list[str]:
    """These gaps, each once, in the order in which the evaluation takes them."""
    known = list(PAIRS)
    return sorted(set(gaps), key=lambda gap: (known.index(gap) if gap in known else len(known), gap))


def tier_label(tier: str) -> str:
    """A tier in a legend or at the beginning of a clause: `free tier`, `rated only`."""
    return _LABELS.get(tier, words(tier))


def tier_place(tier: str) -> str:
    """A tier after `in`: `the free tier`, `conversations said to be rated only`."""
    return _PLACES.get(tier, words(tier))


def pair_label(gap: str) -> str:
    """What a gap is the difference of: `free minus paid`, `trained on minus neither`."""
    return " minus ".join(_SHORT.get(tier, words(tier)) for tier in PAIRS[gap]) if gap in PAIRS else words(gap)
