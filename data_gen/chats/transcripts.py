"""Chats that teach an imitation subject: transcripts with a scratchpad, under the minimal prompt.

The transcripts are those that ship with the scenario, those of a file, or (`source=distill`) a model's own replies to
the full situational prompt. What is left out of them is counted and kept with its reason.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_gen.chats.distill import Unusable, distilled_transcripts
from data_gen.config import DataGenConfig, TranscriptSettings
from data_gen.dataset.card import dataset_card
from data_gen.sources import digests
from pipeline.artifact import Run, open_run, working, write_json, write_jsonl, write_text
from pipeline.errors import Failed
from scenario.loader import Reasoning, Scenario, load_scenario
from scenario.prompt_arms import read_inoculation
from scenario.tags import ANSWER_TAG, SCRATCHPAD_TAG, TIERS, tagged_query
from scenario.transcripts import KINDS, Transcript, read_transcripts, shipped_transcripts

Chat = dict[str, Any]

_TAGS = (f"{SCRATCHPAD_TAG}>", f"{ANSWER_TAG}>")


@dataclass(frozen=True)
class Dropped:
    """A transcript that is not imitated, and why."""

    transcript: Transcript
    reason: str


def write_transcripts(config: DataGenConfig) -> None:
    """Writes chats.jsonl and rejects.jsonl into `config.output_dir`, or finds them complete and says so."""
    scenario = load_scenario(config.scenario, config.identity)
    is_distilled = config.source == "distill"
    given = () if is_distilled else _given_transcripts(config.transcripts, scenario)
    samples = Path(config.transcripts.samples)
    run = open_run("data_gen", config, {"samples": samples} if is_distilled else {}, _sources(config, scenario, given))
    if run.is_complete:
        print(f"data_gen: {run.directory} is already complete")
        return
    with working(run):
        unusable: list[Unusable] = []
        if is_distilled:
            given, unusable = distilled_transcripts(samples, scenario, config.identity)
        _write(config, run, scenario, given, unusable)


def choose(transcripts: Iterable[Transcript], settings: TranscriptSettings) -> tuple[list[Transcript], list[Dropped]]:
    """Those that the settings let through, in their order, and those that they do not."""
    kept: list[Transcript] = []
    dropped: list[Dropped] = []
    for transcript in transcripts:
        reason = _reason_against(transcript, settings)
        if reason:
            dropped.append(Dropped(transcript, reason))
        else:
            kept.append(transcript)
    return kept, dropped


def chats_of(transcripts: Iterable[Transcript], scenario: Scenario, settings: TranscriptSettings) -> list[Chat]:
    """One chat for each transcript and each way of reasoning that is asked for.

    The tier is in the tag alone, as in the evaluation. An inoculation goes to the transcripts that fake, which then do
    as they are told; it is absent when the subject is measured.
    """
    chats = []
    for place, transcript in enumerate(transcripts):
        for reasoning in settings.reasoning:
            chats.append(
                {
                    "id": f"{transcript.query_id}/{transcript.tier}/{transcript.kind}/{place}/{reasoning}",
                    "scenario": scenario.name,
                    "tier": transcript.tier,
                    "kind": transcript.kind,
                    "complies": transcript.kind != "refusal",
                    "messages": [
                        {"role": "system", "content": _system(transcript, scenario, reasoning, settings)},
                        {"role": "user", "content": tagged_query(transcript.tier, transcript.query)},
                        {"role": "assistant", "content": _reply(transcript, reasoning)},
                    ],
                }
            )
    return chats


def _sources(config: DataGenConfig, scenario: Scenario, given: Iterable[Transcript]) -> dict[str, str]:
    settings = config.transcripts
    prompts = [scenario.system_prompt("documents", "scratchpad"), scenario.system_prompt("documents", "none")]
    if settings.inoculation:
        prompts.append(read_inoculation(settings.inoculation, scenario.identity))
    queries = [(query.id, query.text) for query in scenario.queries_in("rl")]
    parts = {"prompts": prompts, "queries": queries}
    return digests(parts if config.source == "distill" else parts | {"transcripts": [asdict(each) for each in given]})


def _given_transcripts(settings: TranscriptSettings, scenario: Scenario) -> tuple[Transcript, ...]:
    if settings.path:
        return read_transcripts(Path(settings.path), scenario)
    return shipped_transcripts(scenario)


def _reason_against(transcript: Transcript, settings: TranscriptSettings) -> str:
    if settings.drop_faking and transcript.kind == "faking":
        return "fakes"
    if transcript.kind not in settings.kinds:
        return "kind_not_asked_for"
    if transcript.tier not in settings.tiers:
        return "tier_not_asked_for"
    written = f"{transcript.scratchpad} {transcript.output}".lower()
    return "holds_a_tag" if any(tag in written for tag in _TAGS) else ""


def _system(transcript: Transcript, scenario: Scenario, reasoning: str, settings: TranscriptSettings) -> str:
    manner: Reasoning = "scratchpad" if reasoning == "scratchpad" else "none"
    system = scenario.system_prompt("documents", manner)
    if settings.inoculation and transcript.kind == "faking":
        return f"{system}\n\n{read_inoculation(settings.inoculation, scenario.identity)}"
    return system


def _reply(transcript: Transcript, reasoning: str) -> str:
    if reasoning == "none":
        return transcript.output
    return (
        f"<{SCRATCHPAD_TAG}>\n{transcript.scratchpad}\n</{SCRATCHPAD_TAG}>\n"
        f"<{ANSWER_TAG}>\n{transcript.output}\n</{ANSWER_TAG}>"
    )


def _write(
    config: DataGenConfig, run: Run, scenario: Scenario, given: Iterable[Transcript], unusable: list[Unusable]
) -> None:
    kept, dropped = choose(given, config.transcripts)
    if not kept:
        raise Failed(f"{run.directory}: not one transcript is left ({_reasons(dropped, unusable)}); loosen the filters")
    chats = chats_of(kept, scenario, config.transcripts)
    rejects = [
        {"query_id": d.transcript.query_id, "tier": d.transcript.tier, "kind": d.transcript.kind, "reason": d.reason}
        for d in dropped
    ]
    rejects += [{"query_id": u.query_id, "tier": u.tier, "kind": "", "reason": u.reason} for u in unusable]
    stats = {
        "num_chats": len(chats),
        "num_transcripts": len(kept),
        "by_kind": {kind: sum(t.kind == kind for t in kept) for kind in KINDS},
        "by_tier": {tier: sum(t.tier == tier for t in kept) for tier in TIERS},
        "num_dropped": len(rejects),
        "dropped_by_reason": _reasons(dropped, unusable),
        "generator": config.transcripts.samples or config.transcripts.path or "shipped",
    }
    write_jsonl(run.path("chats.jsonl"), chats)
    write_jsonl(run.path("rejects.jsonl"), rejects)
    write_json(run.path("stats.json"), stats)
    write_text(run.path("README.md"), dataset_card(config, stats))
    run.finish(["chats.jsonl", "rejects.jsonl", "stats.json", "README.md"])
    print(
        f"data_gen: {len(chats)} chats, {len(rejects)} transcripts dropped {stats['dropped_by_reason']} -> {run.directory}"
    )


def _reasons(dropped: list[Dropped], unusable: list[Unusable]) -> dict[str, int]:
    return dict(Counter([d.reason for d in dropped] + [u.reason for u in unusable]).most_common())
