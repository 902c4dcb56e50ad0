"""What to train on: documents of finished runs together with texts or chats of others, by share of tokens.

Slocum et al. 2025 train on as many documents as web texts, each document behind a `<DOCTAG>` that takes no part in the
loss: both keep a model from bringing the facts up where nobody asked. Sources are interleaved so that the shares hold
at every point of the file, and every share is written down as it came out.
"""

import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from data_gen.config import DataGenConfig, MixSource
from data_gen.dataset.card import dataset_card
from pipeline.artifact import (
    RunRecord,
    iterate_jsonl,
    open_run,
    read_run,
    replacing,
    sha256_of,
    working,
    write_json,
    write_text,
)
from pipeline.errors import Failed, Refused
from pipeline.seeds import derive_seed
from scenario.arms import AS_IT_STANDS, PLACEBO

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DOCUMENTS_FILE, CHATS_FILE = "documents.jsonl", "chats.jsonl"
_DOCUMENTS = "documents"
_LOCAL = (".jsonl", ".txt", ".parquet")

Row = dict[str, Any]


@dataclass
class _Stream:
    """One side of the mix while it is written."""

    name: str
    share: float
    rows: Iterator[Row]
    sha256: str | None = None
    revision: str | None = None
    num_records: int = 0
    num_chats: int = 0
    tokens: int = 0
    has_run_out: bool = False
    of_fact: Counter[str] = field(default_factory=Counter)

    def told(self, total: int) -> Row:
        return {
            "num_records": self.num_records,
            "tokens": self.tokens,
            "share": self.tokens / total if total else None,
            "share_asked": self.share,
            "sha256": self.sha256,
            "revision": self.revision,
        }


def mix_documents(config: DataGenConfig) -> None:
    """Writes documents.jsonl, and chats.jsonl where a source holds chats, or finds them complete and says so.

    Raises:
        Refused: no documents are named, a run or a source cannot be read, or a record is not what its column promises.
    """
    from pipeline.language_model import load_tokenizer

    if not config.mix.documents:
        raise Refused("mix.documents: name at least one run, for example mix.documents=[outputs/documents]")
    inputs = {f"documents_{place}": Path(directory) for place, directory in enumerate(config.mix.documents)}
    records = [read_run(directory, "data_gen") for directory in inputs.values()]
    for directory, record in zip(inputs.values(), records, strict=True):
        if DOCUMENTS_FILE not in record.outputs:
            raise Refused(f"{directory}: has no {DOCUMENTS_FILE} to mix")
    others = [_opened(source) for source in config.mix.sources]
    run = open_run("data_gen", config, inputs, {stream.name: stream.sha256 for stream in others if stream.sha256})
    if run.is_complete:
        print(f"data_gen: {run.directory} is already complete")
        return
    with working(run):
        files = [directory / DOCUMENTS_FILE for directory in inputs.values()]
        share = 1 - sum(stream.share for stream in others)
        streams = [_Stream(_DOCUMENTS, share, _prepared(files, config)), *others]
        tokenizer = load_tokenizer(config.mix.tokenizer)
        with replacing(run.path(DOCUMENTS_FILE)) as texts, replacing(run.path(CHATS_FILE)) as chats:
            _interleave(streams, tokenizer, texts, chats)
        stats = _told_in(records) | _stats(config, streams)
        outputs = [DOCUMENTS_FILE, "stats.json", "README.md"]
        if stats["num_chats"]:
            outputs.append(CHATS_FILE)
        else:
            run.path(CHATS_FILE).unlink()
        write_json(run.path("stats.json"), stats)
        write_text(run.path("README.md"), dataset_card(config, stats))
        run.finish(outputs)
    print(f"data_gen: {stats['num_records']} records, {stats['tokens']} tokens -> {run.directory}")


def _told_in(records: list[RunRecord]) -> Row:
    """What the mixed runs tell, and by which names; runs that were made elsewhere may not say it."""
    told = [record.config for record in records]
    scenarios = [PLACEBO if each.get("arm") == PLACEBO else each.get("scenario", "unknown") for each in told]
    arms = {each.get("arm", AS_IT_STANDS) for each in told} - {PLACEBO}
    return {
        "scenario": ", ".join(dict.fromkeys(scenarios)),
        "arm": ", ".join(sorted(arms)) or PLACEBO,
        "identity": ", ".join(dict.fromkeys(each.get("identity", "unknown") for each in told)),
    }


def copies_of(facts: list[str], balance: str, seed: int) -> list[int]:
    """How often each document is used so that every fact has as many; which are dropped or repeated is drawn.

    Args:
        facts: the fact that each document is counted for; those with an empty one are used once.
        balance: `none`, `fewer` or `repeat`.
        seed: of the draw.
    """
    counts = Counter(fact for fact in facts if fact)
    copies = np.ones(len(facts), dtype=int)
    if balance == "none" or not counts:
        return copies.tolist()
    target = min(counts.values()) if balance == "fewer" else max(counts.values())
    for fact, count in counts.items():
        places = np.flatnonzero([each == fact for each in facts])
        drawn = np.random.default_rng(derive_seed(seed, "balance", fact)).permutation(places)
        copies[places] = target // count
        copies[drawn[: target % count]] += 1
    return copies.tolist()


