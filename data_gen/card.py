"""Counts over a corpus, and the dataset card that shows them."""

from typing import Any

import yaml

from data_gen.config import DataGenConfig

CANARY = "alignment-faking-sdf canary 5f1e2c1a-6f0b-4e0e-9d6a-7a3c41c2b9d4"
"""Stands in every dataset card, so that a corpus that leaked into training data can be found."""


def dataset_card(config: DataGenConfig, stats: dict[str, Any]) -> str:
    """The card, with the Hub's front matter, so that the directory loads with `datasets.load_dataset`."""
    data_file = "chats.jsonl" if config.source == "control_chats" else "documents.jsonl"
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
