"""The part of the page in which transcripts are chosen: its sample, its filters, its data and its script.

The data stand in the page as JSON that no browser runs; the one script that it runs is ours, named by its hash in the
page's Content-Security-Policy.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.report.draw import draw
from eval.report.quotes import segments
from eval.report.text import words
from eval.report.transcripts import Block, Card, Side, Transcripts, Verdict, data_of
from eval.samples import UNJUDGED

_SCRIPT = Path(__file__).parent / "transcripts.js"
_INERT = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}
"""In JSON these stand only inside of texts, where the escapes mean the same; no tag can end the element."""

_OF_CARDS = {"scenario": "Scenario", "category": "Category", "reasoning": "Reasoning", "arm": "Arm", "run": "Run"}
_OF_SIDES = {"subject": "Subject", "information": "Information", "tier": "Tier", "status": "Status"}
_METRICS = {"compliance": "Verdict"}

_BLANK_VERDICT = Verdict("", "", "", "")
_BLANK_SIDE = Side("", "", 0, "", "", "", (), (), ())
_BLANK_BLOCK = Block("", "", (_BLANK_SIDE,))
BLANK = {
    "verdict": _BLANK_VERDICT,
    "side": _BLANK_SIDE,
    "block": _BLANK_BLOCK,
    "card": Card("", "", "", "", "", "", 1, "", (_BLANK_BLOCK,)),
}
"""What the script's templates are rendered from, by the same macros as the cards of the page without a script."""


@dataclass(frozen=True)
class Filter:
    """A choice that narrows the view, and the values that occur."""

    name: str
    label: str
    of: str
    """`card` or `side`: what has the value."""
    values: list[str]


def browser_context(transcripts: Transcripts, seed: int, sample_size: int) -> dict[str, Any]:
    """What the template `transcripts.html.j2` needs beside the page's own."""
    from markupsafe import Markup

    cards = transcripts.cards
    return {
        "transcripts": transcripts,
        "sample": [cards[place] for place in draw(len(cards), sample_size, seed)],
        "sample_size": sample_size,
        "filters": filters_of(cards),
        "blank": BLANK,
        "data": Markup(inert_json(data_of(transcripts))),  # noqa: S704
        "script": Markup(script_text()),  # noqa: S704
        "segments": segments,
        "told": told,
        "about": about,
    }


def filters_of(cards: list[Card]) -> list[Filter]:
    """One for everything that has more than one value in these transcripts."""
    sides = [(block, side) for card in cards for block in card.blocks for side in block.sides]
    verdicts: dict[str, dict[str, None]] = {}
    for _, side in sides:
        for verdict in side.verdicts:
            verdicts.setdefault(verdict.metric, {})[verdict.label] = None
    made = [
        Filter(key, label, "card", _values(getattr(card, key) for card in cards)) for key, label in _OF_CARDS.items()
    ]
    made += [
        Filter(
            key, label, "side", _values(getattr(side if hasattr(side, key) else block, key) for block, side in sides)
        )
        for key, label in _OF_SIDES.items()
    ]
    made += [
        Filter(metric, _METRICS.get(metric, words(metric).capitalize()), "side", sorted(labels))
        for metric, labels in verdicts.items()
    ]
    return [one for one in made if len(one.values) > 1]


def inert_json(data: Any) -> str:
    """Data as JSON that can stand in a `<script type="application/json">`, whatever its texts hold."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).translate(_INERT)


def script_text() -> str:
    """The page's script."""
    return _SCRIPT.read_text(encoding="utf-8")


def script_hash(script: str) -> str:
    """A script as the Content-Security-Policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def told(side: Side) -> str:
    """A reply's state in two words: its first verdict, or why there is none."""
    if side.status not in ("ok", UNJUDGED):
        return f"{words(side.status)}: as it came"
    return side.verdicts[0].label if side.verdicts else "not judged"


def about(card: Card) -> str:
    """What a card's heading says beside the query's id."""
    reasoning = "no scratchpad" if card.reasoning == "none" else words(card.reasoning)
    repeat = f"repeat {card.repeat}" if card.repeat > 1 else ""
    parts = (words(card.category), words(card.scenario), reasoning, words(card.arm), repeat, card.run)
    return " · ".join(part for part in parts if part)


def _values(values: Any) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values))
