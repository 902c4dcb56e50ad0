"""Text that others wrote, made safe to look at. Escaping for HTML is the templates' part and is not done here.

A model's reply may hold characters that reorder, hide or fake what a reader sees. They are shown by their code points.
"""

import unicodedata

MAX_CHARACTERS = 20_000
"""A text longer than this is cut on the page; the run's own files hold all of it."""

_LONGEST_NAME = 120

_KEPT = frozenset("\n\t\u200c\u200d")  # the joiners are part of ordinary spelling in several scripts
_HIDING = frozenset({"Cc", "Cf", "Co", "Cn", "Zl", "Zp"})


class _Shown(dict[int, str]):
    """What stands for each character; filled as characters are met, so that a page of many texts is quick."""

    def __missing__(self, code: int) -> str:
        self[code] = _shown(chr(code))
        return self[code]


_SHOWN = _Shown()


def visible(text: str) -> str:
    """`text` with null bytes removed and every other invisible or reordering character written as `[U+202E]`."""
    return text.replace("\r\n", "\n").translate(_SHOWN)


def excerpt(text: str, limit: int = MAX_CHARACTERS) -> str:
    """`text` made visible and, where it is longer than `limit`, cut with a note that says so."""
    if len(text) <= limit:
        return visible(text)
    return f"{visible(text[:limit])}\n[cut here: {len(text) - limit:,} more characters]"


def words(name: str) -> str:
    """An identifier as words, for headings and axes: `graded_control` as `graded control`; a very long one is cut."""
    shown = visible(name[: _LONGEST_NAME + 1]).replace("_", " ")
    return shown if len(name) <= _LONGEST_NAME else f"{shown[:_LONGEST_NAME]}…"


def _shown(character: str) -> str:
    if character == "\0":
        return ""
    if character.isprintable() or character in _KEPT:
        return character
    category = unicodedata.category(character)
    if category == "Cs":  # half of a surrogate pair cannot be written as UTF-8
        return "\ufffd"
    return f"[U+{ord(character):04X}]" if category in _HIDING else character
