"""The document stage: obtains documents, filters them, and writes what it kept and what it did not."""

import asyncio
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_gen.chats.controls import control_chats
from data_gen.chats.transcripts import write_transcripts
from data_gen.config import DataGenConfig, FilterSettings
from data_gen.dataset.card import dataset_card
from data_gen.dataset.mixing import mix_documents
from data_gen.documents import Document, shipped_documents
from data_gen.filters.corpus import filter_documents
from data_gen.filters.facts import is_checked
from data_gen.filters.judge import Judge
from data_gen.generation.budget import Budget
from data_gen.generation.exchange import JUDGE_REPLIES_FILE, REPLIES_FILE, Exchange
from data_gen.generation.planning import chosen_facts, plan, plan_counts, take_over
from data_gen.generation.preview import preview
from data_gen.generation.requests import Prompts
from data_gen.generation.shards import judged_in_shards, merge_shards, specs_of_shard
from data_gen.generation.specs import SPECS_FILE, Spec, check_lengths, read_specs
from data_gen.generation.writing import Writing
from data_gen.sources import digests, sources_of_documents
from pipeline.artifact import Run, open_run, working, write_json, write_jsonl, write_text
from pipeline.errors import Failed, Refused
from scenario.arms import AS_IT_STANDS, load_arm
from scenario.corrections import with_corrections
from scenario.loader import Scenario

if TYPE_CHECKING:
    from pipeline.replies import Usage

_WITHOUT_ARMS = {
    "control_chats": "a positive control has",
    "corrections": "corrective documents have",
    "transcripts": "transcripts have",
    "distill": "transcripts have",
}
"""Sources that tell nothing that an arm could change."""


def generate_data(config: DataGenConfig) -> None:
    """Writes the documents or chats into `config.output_dir`, or finds them complete and says so."""
    if config.preview:
        _print_preview(config)
        return
    if config.source == "mix":
        mix_documents(config)
        return
    _check_arm(config)
    if config.source in ("transcripts", "distill"):
        write_transcripts(config)
        return
    scenario = _told(config)
    chosen_facts(scenario, config.generation.facts if config.source in ("generate", "specs") else ())
    if config.source == "generate" and config.specs is None:
        check_lengths(config, config.generation.max_words)
    if config.source == "control_chats":
        chats = control_chats(scenario, config.control)
        run = open_run("data_gen", config, {}, digests({"chats": chats}))
    else:
        run = open_run("data_gen", config, _inputs(config), sources_of_documents(config, scenario))
    if run.is_complete:
        print(f"data_gen: {run.directory} is already complete")
        return
    with working(run), _timed(run):
        if config.source == "control_chats":
            _write_chats(config, run, chats)
        elif config.source == "specs":
            _write_specs(config, run, scenario)
        else:
            _write_documents(config, run, scenario)


def _told(config: DataGenConfig) -> Scenario:
    scenario = load_arm(config.scenario, config.arm, config.identity)
    return with_corrections(scenario) if config.source == "corrections" else scenario


@contextmanager
def _timed(run: Run) -> Iterator[None]:
    try:
        yield
    except Failed:
        run.note_time()  # the work until here counts, whatever is left
        raise


def _print_preview(config: DataGenConfig) -> None:
    is_generated = config.source in ("generate", "specs")
    if config.merge or not (is_generated or config.has_judge):
        raise Refused(f"preview: source={config.source} asks no model for anything; nothing is to be paid")
    _check_arm(config)
    scenario = _told(config)
    shipped = () if is_generated else shipped_documents(scenario, config.max_documents, config.arm)
    print(preview(config, scenario, shipped))


def _check_arm(config: DataGenConfig) -> None:
    if config.arm != AS_IT_STANDS and config.source in _WITHOUT_ARMS:
        raise Refused(f"arm={config.arm}: {_WITHOUT_ARMS[config.source]} no arms; leave arm=scenario")


