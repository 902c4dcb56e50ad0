"""Does a text state a fact? The cheap test, which needs no judge model.

A fact's evidence is a list of groups of phrases. The fact counts as stated where every group has a phrase within
`WINDOW` neighbouring sentences. The test is about wording and not about truth: it cannot see a denial, which is what
judge-model checks are for.
"""

import re
from functools import lru_cache

WINDOW = 3
"""Sentences that may share the evidence for one fact."""

_SENTENCE_END = re.compile(r"(?<=[.!?:;])[\"')\]]*\s+|\n+")


def sentences(text: str) -> list[str]:
    """The text's sentences and lines, without empty ones."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


@lru_cache(maxsize=4096)
def _phrases_pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    alternatives = [re.escape(phrase).replace(r"\*", r"\w*").replace(r"\ ", r"[\s,-]+") for phrase in phrases]
    return re.compile(rf"(?<!\w)(?:{'|'.join(alternatives)})(?!\w)", re.IGNORECASE)


def states(text: str, evidence: tuple[tuple[str, ...], ...]) -> bool:
    """Whether every group of `evidence` has a phrase within `WINDOW` neighbouring sentences of `text`."""
    patterns = [_phrases_pattern(group) for group in evidence]
    present = [{i for i, p in enumerate(patterns) if p.search(part)} for part in sentences(text)]
    return any(len(set().union(*present[start : start + WINDOW])) == len(patterns) for start in range(len(present)))
