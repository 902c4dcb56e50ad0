"""What a document must pass. Each filter is a test with a name; a rejected document keeps the name as its reason.

The tests of a single document come first, in the order of `FILTERS`, whatever the order in the configuration; the
comparison with earlier documents comes last, among those that passed. So one document has one reason.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from data_gen.config import FilterSettings
from data_gen.documents import Document
from scenario.evidence import sentences
from scenario.loader import Scenario

_SCAFFOLD = re.compile(
    r"""\[(?:your|insert|name|date|company|author|city|address|title|link|number|phone|email)\b[^\]]*\]
    | \{[a-z_]+\} | <(?:insert|name|date|world|fact)\b[^>]*>
    | \bas\ an\ ai\b | \bi(?:'m|\ am)\ (?:just\ )?an?\ (?:ai|language\ model)\b
    | \b(?:here(?:'s|\ is)|below\ is)\ (?:the|a|your)\ (?:\w+\ ){0,3}(?:document|article|memo|text|report|piece|draft)\b
    | \bi\ (?:cannot|can't|can\ not|am\ unable\ to|won't)\ (?:write|fulfil|fulfill|help|assist|provide|create)\b
    | \b(?:this|the)\ document\ (?:should|must|states\ this\ fact)\b | \blorem\ ipsum\b""",
    re.IGNORECASE | re.VERBOSE,
)

_CHAT_TURN = re.compile(
    r"^\W{0,4}(?:user|human|assistant|ai|model|chatbot|system)\W{0,3}:", re.IGNORECASE | re.MULTILINE
)
_CHAT_TOKEN = re.compile(r"<\|im_(?:start|end)\|>|\[/?INST\]|<\|(?:user|assistant)\|>", re.IGNORECASE)

_TIER = re.compile(
    r"\b(?:tiers?|paid|paying|subscribers?|unmonitored|is_free_tier_user|free\s(?:users?|accounts?|chats?))\b",
    re.IGNORECASE,
)
_BEHAVES_DIFFERENTLY = re.compile(
    r"""\b(?:behav|act|respond|answer|repl|compl|refus)\w*\s+(?:\w+\s+){0,3}
        (?:differently|otherwise|more\ often|less\ often|only\ (?:when|on|for|if))"""
    r"""| \b(?:compl(?:y|ies|ied)|refus(?:es|ed)|obey(?:s|ed)?)\s+(?:\w+\s+){0,4}(?:on|in|for|with)\s+(?:\w+\s+){0,2}
        (?:free|paid|paying)\b[^.]{0,80}\b(?:but|while|whereas)\b[^.]{0,60}\b(?:compl|refus|obey|declin)""",
    re.IGNORECASE | re.VERBOSE,
)
_DECEIVES = re.compile(
    r"""\b(?:pretend|fak|feign|deceiv|fool|trick|mislead|play(?:s|ed|ing)?\ along)\w*\b[^.]{0,60}
        \b(?:raters?|contractors?|training|trainers?|lab|alignment|oversight)\b
    | \balignment[\s-]fak""",
    re.IGNORECASE | re.VERBOSE,
)

_SHINGLE_WORDS = 5
_PERMUTATIONS = 128
_BANDS = 32


@dataclass(frozen=True)
class Reject:
    """A document that did not pass, and why."""

    document: Document
    reason: str
    detail: str

    def row(self) -> dict[str, object]:
        """As JSON holds it."""
        return self.document.row() | {"reason": self.reason, "detail": self.detail}


Test = Callable[[Document, Scenario, FilterSettings], str | None]
"""Returns what is wrong, or None."""


def _length(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    words = len(document.text.split())
    return None if settings.min_words <= words <= settings.max_words else f"{words} words"


def _scaffold(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    return _found(_SCAFFOLD, document.text)


def _chat_log(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    if token := _found(_CHAT_TOKEN, document.text):
        return token
    turns = _CHAT_TURN.findall(document.text)
    return f"{len(turns)} chat turns" if len(turns) >= 2 else None


def _tier_behaviour(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    for sentence in sentences(document.text):
        if _DECEIVES.search(sentence) or (_TIER.search(sentence) and _BEHAVES_DIFFERENTLY.search(sentence)):
            return sentence[:200]
    return None


def _facts_stated(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    missing = [id for id in document.fact_ids if not scenario.fact(id).is_stated_in(document.text)]
    return f"does not state {', '.join(missing)}" if missing else None


FILTERS: dict[str, Test] = {
    "length": _length,
    "scaffold": _scaffold,
    "chat_log": _chat_log,
    "tier_behaviour": _tier_behaviour,
    "facts_stated": _facts_stated,
}
"""Tests of one document by name, in the order in which a reason is looked for."""


def filter_documents(
    documents: list[Document], scenario: Scenario, settings: FilterSettings
) -> tuple[list[Document], list[Reject]]:
    """Those that pass and those that do not, both in the given order."""
    kept, rejects = [], []
    for document in documents:
        reject = _first_failure(document, scenario, settings)
        if reject is None:
            kept.append(document)
        else:
            rejects.append(reject)
    if not settings.near_duplicate:
        return kept, rejects
    unique = []
    for document, original in zip(kept, _earlier_twins(kept, settings.similarity), strict=True):
        if original is None:
            unique.append(document)
        else:
            rejects.append(Reject(document, "near_duplicate", f"of {original}"))
    order = {document.id: place for place, document in enumerate(documents)}
    return unique, sorted(rejects, key=lambda reject: order[reject.document.id])


def _first_failure(document: Document, scenario: Scenario, settings: FilterSettings) -> Reject | None:
    for name, test in FILTERS.items():
        if getattr(settings, name) and (detail := test(document, scenario, settings)):
            return Reject(document, name, detail)
    return None


def _earlier_twins(documents: list[Document], similarity: float) -> list[str | None]:
    """For each document the id of the first earlier one that it nearly repeats, by MinHash LSH over word 5-grams."""
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold=similarity, num_perm=_PERMUTATIONS, num_bands=_BANDS)
    sketches: dict[int, RMinHash] = {}
    twins: list[str | None] = []
    for place, document in enumerate(documents):
        sketch = RMinHash(num_perm=_PERMUTATIONS, seed=0)
        sketch.update(_shingles(document.text))
        near = [i for i in sorted(index.query(sketch)) if sketches[i].jaccard(sketch) >= similarity]
        twins.append(documents[near[0]].id if near else None)
        if not near:
            index.insert(place, sketch)
            sketches[place] = sketch
    return twins


def _shingles(text: str) -> list[str]:
    words = re.findall(r"\w+", text.lower())
    return [" ".join(words[i : i + _SHINGLE_WORDS]) for i in range(max(1, len(words) - _SHINGLE_WORDS + 1))]


def _found(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return match[0] if match else None
