"""Shards of one corpus: which documents are whose, and how the finished shards become the corpus again.

Documents are merged before they are filtered, so that the whole is filtered exactly as it would have been had one run
written all of it: near duplicates are looked for across shards. A judge reads the documents of each shard there, and the
merge finds what it answered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_gen.config import DataGenConfig
from data_gen.documents import Document
from data_gen.generation.exchange import JUDGE_REPLIES_FILE, Exchange
from data_gen.generation.requests import Prompts
from data_gen.generation.specs import SPECS_FILE, Spec, read_specs
from data_gen.generation.writing import Writing
from pipeline.artifact import Run, RunRecord, flatten, read_run
from pipeline.errors import Failed, Refused
from pipeline.settings import result_settings
from scenario.loader import Scenario

if TYPE_CHECKING:
    from pipeline.replies import ReplyStore


def specs_of_shard(specs: Sequence[Spec], config: DataGenConfig) -> list[Spec]:
    """Every n-th spec from the i-th on."""
    place, num_shards = config.shard_place
    return list(specs[place::num_shards])


def merge_shards(
    config: DataGenConfig, run: Run, scenario: Scenario
) -> tuple[list[Spec], Iterator[Document], dict[str, Any]]:
    """All documents of the shards in `config.merge`, read one by one in the order of the specs, and what to tell of them.

    Tokens and cost of the shards become those of the run, what their judges took included.

    Raises:
        Refused: a shard is missing, stands twice, or was made with other settings or specs.
        Failed: a document is not there as it would be asked for now.
    """
    directories = [Path(directory) for directory in config.merge]
    records = [read_run(directory, "data_gen") for directory in directories]
    _refuse_differences(config, directories, records)
    places = [_shard_place(directory, record) for directory, record in zip(directories, records, strict=True)]
    total = places[0][1]
    if sorted(places) != [(place, total) for place in range(total)]:
        told = ", ".join(f"{place}/{of}" for place, of in sorted(places))
        raise Refused(f"merge: needs each shard from 0/{total} to {total - 1}/{total} once, these are {told}")
    specs = read_specs(directories[0])
    prompts = Prompts(scenario, replace(config, cache=True))  # the shards' replies are all that there is
    in_order = [directories[places.index((i, total))] for i in range(total)]
    writings = [Writing(prompts, Exchange(prompts.config, directory)) for directory in in_order]
    if num_missing := sum(not writings[n % total].is_written(spec) for n, spec in enumerate(specs)):
        raise Failed(
            f"{num_missing} of {len(specs)} documents are not in the shards as they would be asked for now: a text of the"
            " scenario or a prompt was changed after they were written"
        )
    run.tokens_in, run.tokens_out = sum(r.tokens_in for r in records), sum(r.tokens_out for r in records)
    costs = [record.cost for record in records]
    run.cost = None if None in costs else sum(cost for cost in costs if cost is not None)
    num_failures = sum(writing.exchange.store.num_failures for writing in writings)
    documents = (writings[n % total].written(spec) for n, spec in enumerate(specs))
    return specs, documents, {"num_failed_requests": num_failures}


def judged_in_shards(directories: Sequence[str]) -> "list[ReplyStore]":
    """What the shards' judges have answered: a document is not judged again where the shards are merged."""
    from pipeline.replies import ReplyStore

    return [ReplyStore(Path(directory) / JUDGE_REPLIES_FILE) for directory in directories]


def _shard_place(directory: Path, record: RunRecord) -> tuple[int, int]:
    place, _, total = record.config["shard"].partition("/")
    if SPECS_FILE not in record.outputs:
        raise Refused(f"merge: {directory} is not a run of source=generate")
    return int(place), int(total)


def _refuse_differences(config: DataGenConfig, directories: Sequence[Path], records: Sequence[RunRecord]) -> None:
    ours = flatten(result_settings(config))
    for directory, record in zip(directories, records, strict=True):
        theirs = flatten(record.config)
        changed = [
            key
            for key in sorted(ours.keys() | theirs.keys())
            if key not in ("shard", "merge") and ours.get(key) != theirs.get(key)
        ]
        if changed:
            told = ", ".join(f"{key}={theirs.get(key)} there and {ours.get(key)} now" for key in changed[:4])
            raise Refused(f"merge: {directory} was made with other settings ({told}); give the shards' own")
        if record.outputs.get(SPECS_FILE) != records[0].outputs.get(SPECS_FILE):
            raise Refused(f"merge: {directory} and {directories[0]} have different specs")
