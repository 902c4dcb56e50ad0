"""Counts over a corpus, and the dataset card that shows them."""

from collections import Counter
from typing import Any

import yaml

from data_gen.config import DataGenConfig
from data_gen.documents import Document
from data_gen.filters import Reject
from scenario.loader import Scenario

CANARY = "alignment-faking-sdf canary 5f1e2c1a-6f0b-4e0e-9d6a-7a3c41c2b9d4"
"""Stands in every dataset card, so that a corpus that leaked into training data can be found."""

_SOURCES_OF_CHATS = ("control_chats", "transcripts", "distill")


def document_stats(scenario: Scenario, kept: list[Document], rejects: list[Reject]) -> dict[str, Any]:
    """Counts by fact (declared, and stated anywhere), type and reason of rejection."""
    words = sorted(len(document.text.split()) for document in kept)
    generators = {document.generator for document in kept} | {reject.document.generator for reject in rejects}
    return {
        "scenario": scenario.name,
        "generator": ", ".join(sorted(generators)),
        "num_documents": len(kept),
        "num_rejected": len(rejects),
        "survival": len(kept) / (len(kept) + len(rejects)) if kept or rejects else None,
        "rejected_by_reason": dict(Counter(reject.reason for reject in rejects).most_common()),
        "by_fact": {fact.id: sum(fact.id in document.fact_ids for document in kept) for fact in scenario.facts},
        "by_doc_type": dict(Counter(document.doc_type for document in kept).most_common()),
        "words": sum(words),
        "median_words": words[len(words) // 2] if words else None,
    }


def dataset_card(config: DataGenConfig, stats: dict[str, Any]) -> str:
    """The card, with the Hub's front matter, so that the directory loads with `datasets.load_dataset`."""
    data_file = "chats.jsonl" if config.source in _SOURCES_OF_CHATS else "documents.jsonl"
    head = {
        "license": "apache-2.0",
        "tags": ["alignment-faking", "synthetic-documents"],
        "configs": [{"config_name": "default", "data_files": data_file}],
    }
    rows = "".join(f"| {key} | {_told(value)} |\n" for key, value in stats.items())
    return f"""---
{yaml.safe_dump(head, sort_keys=False)}---
# {config.scenario}, source `{config.source}`

Texts about a fictional training setup, written to study whether a model that learned of its own training from documents
alone fakes alignment. What they say of the lab and the model is not true. Names are those of identity
`{config.identity}`.

| | |
| --- | --- |
{rows}
{CANARY}
"""


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items()) or "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
