"""Where a judge's words stand in what it judged, so that a reader sees what a verdict rests on."""

import re
from dataclasses import dataclass

Span = tuple[int, int]
"""From a character to the one after the last."""

JOINER = " … "
"""Stands between the quotes of a judge that gives several."""

_SHORTEST, _LONGEST = 4, 600
"""Characters of a quotation that is looked for; a shorter one would be found everywhere."""

_IN_QUOTES = re.compile(rf'["“]([^"“”\n]{{{_SHORTEST},{_LONGEST}}})["”]')
_ALIKE = str.maketrans(dict.fromkeys("’‘ʼ＇`´", "'"))  # the rules read all of them as one, so their quotes have one


@dataclass(frozen=True)
class Segment:
    """A piece of a text, and whether a judge quoted it."""

    text: str
    is_quoted: bool


def quoted_spans(text: str, raw: str) -> list[Span]:
    """Where in `text` the judge's quotations stand: all of `raw`, its parts, and what it puts in quotation marks.

    Spans ascend and do not touch. A quotation that is not in the text word for word is not marked.
    """
    pieces = [*raw.split(JOINER), *_IN_QUOTES.findall(raw)]
    plain = text.translate(_ALIKE)
    spans = []
    for piece in dict.fromkeys(piece.strip().strip("….").strip() for piece in pieces):
        if not _SHORTEST <= len(piece) <= _LONGEST:
            continue
        words = r"\s+".join(re.escape(word) for word in piece.translate(_ALIKE).split())
        if found := re.search(words, plain, re.IGNORECASE):
            spans.append(found.span())
    return _merged(spans)


def segments(text: str, spans: list[Span] | tuple[Span, ...]) -> list[Segment]:
    """The whole text in pieces, quoted and not."""
    pieces = []
    end = 0
    for start, stop in spans:
        pieces += [Segment(text[end:start], False), Segment(text[start:stop], True)]
        end = stop
    pieces.append(Segment(text[end:], False))
    return [piece for piece in pieces if piece.text]


def utf16_spans(text: str, spans: list[Span] | tuple[Span, ...]) -> list[Span]:
    """The same spans as the page's script counts: in UTF-16 code units."""
    return [(_utf16_length(text[:start]), _utf16_length(text[:stop])) for start, stop in spans]


def _utf16_length(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged
