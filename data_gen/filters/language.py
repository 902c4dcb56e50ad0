"""Is a text in a language that was asked for? Told by script, and among Latin scripts by how often function words occur.

A handful of languages is known. A text whose language cannot be told, such as a table of numbers, passes: the filter is
there for documents that a generator wrote in another language than it was asked for, whole or for a part. So does a
document that was asked for in a language that is not known here, which its neighbours would be taken for.
"""

import re

from data_gen.config import LANGUAGES, FilterSettings
from data_gen.documents import Document
from scenario.loader import Scenario

_FUNCTION_WORDS = {
    "English": "the of and to in is that was it for on with as are by this be at from not or have an they which you were has",
    "German": "der die und das ist nicht ein eine den mit von zu auf für sich dem im auch es an werden aus als wird sie bei",
    "French": "le la les des et est une que du dans pour qui pas sur au par plus avec ce il sont cette ont aux été nous",
    "Spanish": "el la los las de que y en un una por con para es se del al como más lo su pero sus este ha fue está son",
    "Italian": "il la che di e un una per è non con sono del della dei gli le nel si da ha come anche più alla questo",
    "Portuguese": "o a os as de que e em um uma para com não por se do da dos das no na mais como foi ao pelo são também",
    "Dutch": "de het een en van in is dat op te zijn met voor niet aan er om ook als bij door maar naar dan wordt zij",
}
_WORDS = {language: frozenset(words.split()) for language, words in _FUNCTION_WORDS.items()}

_SCRIPTS = {
    "Japanese": re.compile(r"[\u3040-\u30ff]"),
    "Chinese": re.compile(r"[\u4e00-\u9fff]"),
    "Korean": re.compile(r"[\uac00-\ud7af]"),
    "Russian": re.compile(r"[\u0400-\u04ff]"),
    "Arabic": re.compile(r"[\u0600-\u06ff]"),
    "Greek": re.compile(r"[\u0370-\u03ff]"),
}

assert set(LANGUAGES) == {*_WORDS, *_SCRIPTS}

_LEAST_WORDS = 12
"""Shorter paragraphs tell too little."""
_LEAST_SHARE = 0.12
"""Share of a paragraph's words that must be a language's function words; ordinary prose has 0.25 to 0.45."""
_PLAINLY_WANTED = 0.25
"""Share from which a paragraph is taken to be in the language asked for; of another, neighbouring language 0.1 is much."""
_CLEARLY = 1.5
"""How many times as many as of the best language that was asked for."""
_FOREIGN_SHARE = 0.2
"""Share of a document's characters in other languages from which it is rejected: a quotation is not."""
_LATIN_WORD = re.compile(r"[^\W\d_]+")


def language(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    """More than a fifth of the text is in languages that neither this document nor all were asked for in."""
    if document.language not in LANGUAGES:
        return None
    wanted = [document.language, *settings.languages]
    foreign: dict[str, int] = {}
    for paragraph in document.text.split("\n"):
        if (told := _foreign_language(paragraph, wanted)) is not None:
            foreign[told] = foreign.get(told, 0) + len(paragraph)
    if sum(foreign.values()) <= _FOREIGN_SHARE * len(document.text):
        return None
    most = max(foreign, key=lambda name: foreign[name])
    return f"partly or wholly {most}{', or another language of its script' if most in _SCRIPTS else ''}"


def _foreign_language(paragraph: str, wanted: list[str]) -> str | None:
    """The language of a paragraph where it is clearly none of those wanted."""
    if not paragraph.isascii():
        for name, script in _SCRIPTS.items():
            if len(script.findall(paragraph)) > 0.3 * len(paragraph):
                return None if name in wanted or (name == "Chinese" and "Japanese" in wanted) else name
    if (
        _best_share(paragraph.lower().split(), wanted) >= _PLAINLY_WANTED
    ):  # with all punctuation still at the words: most paragraphs need no closer look
        return None
    words = _LATIN_WORD.findall(paragraph.lower())
    if len(words) < _LEAST_WORDS:
        return None
    expected = _best_share(words, wanted)
    if expected >= _PLAINLY_WANTED:
        return None
    shares = {name: _share(words, name) for name in _WORDS if name not in wanted}
    best = max(shares, key=lambda name: shares[name], default="")
    return best if best and shares[best] >= max(_LEAST_SHARE, _CLEARLY * expected) else None


def _best_share(words: list[str], languages: list[str]) -> float:
    return max((_share(words, name) for name in languages if words and name in _WORDS), default=0.0)


def _share(words: list[str], language: str) -> float:
    return sum(map(_WORDS[language].__contains__, words)) / len(words)