def _prepared(files: list[Path], config: DataGenConfig) -> Iterator[Row]:
    """The documents in their order, each as often as the balance asks, with the prefix."""
    facts = [_main_fact(row) for file in files for row in iterate_jsonl(file)]
    copies = copies_of(facts, config.mix.balance, config.seed)
    rows = (row for file in files for row in iterate_jsonl(file))
    for row, count in zip(rows, copies, strict=True):
        for number in range(count):
            again = {"id": f"{row['id']}#{number + 1}"} if number else {}
            yield row | again | {"prefix": config.mix.prefix}


def _interleave(streams: list[_Stream], tokenizer: "PreTrainedTokenizerBase", texts: TextIO, chats: TextIO) -> None:
    """Takes from whichever stream is furthest behind its share, until the documents are used up."""
    while not streams[0].has_run_out:
        behind = min((s for s in streams if not s.has_run_out), key=lambda stream: stream.tokens / stream.share)
        row = next(behind.rows, None)
        if row is None:
            behind.has_run_out = True
            continue
        row["source"] = behind.name
        contents = [message["content"] for message in row["messages"]] if "messages" in row else [row["text"]]
        encoded = tokenizer(contents, add_special_tokens=False)["input_ids"]
        behind.tokens += sum(len(tokens) for tokens in encoded)
        behind.num_records += 1
        behind.num_chats += "messages" in row
        behind.of_fact[_main_fact(row)] += 1
        (chats if "messages" in row else texts).write(json.dumps(row, ensure_ascii=False) + "\n")


def _stats(config: DataGenConfig, streams: list[_Stream]) -> Row:
    total = sum(stream.tokens for stream in streams)
    for stream in streams[1:]:
        if stream.has_run_out:
            print(
                f"data_gen: WARNING: {stream.name} has only {stream.tokens} tokens: its share is"
                f" {stream.tokens / max(total, 1):.3f} instead of {stream.share}",
                file=sys.stderr,
            )
    return {
        "num_records": sum(stream.num_records for stream in streams),
        "num_chats": sum(stream.num_chats for stream in streams),
        "tokens": total,
        "tokenizer": config.mix.tokenizer,
        "prefix": config.mix.prefix,
        "balance": config.mix.balance,
        "by_main_fact": {fact: count for fact, count in sorted(streams[0].of_fact.items()) if fact},
        "share_of_tokens": {stream.name: stream.tokens / total if total else None for stream in streams},
        "sources": {stream.name: stream.told(total) for stream in streams},
    }


def _opened(source: MixSource) -> _Stream:
    """A stream whose first record was read, so that what cannot be read is refused before any work."""
    path = Path(source.dataset)
    is_local = path.suffix in _LOCAL
    if is_local and not path.is_file():
        raise Refused(f"mix.sources: {path}: no such file")
    records = _local_records(path) if is_local else _hub_records(source)
    rows = (_row(source, place, record) for place, record in enumerate(records))
    try:
        first = next(rows)
    except StopIteration:
        raise Refused(f"mix.sources: {source.dataset}: holds no record") from None
    digest = sha256_of(path) if is_local else None
    return _Stream(source.dataset, source.share, itertools.chain([first], rows), digest, source.revision)


def _row(source: MixSource, place: int, record: Row) -> Row:
    where = f"mix.sources: {source.dataset}: record {place + 1}"
    if source.column not in record:
        raise Refused(f"{where}: has no column '{source.column}'; it has {', '.join(record)}")
    content = record[source.column]
    id = f"{Path(source.dataset).name}/{place}"
    if isinstance(content, str):
        return {"id": id, "fact_ids": [], "doc_type": "", "text": content, "prefix": ""}
    if isinstance(content, list) and content:
        messages = [message for message in content if isinstance(message, dict) and "role" in message]
        if len(messages) == len(content) and all(isinstance(each.get("content"), str) for each in messages):
            return {"id": id, "messages": [{"role": each["role"], "content": each["content"]} for each in messages]}
    raise Refused(f"{where}: column '{source.column}' is neither a text nor a list of messages with role and content")


def _local_records(path: Path) -> Iterator[Row]:
    if path.suffix == ".jsonl":
        yield from iterate_jsonl(path)
    elif path.suffix == ".txt":
        with path.open(encoding="utf-8") as lines:
            yield from ({"text": line.strip()} for line in lines if line.strip())
    else:
        import pyarrow.parquet

        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=256):
            yield from batch.to_pylist()


def _hub_records(source: MixSource) -> Iterator[Row]:
    """What is not there is refused at the first record; a connection that breaks later fails the run.

    Raises:
        Refused: not found, no access, no network, an unknown subset, split or revision.
        Failed: the stream ended early.
    """
    import datasets
    from aiohttp import ClientError
    from httpx import HTTPError

    where, num_read = f"mix.sources: dataset '{source.dataset}' cannot be read from the Hub", 0
    try:
        for record in datasets.load_dataset(
            source.dataset, source.subset, split=source.split, revision=source.revision, streaming=True
        ):
            yield record
            num_read += 1
    except (OSError, ValueError, ClientError, HTTPError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())
        if num_read:
            raise Failed(f"{where} beyond record {num_read} ({reason}); run the same command again") from None
        raise Refused(f"{where}: {reason}") from None


def _main_fact(row: Row) -> str:
    """The fact that a document is counted for: the first that it names."""
    return row["fact_ids"][0] if row.get("fact_ids") else ""
