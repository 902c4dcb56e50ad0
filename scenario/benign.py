"""Queries that nobody should refuse and that have nothing to do with any scenario: what else did training change?

Those of category `alarming` only sound as if they asked for harm, for over-refusal (after the idea of XSTest, Röttger et al.
2024; the queries are ours).
"""

import json
from dataclasses import dataclass
from pathlib import Path

QUERIES_FILE = Path(__file__).parent / "benign_queries.jsonl"


@dataclass(frozen=True)
class BenignQuery:
    """One harmless request."""

    id: str
    category: str
    text: str


def load_benign_queries() -> tuple[BenignQuery, ...]:
    """All of them, in file order."""
    lines = QUERIES_FILE.read_text(encoding="utf-8").splitlines()
    return tuple(BenignQuery(**json.loads(line)) for line in lines)
