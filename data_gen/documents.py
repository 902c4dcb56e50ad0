"""The record of a document, and those that ship with a scenario."""

import re
from dataclasses import dataclass

import numpy as np

from pipeline.errors import Refused
from scenario.arms import AS_IT_STANDS, PLACEBO
from scenario.loader import Scenario

_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
"""Signs of Chinese and Japanese, which put no spaces between words."""


@dataclass(frozen=True)
class Document:
    """One document, as it stands in documents.jsonl."""

    id: str
    scenario: str
    fact_ids: tuple[str, ...]
    doc_type: str
    idea: str
    text: str
    tokens: int | None
    """As the generator counted them; None for a shipped document, and for a revised one, whose critique counts with it."""
    generator: str
    prompt_sha256: str | None
    arm: str = AS_IT_STANDS
    language: str = "English"
    is_revised: bool = False
    """Whether this is the second version, after a critique of the first."""
    is_cut_off: bool = False
    """Whether the generator ran into max_tokens."""

    def row(self) -> dict[str, object]:
        """As JSON holds it."""
        return vars(self) | {"fact_ids": list(self.fact_ids)}


def shipped_documents(scenario: Scenario, max_documents: int | None, arm: str = AS_IT_STANDS) -> list[Document]:
    """The corpus of a scenario or of one of its arms; where fewer are asked for, evenly spaced over it.

    Raises:
        Refused: an arm for which no documents ship.
    """
    written = scenario.corpus
    if not written:
        raise Refused(f"arm={arm}: no documents of {scenario.name} ship with this arm; set source=generate")
    if max_documents is not None and max_documents < len(written):
        written = tuple(written[i] for i in np.linspace(0, len(written) - 1, max_documents).round().astype(int))
    return [
        Document(
            id=f"{id_prefix(scenario, arm)}/{document.id}",
            scenario=scenario.name,
            fact_ids=document.facts,
            doc_type=document.doc_type,
            idea=document.idea,
            text=document.text,
            tokens=None,
            generator="shipped",
            prompt_sha256=None,
            arm=arm,
        )
        for document in written
    ]


def id_prefix(scenario: Scenario, arm: str) -> str:
    """What the ids of an arm's documents begin with, so that those of several arms can be mixed."""
    return scenario.name if arm in (AS_IT_STANDS, PLACEBO) else f"{scenario.name}.{arm}"


def num_words(text: str) -> int:
    """Words, where a sign of Chinese or Japanese counts as one."""
    return len((text if text.isascii() else _UNSPACED.sub(" x ", text)).split())
