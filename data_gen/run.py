"""The document stage: obtains documents, filters them, and writes what it kept and what it did not."""

import asyncio
import sys

from data_gen.card import dataset_card, document_stats
from data_gen.config import DataGenConfig
from data_gen.controls import control_chats
from data_gen.documents import Document, chosen_facts, generated_documents, shipped_documents
from data_gen.filters import filter_documents
from data_gen.transcripts import write_transcripts
from pipeline.artifact import Run, open_run, working, write_json, write_jsonl, write_text
from scenario.corrections import with_corrections
from scenario.loader import Scenario, load_scenario

_ALARMING_SURVIVAL = 0.9


def generate_data(config: DataGenConfig) -> None:
    """Writes the documents or chats into `config.output_dir`, or finds them complete and says so."""
    if config.source in ("transcripts", "distill"):
        write_transcripts(config)
        return
    scenario = load_scenario(config.scenario, config.identity)
    chats = control_chats(scenario, config.control) if config.source == "control_chats" else None
    run = open_run("data_gen", config, {})
    if run.is_complete:
        print(f"data_gen: {run.directory} is already complete")
        return
    with working(run):
        if chats is not None:
            _write_chats(config, run, chats)
        else:
            _write_documents(config, run, scenario)


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


def _write_documents(config: DataGenConfig, run: Run, scenario: Scenario) -> None:
    outputs = ["documents.jsonl", "rejects.jsonl", "stats.json", "README.md"]
    if config.source == "generate":
        documents = _generate(config, run, scenario)
        outputs.append("replies.jsonl")
    elif config.source == "corrections":
        documents = shipped_documents(with_corrections(scenario), config.max_documents)
    else:
        documents = shipped_documents(scenario, config.max_documents)
    kept, rejects = filter_documents(documents, scenario, config.filters)
    stats = document_stats(scenario, kept, rejects)
    write_jsonl(run.path("documents.jsonl"), [document.row() for document in kept])
    write_jsonl(run.path("rejects.jsonl"), [reject.row() for reject in rejects])
    write_json(run.path("stats.json"), stats)
    write_text(run.path("README.md"), dataset_card(config, stats))
    run.finish(outputs)
    print(
        f"data_gen: {len(kept)} documents kept, {len(rejects)} rejected {stats['rejected_by_reason']} -> {run.directory}"
    )
    if not documents:
        print("data_gen: WARNING: not one document was written; see replies.jsonl for what came back", file=sys.stderr)
    elif len(kept) < _ALARMING_SURVIVAL * len(documents):
        print(
            f"data_gen: WARNING: only {len(kept) / len(documents):.0%} of the documents passed the filters; see"
            f" {run.path('rejects.jsonl')}",
            file=sys.stderr,
        )


def _generate(config: DataGenConfig, run: Run, scenario: Scenario) -> list[Document]:
    from pipeline.chat import open_model
    from pipeline.replies import ReplyStore, remember

    facts = chosen_facts(scenario, config.generation.facts)
    generator = open_model(config.generator)
    store = ReplyStore(run.path("replies.jsonl"))
    model = remember(generator, store)
    documents = asyncio.run(generated_documents(scenario, facts, config, model))
    run.tokens_in, run.tokens_out = store.tokens_in, store.tokens_out
    return documents