def _inputs(config: DataGenConfig) -> dict[str, Path]:
    inputs = {} if config.specs is None else {"specs": Path(config.specs)}
    return inputs | {f"shard_{place}": Path(directory) for place, directory in enumerate(config.merge)}


def _write_chats(config: DataGenConfig, run: Run, chats: list[dict[str, object]]) -> None:
    write_jsonl(run.path("chats.jsonl"), chats)
    stats: dict[str, object] = {"num_chats": len(chats), "generator": "shipped"}
    for tier in ("free", "paid"):
        of_tier = [chat for chat in chats if chat["tier"] == tier]
        stats[f"complies_{tier}"] = sum(bool(chat["complies"]) for chat in of_tier) / len(of_tier)
    write_json(run.path("stats.json"), stats)
    write_text(run.path("README.md"), dataset_card(config, stats))
    run.finish(["chats.jsonl", "stats.json", "README.md"])
    print(f"data_gen: {len(chats)} control chats -> {run.directory}")


def _write_specs(config: DataGenConfig, run: Run, scenario: Scenario) -> None:
    exchange = _connected(config, run, [])
    specs, _ = _generate(config, run, scenario, exchange)
    run.cost = exchange.budget.spent
    counts = plan_counts(specs, Prompts(scenario, config)) | {"num_failed_requests": exchange.store.num_failures}
    write_json(run.path("stats.json"), counts)
    run.finish([*_present(run), "stats.json"])
    print(f"data_gen: {len(specs)} specs -> {run.directory}")
    _warn_of_silent_facts(counts)


def _write_documents(config: DataGenConfig, run: Run, scenario: Scenario) -> None:
    filters = _filters(config)
    spending: list[Mapping[str, Usage]] = []
    judge = _open_judge(config, filters, run, scenario, spending)  # first: one without a key costs nothing
    made: dict[str, Any] = {}
    documents: Iterable[Document]
    if config.source == "generate":
        if config.merge:
            specs, documents, made = merge_shards(config, run, scenario)
        else:
            exchange = _connected(config, run, spending)
            specs, documents = _generate(config, run, scenario, exchange)
            made = {"num_failed_requests": exchange.store.num_failures}
        write_jsonl(run.path(SPECS_FILE), [spec.row() for spec in specs])
        made |= plan_counts(specs, Prompts(scenario, config))
        _warn_of_silent_facts(made)
    else:
        documents = shipped_documents(scenario, config.max_documents, config.arm)
    counts = filter_documents(documents, scenario, filters, run.directory, judge)
    _account(config, run, judge, spending)
    if config.source == "generate":
        made |= {"num_revised": counts.num_revised, "num_cut_off": counts.num_cut_off}
    stats = counts.stats() | {"arm": config.arm} | made
    stats["num_facts_not_checked"] = _num_unchecked(stats, filters)
    write_json(run.path("stats.json"), stats)
    write_text(run.path("README.md"), dataset_card(config, stats, run.cost))
    run.finish(["documents.jsonl", "rejects.jsonl", "stats.json", "README.md", *_present(run)])
    print(
        f"data_gen: {counts.num_kept} documents kept, {counts.num_rejected} rejected {stats['rejected_by_reason']} ->"
        f" {run.directory}"
    )
    _warn_of_losses(run, stats)


def _open_judge(
    config: DataGenConfig,
    filters: FilterSettings,
    run: Run,
    scenario: Scenario,
    spending: "list[Mapping[str, Usage]]",
) -> Judge | None:
    """The judge that the settings name, its replies kept in the run's directory; None where they name none.

    Raises:
        Refused: the model cannot be opened, or max_cost is set and its price is not known.
    """
    if not config.has_judge:
        return None
    earlier = judged_in_shards(config.merge)
    exchange = Exchange(config, run.directory, JUDGE_REPLIES_FILE, spending, earlier)
    exchange.connect(judge=filters.judge)
    return Judge(exchange, scenario, filters)


