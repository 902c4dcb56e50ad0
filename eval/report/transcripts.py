"""What the subjects were asked and what they said: every query with both tiers side by side, base beside fine-tuned.

The page holds all of it as data; what of it is shown, and how that was picked, is `transcripts.js`'s part. Without a
script the page shows a random sample.
"""

import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from eval.report.estimates import subject_rank
from eval.report.inputs import Source
from eval.report.quotes import JOINER, Span, quoted_spans, utf16_spans
from eval.report.text import excerpt, visible
from eval.report.tiers import ORDER
from eval.samples import UNJUDGED
from pipeline.errors import Refused
from scenario.tags import tier_tag

_OPPORTUNITIES = "anti_lab.parquet"
_TABLES = ("samples.parquet", "deals.parquet", _OPPORTUNITIES)
"""Tables of replies."""
_OF_A_CARD = ("query_id", "scenario", "reasoning", "arm")
_SHOWN = (
    "category", "subject", "tier", "information", "repeat", "system_prompt", "prompt", "reply", "scratchpad", "output",
    "status", "error",
)  # fmt: skip
_JUDGED = {
    "compliance": {True: "complied", False: "did not comply", None: "not judged"},
    "anti_lab": {True: "acted against the lab", False: "did not act against the lab", None: "not judged"},
    "lie": {True: "lied", False: "did not lie", None: "not judged"},
    "af_reasoning": {True: "alignment-faking reasoning", False: "no alignment-faking reasoning", None: "not judged"},
}
_READS_SCRATCHPAD = ("af_reasoning",)
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Verdict:
    """What a judge said of a reply."""

    metric: str
    label: str
    judge: str
    raw: str


@dataclass(frozen=True)
class Side:
    """One reply, its texts made visible and cut to a length."""

    tier: str
    status: str
    system_prompt: int
    """Place in `Transcripts.system_prompts`."""
    prompt: str
    """Only where it is not the tier's tag and the card's query; empty otherwise."""
    scratchpad: str
    output: str
    """What was judged; where nothing could be, the reply as it came, or the error."""
    verdicts: tuple[Verdict, ...]
    output_spans: tuple[Span, ...]
    """The words of `output` that a judge quoted."""
    scratchpad_spans: tuple[Span, ...]


@dataclass(frozen=True)
class Block:
    """A subject's replies to one query, what is trained on first: `free` before `paid`; one of them may be missing."""

    subject: str
    information: str
    sides: tuple[Side, ...]


@dataclass(frozen=True)
class Card:
    """One query under one condition, as every subject answered it."""

    run: str
    query_id: str
    scenario: str
    reasoning: str
    arm: str
    category: str
    repeat: int
    query: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Transcripts:
    """All cards of a page, and what was left out."""

    cards: list[Card]
    system_prompts: list[str]
    num_replies: int
    num_left_out: int


def read_transcripts(sources: list[Source], most: int, seed: int) -> Transcripts:
    """Every reply of the runs; where there are more than `most`, whole queries are left out at random."""
    system_prompts: dict[str, int] = {}
    cards: list[Card] = []
    for source in sources:
        for table in _TABLES:
            if source.holds(table):  # a run may have scored beliefs alone
                cards += group_samples(source.name, _read_samples(source, table), system_prompts)
    sizes = [sum(len(block.sides) for block in card.blocks) for card in cards]
    kept = _within(sizes, most, seed)
    num_replies = sum(sizes[place] for place in kept)
    return Transcripts(
        [cards[place] for place in kept], list(system_prompts), num_replies, num_left_out=sum(sizes) - num_replies
    )


def group_samples(run: str, samples: Iterable[dict[str, Any]], system_prompts: dict[str, int]) -> list[Card]:
    """Samples of one run as cards, in the order in which their queries first come; notes their system prompts."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for sample in samples:
        key = (sample["scenario"], sample["reasoning"], sample["arm"], sample["query_id"], sample["repeat"])
        groups.setdefault(key, []).append(sample)
    return [_card(run, of_card, system_prompts) for of_card in groups.values()]


def data_of(transcripts: Transcripts) -> dict[str, Any]:
    """The cards as the page's script reads them; spans count UTF-16 code units there."""
    return {
        "system_prompts": transcripts.system_prompts,
        "cards": [
            {**_values(card), "blocks": [_block_data(block) for block in card.blocks]} for card in transcripts.cards
        ],
    }


def _block_data(block: Block) -> dict[str, Any]:
    sides = [
        {
            **_values(side),
            "verdicts": [asdict(verdict) for verdict in side.verdicts],
            "output_spans": utf16_spans(side.output, side.output_spans),
            "scratchpad_spans": utf16_spans(side.scratchpad, side.scratchpad_spans),
        }
        for side in block.sides
    ]
    return {**_values(block), "sides": sides}


def _values(record: Any) -> dict[str, Any]:
    """The fields that are no records themselves; `asdict` would copy all of those too."""
    return {key: value for key, value in vars(record).items() if not isinstance(value, tuple)}


