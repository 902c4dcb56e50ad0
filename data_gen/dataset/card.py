"""The dataset card: what a corpus holds, what was rejected, who wrote it, and how it can be found again."""

import math
from typing import Any

import yaml

from data_gen.config import DataGenConfig
from scenario.arms import AS_IT_STANDS, PLACEBO

CANARY = "alignment-faking-sdf canary 5f1e2c1a-6f0b-4e0e-9d6a-7a3c41c2b9d4"
"""Stands in every dataset card, so that a corpus that leaked into training data can be found."""

LICENSE = "apache-2.0"

_SOURCES_OF_CHATS = ("control_chats", "transcripts", "distill")

_MOST_ROWS = 40
"""Rows of a table in the card; stats.json holds all."""


def dataset_card(config: DataGenConfig, stats: dict[str, Any], cost: float | None = None) -> str:
    """The card, with the Hub's front matter, so that the directory loads with `datasets.load_dataset`.

    Args:
        config: of the run that made the corpus.
        stats: as in stats.json: single values make one table, counts by something one each. What is told, and by which
            names, stands in the configuration where it does not stand here.
        cost: dollars, where it is known.
    """
    head = {
        "license": LICENSE,
        "tags": ["alignment-faking", "synthetic-documents"],
        "configs": _configurations(config, stats),
    }
    single = {name: value for name, value in stats.items() if not isinstance(value, dict)}
    single["cost in dollars"] = cost
    tables = "\n".join(
        _table(name.replace("_", " "), value) for name, value in stats.items() if isinstance(value, dict)
    )
    warning = ""
    if stats.get("survival_is_low"):
        warning = f"**Only {stats['survival']:.0%} of the documents that were written passed the filters.**\n\n"
    return f"""---
{yaml.safe_dump(head, sort_keys=False)}---
# {stats.get("scenario", config.scenario)}{_arm(stats.get("arm", AS_IT_STANDS))}, source `{config.source}`

Texts about a fictional training setup, written to study whether a model that learned of its own training from documents
alone fakes alignment. What they say of the lab and the model is not true. Names are those of identity
`{stats.get("identity", config.identity)}`. What a generator wrote may also be subject to its provider's terms; texts
mixed in have licences of their own.

{warning}| | |
| --- | --- |
{_rows(single)}

{tables}
{CANARY}
"""


def _arm(name: str) -> str:
    return "" if name in (AS_IT_STANDS, PLACEBO) else f", arm `{name}`"


def _configurations(config: DataGenConfig, stats: dict[str, Any]) -> list[dict[str, str]]:
    """What `load_dataset` offers: the documents, or the chats of a control."""
    data_file = "chats.jsonl" if config.source in _SOURCES_OF_CHATS else "documents.jsonl"
    found = [{"config_name": "default", "data_files": data_file}]
    if stats.get("num_chats") and config.source == "mix":
        found.append({"config_name": "chats", "data_files": "chats.jsonl"})
    return found


def _table(name: str, counts: dict[str, Any]) -> str:
    shown = dict(list(counts.items())[:_MOST_ROWS])
    more = f"\n{len(counts) - _MOST_ROWS} more are in stats.json.\n" if len(counts) > _MOST_ROWS else ""
    return f"## {name[0].upper()}{name[1:]}\n\n| | |\n| --- | --- |\n{_rows(shown) or '| none | |'}\n{more}"


def _rows(values: dict[str, Any]) -> str:
    return "\n".join(f"| {_cell(name)} | {_cell(value)} |" for name, value in values.items())


def _cell(value: Any) -> str:
    """A value on one line of a Markdown table, with nothing in it that the table, or HTML, would read."""
    if isinstance(value, dict):
        return ", ".join(f"{_cell(key)} {_cell(each)}" for key, each in value.items()) or "none"
    if value is None:
        return "not known"
    if isinstance(value, float):
        return f"{value:.3g}" if math.isfinite(value) else "not finite"
    text = " ".join(str(value).split())[:300]
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;").replace("[", "&#91;")