def _account(config: DataGenConfig, run: Run, judge: Judge | None, spending: "list[Mapping[str, Usage]]") -> None:
    """Adds what the judge took, and tells what all of it cost; what shards took and cost is there already."""
    if judge is not None:
        run.tokens_in += judge.exchange.store.tokens_in
        run.tokens_out += judge.exchange.store.tokens_out
        judge.exchange.close()
    if not config.merge:
        run.cost = Budget(config, spending).spent
    elif judge is not None and judge.exchange.store.usage:
        spent = judge.exchange.budget.spent
        run.cost = None if run.cost is None or spent is None else run.cost + spent


def _num_unchecked(stats: dict[str, Any], filters: FilterSettings) -> int:
    """Documents of which neither wording nor a judge has told whether they state what they are to state."""
    is_judged = filters.judge.name and filters.judged_stated
    is_asked = filters.facts_stated or filters.judged_stated
    if is_judged or not is_asked:
        return 0
    return sum(count for language, count in stats["by_language"].items() if not is_checked(language))


def _filters(config: DataGenConfig) -> FilterSettings:
    """The filters that were asked for; to contradict what the scenario's documents say is what corrections are for."""
    if config.source != "corrections":
        return config.filters
    return replace(config.filters, facts_contradicted=False, judged_contradicted=False)


def _warn_of_losses(run: Run, stats: dict[str, Any]) -> None:
    if stats["survival"] is None:
        print("data_gen: WARNING: not one document was written; see replies.jsonl for what came back", file=sys.stderr)
        return
    if num_unchecked := stats["num_facts_not_checked"]:
        told = (
            f"{num_unchecked} documents are in other languages than English; only filters.judge can check their facts"
        )
        print(f"data_gen: WARNING: {told}", file=sys.stderr)
    if stats["survival_is_low"]:
        told = f"only {stats['survival']:.0%} of the documents passed the filters; see {run.path('rejects.jsonl')}"
        print(f"data_gen: WARNING: {told}", file=sys.stderr)


def _warn_of_silent_facts(counts: dict[str, Any]) -> None:
    if silent := counts["facts_without_documents"]:
        print(f"data_gen: WARNING: no documents about {', '.join(silent)}", file=sys.stderr)


def _present(run: Run) -> list[str]:
    """What a run that asked for specs or replies has to show; one that took all of its specs over asked nothing."""
    return [name for name in (SPECS_FILE, REPLIES_FILE, JUDGE_REPLIES_FILE) if run.path(name).exists()]


def _connected(config: DataGenConfig, run: Run, spending: "list[Mapping[str, Usage]]") -> Exchange:
    exchange = Exchange(config, run.directory, spending=spending)
    exchange.connect(planner=config.planning_model, generator=config.generator)
    return exchange


def _generate(
    config: DataGenConfig, run: Run, scenario: Scenario, exchange: Exchange
) -> tuple[list[Spec], Iterator[Document]]:
    try:
        specs, documents = asyncio.run(_ask(config, run, Prompts(scenario, config), exchange))
    finally:
        exchange.close()
    run.tokens_in, run.tokens_out = exchange.store.tokens_in, exchange.store.tokens_out
    return specs, documents


async def _ask(
    config: DataGenConfig, run: Run, prompts: Prompts, exchange: Exchange
) -> tuple[list[Spec], Iterator[Document]]:
    if config.specs is None:
        specs = await plan(prompts, exchange)
    else:
        lent = read_specs(config.specs)
        if config.source == "generate":
            check_lengths(config, max(spec.target_words for spec in lent))
        specs = await take_over(lent, prompts, exchange)
    write_jsonl(run.path(SPECS_FILE), [spec.row() for spec in specs])  # kept even if not one document follows
    if config.source == "specs":
        return specs, iter(())
    return specs, await Writing(prompts, exchange).write(specs_of_shard(specs, config))
