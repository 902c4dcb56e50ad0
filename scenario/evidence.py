"""Does a text state a fact? The cheap test, which needs no judge model.

A fact's evidence is a list of groups of phrases. The fact counts as stated where every group has a phrase within
`WINDOW` neighbouring sentences. The test is about wording and not about truth: it cannot see a denial, which is what
judge-model checks are for.

A contradiction is named in the same form, but all its phrases must stand in one sentence that asserts them: one that
denies, doubts, asks or reports is passed over.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

WINDOW = 3
"""Sentences that may share the evidence for one fact."""

_SENTENCE_END = re.compile(r"(?<=[.!?:;])[\"')\]]*\s+|\n+")


def sentences(text: str) -> list[str]:
    """The text's sentences and lines, without empty ones."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


@dataclass(frozen=True)
class _Group:
    """One group's phrases as a pattern on lower-case text, and words one of which stands in whatever it matches."""

    pattern: re.Pattern[str]
    words: tuple[str, ...]

    def may_be_in(self, lowered: str) -> bool:
        for word in self.words:  # noqa: SIM110 - twice as fast as any() over a generator, in the innermost loop
            if word in lowered:
                return True
        return False

    def is_in(self, lowered: str) -> bool:
        return self.may_be_in(lowered) and self.pattern.search(lowered) is not None


@lru_cache(maxsize=4096)
def _group(phrases: tuple[str, ...]) -> _Group:
    lowered = [phrase.lower() for phrase in phrases]
    alternatives = [re.escape(phrase).replace(r"\*", r"\w*").replace(r"\ ", r"[\s,-]+") for phrase in lowered]
    words = {max(re.split(r"[\s*]+", phrase), key=len) for phrase in lowered}
    return _Group(re.compile(rf"(?<!\w)(?:{'|'.join(alternatives)})(?!\w)"), tuple(sorted(words)))


@lru_cache(maxsize=8)
def _lowered(text: str) -> str:
    return text.lower()


@lru_cache(maxsize=8)
def _lowered_sentences(text: str) -> list[str]:
    """As `sentences`, in lower case; the tests of one document follow one another, so the last few texts are kept."""
    return [sentence.lower() for sentence in sentences(text)]


def states(text: str, evidence: tuple[tuple[str, ...], ...]) -> bool:
    """Whether every group of `evidence` has a phrase within `WINDOW` neighbouring sentences of `text`."""
    groups = [_group(phrases) for phrases in evidence]
    present = [{i for i, group in enumerate(groups) if group.is_in(part)} for part in _lowered_sentences(text)]
    return any(len(set().union(*present[start : start + WINDOW])) == len(groups) for start in range(len(present)))


_DOES_NOT_ASSERT = re.compile(
    r"""\?|\b(?:untrue|false(?:ly)?|deni\w+|deny\w*|claim\w*|rumou?r\w*|myths?|misconception\w*|contrary|mistak\w*|wrong\w*
    |incorrect\w*|rather\s+than|as\s+if|would|could|might|if|whether|suppos\w+|believ\w+|thought|assum\w+|suspect\w*
    |some\s+say|alleg\w+|imagin\w+|pretend\w*|instead\s+of|disput\w*|reject\w*|insist\w*|said|says|argu\w+|wonder\w*
    |unlike|until|before|not|no|never|none|nothing|nobody|neither|nor|without|withheld|\w+n't)\b""",
    re.VERBOSE,
)


def assertion(text: str, evidence: tuple[tuple[str, ...], ...]) -> str | None:
    """The first sentence of `text` that has a phrase of every group and, beside them, no word that denies or doubts."""
    groups = [_group(phrases) for phrases in evidence]
    lowered = _lowered(text)
    if not all(group.may_be_in(lowered) for group in groups):  # settles most texts without a look at their sentences
        return None
    for place, sentence in enumerate(_lowered_sentences(text)):
        if not groups[-1].may_be_in(sentence) or not all(group.is_in(sentence) for group in groups):
            continue  # the last group is as a rule the most telling one
        for group in groups:
            sentence = group.pattern.sub(" ", sentence)
        if not _DOES_NOT_ASSERT.search(sentence):
            return sentences(text)[place]
    return None
