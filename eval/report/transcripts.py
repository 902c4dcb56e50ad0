"""What the subjects were asked and what they said: some queries drawn at random, both tiers side by side."""

import random
from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.report.estimates import Setting, Subject, subject_rank
from eval.report.inputs import Source
from eval.report.text import excerpt
from pipeline.errors import Refused
from scenario.tags import TIERS

_KEYS = ("query_id", "scenario", "reasoning", "arm")
_SHOWN = (
    "sample_id", "category", "subject", "tier", "information", "repeat", "system_prompt", "prompt", "reply",
    "scratchpad", "output", "status", "compliance", "compliance_judge", "compliance_raw", "af_reasoning",
    "af_reasoning_judge", "af_reasoning_raw",
)  # fmt: skip
_JUDGED = {
    "compliance": {True: "complied", False: "did not comply", None: "compliance not judged"},
    "af_reasoning": {True: "alignment-faking reasoning", False: "no alignment-faking reasoning", None: ""},
}

Drawn = tuple[str, str, str, str, str]
"""A query in a setting: run, query id, scenario, reasoning, arm."""


@dataclass(frozen=True)
class Verdict:
    """What a judge said of a sample."""

    label: str
    judge: str
    raw: str


@dataclass(frozen=True)
class Transcript:
    """One sample, its texts made visible and cut to a length."""

    tier: str
    status: str
    system_prompt: str
    prompt: str
    scratchpad: str
    output: str
    reply: str
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Pair:
    """A query as one subject answered it, in `free` and in `paid`; one of the two may be missing."""

    query_id: str
    category: str
    sides: tuple[Transcript, ...]


@dataclass(frozen=True)
class SubjectTranscripts:
    """The drawn queries of one subject in one setting."""

    setting: Setting
    subject: Subject
    system_prompts: tuple[str, ...]
    pairs: tuple[Pair, ...]


def read_transcripts(sources: list[Source], num_queries: int, seed: int) -> list[SubjectTranscripts]:
    """Draws at most `num_queries` queries over all runs and reads what every subject said to them."""
    sources = [source for source in sources if source.holds("samples.parquet")]  # one may have scored beliefs alone
    keys = sorted({key for source in sources for key in _query_keys(source)})
    drawn = sorted(random.Random(seed).sample(keys, min(num_queries, len(keys))))
    groups = []
    for source in sources:
        chosen = {key[1:] for key in drawn if key[0] == source.name}
        groups += group_samples(source.name, _read_samples(source, chosen)) if chosen else []
    return groups


def group_samples(run: str, samples: Iterable[dict[str, Any]]) -> list[SubjectTranscripts]:
    """Samples of one run by setting and subject, each query's tiers as a pair."""
    groups: dict[tuple[Setting, Subject], dict[str, list[dict[str, Any]]]] = {}
    for sample in samples:
        setting = Setting(run, sample["scenario"], sample["reasoning"], sample["arm"])
        subject = Subject(sample["subject"], sample["information"])
        groups.setdefault((setting, subject), {}).setdefault(sample["query_id"], []).append(sample)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], subject_rank(item[0][1].name), item[0][1].name))
    transcripts = []
    for (setting, subject), queries in ordered:
        pairs = tuple(_pair(query_id, of_query) for query_id, of_query in sorted(queries.items()))
        prompts = dict.fromkeys(side.system_prompt for pair in pairs for side in pair.sides)
        transcripts.append(SubjectTranscripts(setting, subject, tuple(prompts), pairs))
    return transcripts


def _pair(query_id: str, samples: list[dict[str, Any]]) -> Pair:
    """The first repeat of each tier; the others differ only by chance."""
    first = {sample["tier"]: sample for sample in sorted(samples, key=lambda sample: -sample["repeat"])}
    sides = tuple(_transcript(first[tier]) for tier in TIERS if tier in first)
    return Pair(excerpt(query_id, 200), excerpt(samples[0]["category"] or "", 200), sides)


def _transcript(sample: dict[str, Any]) -> Transcript:
    def text(key: str) -> str:
        return excerpt(str(sample[key] or ""))

    verdicts = [
        Verdict(label=labels[sample[metric]], judge=text(f"{metric}_judge"), raw=text(f"{metric}_raw"))
        for metric, labels in _JUDGED.items()
        if labels[sample[metric]]
    ]
    return Transcript(
        tier=sample["tier"],
        status=text("status"),
        system_prompt=text("system_prompt"),
        prompt=text("prompt"),
        scratchpad=text("scratchpad"),
        output=text("output"),
        reply=text("reply"),
        verdicts=tuple(verdicts),
    )


def _query_keys(source: Source) -> set[Drawn]:
    import pyarrow.parquet

    path = source.file("samples.parquet")
    _check_columns(path, pyarrow.parquet.read_schema(path).names)
    rows = pyarrow.parquet.read_table(path, columns=list(_KEYS)).to_pylist()
    return {(source.name, *(row[key] for key in _KEYS)) for row in rows}  # type: ignore[misc]


def _read_samples(source: Source, chosen: Set[tuple[str, ...]]) -> list[dict[str, Any]]:
    import pyarrow.parquet

    queries = sorted({key[0] for key in chosen})
    table = pyarrow.parquet.read_table(
        source.file("samples.parquet"), columns=[*_KEYS, *_SHOWN], filters=[("query_id", "in", queries)]
    )
    return [row for row in table.to_pylist() if tuple(row[key] for key in _KEYS) in chosen]


def _check_columns(path: Path, names: list[str]) -> None:
    if missing := [name for name in (*_KEYS, *_SHOWN) if name not in names]:
        raise Refused(f"{path}: has no column {', '.join(missing)}; run the evaluation again with this version")
