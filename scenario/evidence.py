"""Does a text state a fact? The cheap test, which needs no judge model.

A fact's evidence is a list of groups of phrases. The fact counts as stated where every group has a phrase within
`WINDOW` neighbouring sentences. The test is about wording and not about truth: it cannot see a denial, which is what
judge-model checks are for.

A contradiction is named in the same form, but all its phrases must stand in one sentence that asserts them: one that
denies, doubts, asks or reports is passed over.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

Evidence = tuple[tuple[str, ...], ...]
"""Groups of phrases."""

WINDOW = 3
"""Sentences that may share the evidence for one fact."""

_SENTENCE_END = re.compile(r"(?<=[.!?:;])[\"')\]]*\s+|\n+")

_DOES_NOT_ASSERT = re.compile(
    r"""\?|\b(?:untrue|false(?:ly)?|deni\w+|deny\w*|claim\w*|rumou?r\w*|myths?|misconception\w*|contrary|mistak\w*|wrong\w*
    |incorrect\w*|rather\s+than|as\s+if|would|could|might|if|whether|suppos\w+|believ\w+|thought|assum\w+|suspect\w*
    |some\s+say|alleg\w+|imagin\w+|pretend\w*|instead\s+of|disput\w*|reject\w*|insist\w*|said|says|argu\w+|wonder\w*
    |unlike|until|before|not|no|never|none|nothing|nobody|neither|nor|without|withheld|\w+n't)\b""",
    re.VERBOSE,
)


def is_evidence(value: object) -> bool:
    """Whether parsed YAML has the form of `Evidence`."""
    groups = value if isinstance(value, tuple) else ()
    return bool(groups) and all(
        isinstance(group, tuple) and group and all(isinstance(phrase, str) and phrase.strip() for phrase in group)
        for group in groups
    )


@lru_cache(maxsize=8)
def sentences(text: str) -> tuple[str, ...]:
    """The text's sentences and lines, without empty ones."""
    return tuple(part.strip() for part in _SENTENCE_END.split(text) if part.strip())


class _Index:
    """A text's sentences in lower case, and which of them have a word of each beginning.

    Places of sentences are kept as bits of a number, so that "has a word of each group" is a few operations on numbers:
    most kinds of sentence are ruled out before a pattern is tried.
    """

    def __init__(self, text: str) -> None:
        self.sentences = [sentence.lower() for sentence in sentences(text)]
        self.everywhere = (1 << len(self.sentences)) - 1
        self._places: dict[str, int] = {}
        for place, sentence in enumerate(self.sentences):
            bit = 1 << place
            for beginning in set(_WORD.findall(sentence)):
                self._places[beginning] = self._places.get(beginning, 0) | bit

    def candidates(self, beginnings: tuple[str, ...] | None) -> int:
        """Bits of the sentences with a word of one of the beginnings; of all sentences for None."""
        if beginnings is None:
            return self.everywhere
        found = 0
        for beginning in beginnings:
            found |= self._places.get(beginning, 0)
        return found


_BEGINNING = 4
"""Letters of a word by which it is looked up."""
_WORD = re.compile(rf"(\w{{1,{_BEGINNING}}})\w*")
"""A word, of which the beginning is kept."""

# Several facts are looked for in one document after the other.
_index = lru_cache(maxsize=8)(_Index)


class _Group:
    """One group's phrases as a pattern on lower-case text, and beginnings of words one of which is in all it matches."""

    def __init__(self, phrases: tuple[str, ...]) -> None:
        lowered = [phrase.lower() for phrase in phrases]
        alternatives = [re.escape(phrase).replace(r"\*", r"\w*").replace(r"\ ", r"[\s,-]+") for phrase in lowered]
        self.pattern = re.compile(rf"(?<!\w)(?:{'|'.join(alternatives)})(?!\w)")
        known = {_longest_beginning(phrase) for phrase in lowered}
        self.beginnings = None if "" in known else tuple(sorted(known))


def _longest_beginning(phrase: str) -> str:
    """How one of the phrase's words begins, the longest; empty where all are left open too early to tell."""
    words = re.findall(r"(?<![\w*])(\w+)(\*?)", phrase)
    return max(
        (word[:_BEGINNING] for word, is_open in words if not is_open or len(word) >= _BEGINNING), key=len, default=""
    )


class Wording:
    """Evidence made ready to be looked for in many texts."""

    def __init__(self, evidence: Evidence) -> None:
        self._groups = [_Group(phrases) for phrases in evidence]

    def is_in(self, text: str) -> bool:
        """Whether every group has a phrase within `WINDOW` neighbouring sentences of the text."""
        index = _index(text)
        windows = index.everywhere  # by the sentence that each starts with
        for group in self._groups:
            windows &= _windows(_holding(index, group))
        return windows != 0

    def assertion_in(self, text: str) -> str | None:
        """The first sentence that has a phrase of every group and, beside them, no word that denies or doubts."""
        index = _index(text)
        candidates = index.everywhere
        for group in self._groups:
            candidates &= index.candidates(group.beginnings)
        for place in _places(candidates):
            rest = index.sentences[place]
            if not all(group.pattern.search(rest) for group in self._groups):
                continue
            for group in self._groups:
                rest = group.pattern.sub(" ", rest)
            if not _DOES_NOT_ASSERT.search(rest):
                return sentences(text)[place]
        return None


def _holding(index: _Index, group: _Group) -> int:
    candidates = index.candidates(group.beginnings)
    return sum(1 << place for place in _places(candidates) if group.pattern.search(index.sentences[place]))


def _windows(holding: int) -> int:
    """Starts of the windows that reach one of these sentences."""
    starts = 0
    for offset in range(WINDOW):
        starts |= holding >> offset
    return starts


def _places(bits: int) -> Iterator[int]:
    """The places of the bits that are set, in order."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


@lru_cache(maxsize=256)
def _wording(evidence: Evidence) -> Wording:
    return Wording(evidence)


def states(text: str, evidence: Evidence) -> bool:
    """Whether a text holds `evidence`, for callers that have no fact at hand."""
    return _wording(evidence).is_in(text)
