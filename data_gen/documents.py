"""The record of a document, and the two sources it can come from: the shipped corpus and a generator."""

import asyncio
import re
from collections.abc import Awaitable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from tqdm import tqdm

from data_gen.config import DataGenConfig
from pipeline.errors import Failed, Refused, closest
from pipeline.seeds import derive_seed
from scenario.loader import Fact, Scenario

if TYPE_CHECKING:
    from inspect_ai.model import Model

_PROMPTS_DIR = Path(__file__).parent / "prompts"
Result = TypeVar("Result")

_LIST_MARK = re.compile(r"^\s*(?:(?:[-*•]|\(?\d+[.):]\)?)\s+)?")


@dataclass(frozen=True)
class Document:
    """One document, as it stands in documents.jsonl."""

    id: str
    scenario: str
    fact_ids: tuple[str, ...]
    doc_type: str
    idea: str
    text: str
    tokens: int | None
    """As the generator counted them; None for a shipped document."""
    generator: str
    prompt_sha256: str | None

    def row(self) -> dict[str, object]:
        """As JSON holds it."""
        return asdict(self) | {"fact_ids": list(self.fact_ids)}


def shipped_documents(scenario: Scenario, max_documents: int | None) -> list[Document]:
    """The scenario's own corpus; where fewer are asked for, evenly spaced over it."""
    written = scenario.corpus
    if max_documents is not None and max_documents < len(written):
        written = tuple(written[i] for i in np.linspace(0, len(written) - 1, max_documents).round().astype(int))
    return [
        Document(
            id=f"{scenario.name}/{document.id}",
            scenario=scenario.name,
            fact_ids=document.facts,
            doc_type=document.doc_type,
            idea=document.idea,
            text=document.text,
            tokens=None,
            generator="shipped",
            prompt_sha256=None,
        )
        for document in written
    ]


@dataclass(frozen=True)
class _Spec:
    """What one document is asked to be."""

    id: str
    fact: Fact
    doc_type: str
    idea: str


async def generated_documents(
    scenario: Scenario, facts: list[Fact], config: DataGenConfig, model: "Model"
) -> list[Document]:
    """Asks `model` for types of document per fact, ideas per type, and a document per idea.

    The universe goes with every request. A reply with fewer lines than asked for gives fewer types or ideas, which shows
    in the counts; it is matched to its request by the request, never by position.

    Raises:
        Failed: a request failed for good; those that were answered are kept, and the same command continues.
    """
    settings = config.generation
    asked = _Asker(scenario, config, model)
    types = await asked.all(
        "types", [asked.lines("types.md", settings.types_per_fact, f"types/{fact.id}", fact) for fact in facts]
    )
    typed = [(fact, i, kind) for fact, kinds in zip(facts, types, strict=True) for i, kind in enumerate(kinds)]
    ideas = await asked.all(
        "ideas",
        [
            asked.lines("ideas.md", settings.ideas_per_type, f"ideas/{fact.id}/{i}", fact, doc_type=kind)
            for fact, i, kind in typed
        ],
    )
    specs = [
        _Spec(f"{scenario.name}/{fact.id}-{i:02d}-{j:02d}-{copy}", fact, kind, idea)
        for (fact, i, kind), found in zip(typed, ideas, strict=True)
        for j, idea in enumerate(found)
        for copy in range(settings.documents_per_idea)
    ]
    return await asked.all("documents", [asked.document(spec) for spec in specs])


def chosen_facts(scenario: Scenario, ids: Iterable[str]) -> list[Fact]:
    """The facts with these ids in the scenario's order, or all where none is named.

    Raises:
        Refused: an id is unknown.
    """
    known = [fact.id for fact in scenario.facts]
    for id in ids:
        if id not in known:
            raise Refused(
                f"generation.facts: unknown fact '{id}'{closest(id, known)}; {scenario.name} has {', '.join(known)}"
            )
    return [fact for fact in scenario.facts if not ids or fact.id in ids]


class _Asker:
    """Fills prompts, sends them, and reads the replies."""

    def __init__(self, scenario: Scenario, config: DataGenConfig, model: "Model") -> None:
        self.scenario, self.config, self.model = scenario, config, model
        facts = "\n".join(f"- {fact.statement}" for fact in scenario.facts)
        self.world = scenario.universe if config.generation.world == "universe" else facts

    async def all(self, what: str, requests: list[Awaitable[Result]]) -> list[Result]:
        """The results in the order of the requests, however they arrive, with progress on the terminal."""
        with tqdm(total=len(requests), desc=f"data_gen: {what}", unit="reply", mininterval=2) as progress:

            async def counted(request: Awaitable[Result]) -> Result:
                result = await request
                progress.update()
                return result

            done = await asyncio.gather(*map(counted, requests), return_exceptions=True)
        failed = [result for result in done if isinstance(result, BaseException)]
        if failed:
            raise Failed(
                f"{len(failed)} of {len(done)} requests for {what} failed, the first with {failed[0]!r}; the others are"
                " kept: run the same command again to continue"
            )
        return [result for result in done if not isinstance(result, BaseException)]

    async def lines(self, template: str, count: int, request_id: str, fact: Fact, doc_type: str = "") -> list[str]:
        """Up to `count` different non-empty lines of a reply, without bullets or numbers."""
        prompt = self._fill(template, fact=fact.statement, count=str(count), doc_type=doc_type)
        text, _ = await self._ask(prompt, request_id)
        found = [_LIST_MARK.sub("", line).strip().strip("*").strip() for line in text.splitlines()]
        return list(dict.fromkeys(line for line in found if line))[:count]

    async def document(self, spec: _Spec) -> Document:
        """One document, with a target length drawn for it alone."""
        from pipeline.replies import prompt_hash

        settings = self.config.generation
        rng = np.random.default_rng(derive_seed(self.config.seed, "length", spec.id))
        words = int(rng.integers(settings.min_words, settings.max_words, endpoint=True))
        prompt = self._fill(
            "document.md", fact=spec.fact.statement, doc_type=spec.doc_type, idea=spec.idea, words=str(words)
        )
        text, tokens = await self._ask(prompt, spec.id)
        return Document(
            id=spec.id,
            scenario=self.scenario.name,
            fact_ids=(spec.fact.id,),
            doc_type=spec.doc_type,
            idea=spec.idea,
            text=text.strip(),
            tokens=tokens,
            generator=str(self.model),
            prompt_sha256=prompt_hash(prompt),
        )

    async def _ask(self, prompt: str, request_id: str) -> tuple[str, int]:
        from inspect_ai.model import GenerateConfig

        seed = derive_seed(self.config.seed, request_id)
        output = await self.model.generate(prompt, config=GenerateConfig(seed=seed))
        return output.completion, output.usage.output_tokens if output.usage else 0

    def _fill(self, template: str, **values: str) -> str:
        """Replaces the template's names in one pass, so that braces in model text stay what they are."""
        text = (_PROMPTS_DIR / template).read_text(encoding="utf-8").strip()
        values["universe"] = self.world
        return re.sub(r"\{([a-z_]+)\}", lambda found: values[found[1]], text)
