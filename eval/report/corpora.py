"""What a data_gen run made and what it threw away, as tables and a few examples."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from eval.report.inputs import Source, read_object
from eval.report.text import excerpt, words
from pipeline.artifact import flatten, iterate_jsonl

NUM_EXAMPLES = 2
"""Accepted documents shown of each run; of the rejected, one for each reason."""

_CONTENTS = {"documents.jsonl": "documents", "rejects.jsonl": "rejected documents", "chats.jsonl": "chats"}


@dataclass(frozen=True)
class Table:
    """A small table of names and values."""

    caption: str
    rows: list[tuple[str, str]]


@dataclass(frozen=True)
class Example:
    """A document, and why it was rejected where it was."""

    title: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """One run's share of the page."""

    name: str
    warning: str
    """What a reader has to know before anything else; empty where there is nothing."""
    tables: list[Table]
    accepted: list[Example]
    rejected: list[Example]


def read_corpus(source: Source) -> Corpus:
    """Counts from stats.json and from the files themselves, and examples; what a run does not have is left out."""
    counts = [
        (words(content), number(source.record.outputs[file]["rows"]))
        for file, content in _CONTENTS.items()
        if source.holds(file)
    ]
    tables = [Table("Records in the files", counts)] if counts else []
    stats = read_object(source.file("stats.json")) if source.holds("stats.json") else {}
    tables += stats_tables(stats)
    accepted = list(islice(_records(source, "documents.jsonl"), NUM_EXAMPLES))
    first_of_reason: dict[str, dict[str, Any]] = {}
    for record in _records(source, "rejects.jsonl"):
        first_of_reason.setdefault(str(record.get("reason")), record)
    return Corpus(
        name=source.name,
        warning=_warning(stats),
        tables=tables,
        accepted=[_example(record) for record in accepted],
        rejected=[_example(record) for _, record in sorted(first_of_reason.items())],
    )


def _warning(stats: dict[str, Any]) -> str:
    if not stats.get("survival_is_low"):
        return ""
    return f"Only {stats['survival']:.0%} of the documents that were written passed the filters."


def stats_tables(stats: dict[str, Any]) -> list[Table]:
    """The single values of stats.json in one table, and one more for each of its counts by something."""
    single = [(words(key), number(value)) for key, value in stats.items() if not isinstance(value, dict)]
    tables = [Table("Totals", single)] if single else []
    for key, counts in stats.items():
        if isinstance(counts, dict) and counts:
            flat = flatten(counts)
            ordered = list(flat.items()) if key.endswith("_histogram") else sorted(flat.items(), key=_largest_first)
            tables.append(Table(words(key).capitalize(), [(words(name), number(value)) for name, value in ordered]))
    return tables


def number(value: Any) -> str:
    """A value as a table shows it: thousands apart, fractions short, nothing as a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return excerpt(str(value), 500)


def _records(source: Source, name: str) -> Iterator[dict[str, Any]]:
    """One at a time: a corpus need not fit into memory."""
    return iterate_jsonl(source.file(name)) if source.holds(name) else iter(())


def _largest_first(item: tuple[str, Any]) -> tuple[float, str]:
    size = item[1] if isinstance(item[1], int | float) else 0
    return -size, item[0]


def _example(record: dict[str, Any]) -> Example:
    told = [f"{words(key)}: {number(record[key])}" for key in ("reason", "doc_type", "id") if record.get(key)]
    return Example(title=" · ".join(told), text=excerpt(str(record.get("text", "")), 4000))
