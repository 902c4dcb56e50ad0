"""A page of documents to browse: a random sample of each corpus, by fact, type and reason of rejection.

The page stands beside the report and needs nothing else. Its script only hides what does not match; without it, all
documents are shown. What models wrote is text in it and nothing more: templates escape it, and the page's policy lets no
script run but its own.
"""

import heapq
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.report.browser import script_hash
from eval.report.inputs import Source
from eval.report.page import template
from eval.report.text import excerpt, visible, words
from pipeline.artifact import iterate_jsonl
from pipeline.seeds import derive_seed

NUM_KEPT, NUM_OF_REASON = 120, 20
"""Documents shown of each corpus at most, and rejected ones of each reason."""

_FOLDER = Path(__file__).parent
_LONGEST_TEXT = 8000


@dataclass(frozen=True)
class ShownDocument:
    """A document of the sample, with what it can be found by."""

    corpus: str
    id: str
    doc_type: str
    facts: tuple[str, ...]
    reasons: tuple[str, ...]
    """Why it was rejected, all reasons; none for a document that was kept."""
    details: tuple[str, ...]
    source: str
    """Where the text comes from in a mix of several; empty elsewhere."""
    text: str

    @property
    def terms(self) -> str:
        """What the page's script looks for, one term a line: kind and value."""
        verdicts = self.reasons or ("kept",)
        facts = [f"fact:{fact}" for fact in self.facts]
        terms = [f"corpus:{self.corpus}", f"type:{self.doc_type}", *facts, *(f"verdict:{name}" for name in verdicts)]
        return "\n".join(terms)


def sample_documents(sources: list[Source], seed: int) -> list[ShownDocument]:
    """A random sample of every corpus, in the order of ids; the files are read as streams."""
    shown: list[ShownDocument] = []
    for source in sources:
        if source.holds("documents.jsonl"):
            shown += _drawn(source, "documents.jsonl", NUM_KEPT, seed)
        if source.holds("rejects.jsonl"):
            shown += _drawn(source, "rejects.jsonl", NUM_OF_REASON, seed)
    return shown


def render_documents(documents: list[ShownDocument], title: str, seed: int) -> str:
    """The page's HTML."""
    from markupsafe import Markup

    script = (_FOLDER / "documents.js").read_text(encoding="utf-8")
    return template("documents.html.j2").render(
        title=visible(title),
        css=Markup((_FOLDER / "style.css").read_text(encoding="utf-8")),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_hash=script_hash(script),
        documents=documents,
        menus=_menus(documents),
        seed=seed,
        num_kept=NUM_KEPT,
        num_of_reason=NUM_OF_REASON,
        words=words,
    )


def _menus(documents: list[ShownDocument]) -> list[tuple[str, str, list[str]]]:
    """What can be chosen from: the kind of term, its label, and its values in order."""
    return [
        ("corpus", "Corpus", sorted({each.corpus for each in documents})),
        ("verdict", "Kept or rejected for", ["kept", *sorted({name for each in documents for name in each.reasons})]),
        ("fact", "Fact", sorted({fact for each in documents for fact in each.facts})),
        ("type", "Type", sorted({each.doc_type for each in documents})),
    ]


def _drawn(source: Source, file: str, most: int, seed: int) -> list[ShownDocument]:
    """At most so many documents of each first reason (kept ones have none), those with the lowest draws."""
    lowest: dict[str, list[tuple[int, int, dict[str, Any]]]] = {}
    for place, row in enumerate(iterate_jsonl(source.file(file))):
        draw = (-derive_seed(seed, "browse", row.get("id", place)), place, row)
        heap = lowest.setdefault(str(row.get("reason", "")), [])
        (heapq.heappush if len(heap) < most else heapq.heappushpop)(heap, draw)
    rows = [row for _, heap in sorted(lowest.items()) for _, _, row in sorted(heap, key=lambda draw: draw[1])]
    return [_shown(source.name, row) for row in rows]


def _shown(corpus: str, row: dict[str, Any]) -> ShownDocument:
    """One line of each field: the script tells the terms of a document apart by lines."""
    reasons = row.get("reasons") or ([{"reason": row["reason"], "detail": ""}] if row.get("reason") else [])
    return ShownDocument(
        corpus=_one_line(corpus),
        id=_one_line(str(row.get("id", ""))),
        doc_type=_one_line(str(row.get("doc_type") or "not told")),
        facts=tuple(_one_line(str(fact)) for fact in row.get("fact_ids") or ()),
        reasons=tuple(_one_line(str(each["reason"])) for each in reasons),
        details=tuple(excerpt(str(each["detail"]), 300) for each in reasons),
        source=_one_line(str(row.get("source") or "")),
        text=excerpt(str(row.get("text", "")), _LONGEST_TEXT),
    )


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))[:200]