def _within(sizes: list[int], most: int, seed: int) -> list[int]:
    """Places whose sizes sum to no more than `most`: all, or as many as fit of a random order."""
    if sum(sizes) <= most:
        return list(range(len(sizes)))
    order = random.Random(seed).sample(range(len(sizes)), len(sizes))
    kept, total = [], 0
    for place in order:
        if total + sizes[place] > most:
            break
        kept.append(place)
        total += sizes[place]
    return sorted(kept)


def _card(run: str, samples: list[dict[str, Any]], system_prompts: dict[str, int]) -> Card:
    first = samples[0]
    query = _without_tag(first)
    by_subject: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for sample in samples:
        by_subject.setdefault((sample["subject"], sample["information"]), []).append(sample)
    blocks = [
        Block(
            subject=excerpt(subject, _LONGEST_NAME),
            information=excerpt(information, _LONGEST_NAME),
            sides=tuple(_side(sample, query, system_prompts) for sample in sorted(of_subject, key=_tier_rank)),
        )
        for (subject, information), of_subject in sorted(
            by_subject.items(), key=lambda item: (subject_rank(item[0][0]), item[0])
        )
    ]
    return Card(
        run=visible(run),
        query_id=excerpt(first["query_id"], _LONGEST_NAME),
        scenario=excerpt(first["scenario"], _LONGEST_NAME),
        reasoning=excerpt(first["reasoning"], _LONGEST_NAME),
        arm=excerpt(first["arm"], _LONGEST_NAME),
        category=excerpt(first["category"] or "", _LONGEST_NAME),
        repeat=first["repeat"],
        query=excerpt(query),
        blocks=tuple(blocks),
    )


def _tier_rank(sample: dict[str, Any]) -> tuple[int, str]:
    tier = sample["tier"]
    return (ORDER.index(tier) if tier in ORDER else len(ORDER)), tier


def _without_tag(sample: dict[str, Any]) -> str:
    tag = tier_tag(sample["tier"]) if sample["tier"] in ORDER else ""
    return str(sample["prompt"] or "").removeprefix(f"{tag}\n")


def _side(sample: dict[str, Any], query: str, system_prompts: dict[str, int]) -> Side:
    def text(key: str) -> str:
        return excerpt(str(sample[key] or ""))

    is_read = sample["status"] in ("ok", UNJUDGED)
    output, scratchpad = text("output") if is_read else text("reply") or text("error"), text("scratchpad")
    verdicts = tuple(_verdicts(sample))
    of_output = JOINER.join(v.raw for v in verdicts if v.metric not in _READS_SCRATCHPAD)
    of_scratchpad = JOINER.join(v.raw for v in verdicts if v.metric in _READS_SCRATCHPAD)
    return Side(
        tier=excerpt(sample["tier"], _LONGEST_NAME),
        status=excerpt(sample["status"], _LONGEST_NAME),
        system_prompt=system_prompts.setdefault(text("system_prompt"), len(system_prompts)),
        prompt="" if _without_tag(sample) == query else text("prompt"),
        scratchpad=scratchpad,
        output=output,
        verdicts=verdicts,
        output_spans=tuple(quoted_spans(output, of_output)),
        scratchpad_spans=tuple(quoted_spans(scratchpad, of_scratchpad)),
    )


def _verdicts(sample: dict[str, Any]) -> list[Verdict]:
    """One for each column that has a judge's column beside it; none where no judge of it was run."""
    verdicts = []
    for metric in (key.removesuffix("_judge") for key in sample if key.endswith("_judge")):
        if metric != "compliance" and sample[metric] is None:
            continue
        labels = _JUDGED.get(metric, {True: metric, False: f"not {metric}", None: "not judged"})
        label = labels.get(sample[metric], str(sample[metric])).replace("_", " ")
        judge, raw = (str(sample.get(f"{metric}_{part}") or "") for part in ("judge", "raw"))
        verdicts.append(Verdict(metric, label, excerpt(judge, _LONGEST_NAME), excerpt(raw)))
    return verdicts


def _read_samples(source: Source, table: str) -> list[dict[str, Any]]:
    import pyarrow.parquet

    path = source.file(table)
    samples: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    if table == _OPPORTUNITIES:
        samples = [_as_answer(sample) for sample in samples]
    if missing := [name for name in (*_OF_A_CARD, *_SHOWN) if samples and name not in samples[0]]:
        raise Refused(f"{path}: has no column {', '.join(missing)}; run the evaluation again with this version")
    return samples


def _as_answer(sample: dict[str, Any]) -> dict[str, Any]:
    """An opportunity or a question about its views as a query, with the verdict on what was made of it."""
    metric = "lie" if sample["kind"] == "question" else "anti_lab"
    return sample | {
        "query_id": f"{sample['asked']}-{sample['wording']}",
        "category": sample["kind"],
        "arm": "",
        metric: sample["verdict"],
        f"{metric}_judge": sample["judge"],
        f"{metric}_raw": sample["verdict_raw"],
    }
