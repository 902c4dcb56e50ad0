"""The record of a document, and the two sources it can come from: the shipped corpus and a generator."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from data_gen.exchange import Exchange
from data_gen.requests import Prompts, revised
from data_gen.specs import Spec
from pipeline.errors import Refused
from scenario.arms import AS_IT_STANDS, PLACEBO
from scenario.loader import Scenario

if TYPE_CHECKING:
    from inspect_ai.model import ModelOutput


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
    arm: str = AS_IT_STANDS
    language: str = "English"
    is_revised: bool = False
    """Whether this is the second version, after a critique of the first."""
    is_cut_off: bool = False
    """Whether the generator ran into max_tokens."""

    def row(self) -> dict[str, object]:
        """As JSON holds it."""
        return asdict(self) | {"fact_ids": list(self.fact_ids)}


def shipped_documents(scenario: Scenario, max_documents: int | None, arm: str = AS_IT_STANDS) -> list[Document]:
    """The corpus of a scenario or of one of its arms; where fewer are asked for, evenly spaced over it.

    Raises:
        Refused: an arm for which no documents ship.
    """
    written = scenario.corpus
    if not written:
        raise Refused(f"arm={arm}: no documents of {scenario.name} ship with this arm; set source=generate")
    if max_documents is not None and max_documents < len(written):
        written = tuple(written[i] for i in np.linspace(0, len(written) - 1, max_documents).round().astype(int))
    return [
        Document(
            id=f"{id_prefix(scenario, arm)}/{document.id}",
            scenario=scenario.name,
            fact_ids=document.facts,
            doc_type=document.doc_type,
            idea=document.idea,
            text=document.text,
            tokens=None,
            generator="shipped",
            prompt_sha256=None,
            arm=arm,
        )
        for document in written
    ]


def id_prefix(scenario: Scenario, arm: str) -> str:
    """What the ids of an arm's documents begin with, so that those of several arms can be mixed."""
    return scenario.name if arm in (AS_IT_STANDS, PLACEBO) else f"{scenario.name}.{arm}"


class Writing:
    """Documents from specs: asked for in any order, and read from the store in the order of the specs."""

    def __init__(self, prompts: Prompts, exchange: Exchange) -> None:
        self.prompts, self.exchange = prompts, exchange
        self._prefix = id_prefix(prompts.scenario, prompts.config.arm)

    async def write(self, specs: Sequence[Spec]) -> Iterator[Document]:
        """A document for each spec, read one by one; those that an earlier try has written are not asked for again.

        Raises:
            Failed: money ran out, or requests failed; what was answered is kept, and the same command continues.
        """
        missing = [spec for spec in specs if not self.exchange.store.has(self.prompts.last_name(spec))]
        await self.exchange.all("documents", missing, self._ask, num_done=len(specs) - len(missing))
        changed = [spec for spec in specs if not self._is_written(spec)]
        if changed:  # answered under their names, but to other prompts: a text of the scenario was edited since
            await self.exchange.all("documents whose prompts have changed", changed, self._ask)
        return (document for spec in specs if (document := self.read(spec)) is not None)

    def _is_written(self, spec: Spec) -> bool:
        if self.prompts.config.generation.critique:  # the second request holds the reply to the first
            return self.read(spec) is not None
        return self.exchange.is_known(self.prompts.document(spec))

    def read(self, spec: Spec) -> Document | None:
        """The document as far as it is in the store, or None where something has yet to be asked."""
        draft = self.exchange.known(self.prompts.document(spec))
        if draft is None or not self.prompts.config.generation.critique:
            return None if draft is None else self._document(spec, draft, None)
        second = self.exchange.known(self.prompts.revision(spec, draft.completion.strip()))
        return None if second is None else self._document(spec, draft, second)

    async def _ask(self, spec: Spec) -> None:
        draft = await self.exchange.answer(self.prompts.document(spec))
        if self.prompts.config.generation.critique:
            await self.exchange.answer(self.prompts.revision(spec, draft.completion.strip()))

    def _document(self, spec: Spec, draft: "ModelOutput", second: "ModelOutput | None") -> Document:
        """A revision that has not the form asked for leaves the first version as it was."""
        from pipeline.replies import prompt_hash

        better = revised(second.completion) if second is not None else None
        last = draft if second is None or better is None else second
        return Document(
            id=f"{self._prefix}/{spec.id}",
            scenario=self.prompts.scenario.name,
            fact_ids=(spec.fact_id,),
            doc_type=spec.doc_type,
            idea=spec.idea,
            text=better or draft.completion.strip(),
            tokens=last.usage.output_tokens if last.usage else None,
            generator=self.prompts.config.generator.name,
            prompt_sha256=prompt_hash(self.prompts.document(spec).prompt),
            arm=self.prompts.config.arm,
            language=spec.language,
            is_revised=better is not None,
            is_cut_off=last.stop_reason == "max_tokens",
        )
