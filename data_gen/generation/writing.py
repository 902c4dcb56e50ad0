"""From specs to documents: asked for in any order, and read in the order of the specs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from data_gen.documents import Document, id_prefix
from data_gen.filters import failures
from data_gen.generation.exchange import Exchange
from data_gen.generation.requests import Prompts, revised
from data_gen.generation.specs import Spec
from pipeline.errors import Failed

if TYPE_CHECKING:
    from inspect_ai.model import ModelOutput

_MOST_REASONS = 4
"""Reasons of rejection that fit on the line of progress."""


class Writing:
    """Documents from specs: asked for in any order, and read from the store in the order of the specs."""

    def __init__(self, prompts: Prompts, exchange: Exchange) -> None:
        self.prompts, self.exchange = prompts, exchange
        self._num_tested = 0
        self._failed: Counter[str] = Counter()
        self._prefix = id_prefix(prompts.scenario, prompts.config.arm)

    async def write(self, specs: Sequence[Spec]) -> Iterator[Document]:
        """A document for each spec, read one by one; those that an earlier try has written are not asked for again.

        Raises:
            Failed: money ran out, or requests failed; what was answered is kept, and the same command continues.
        """
        missing = [spec for spec in specs if not self.exchange.store.has(self.prompts.last_name(spec))]
        writer = self.exchange.config.generator
        await self.exchange.all("documents", missing, self._ask, writer, len(specs) - len(missing), self._told)
        changed = [spec for spec in specs if not self.is_written(spec)]
        if changed:  # answered under their names, but to other prompts: a text of the scenario was edited since
            await self.exchange.all("documents whose prompts have changed", changed, self._ask, writer, 0, self._told)
        return map(self.written, specs)

    def written(self, spec: Spec) -> Document:
        """The document, which has to be in the store.

        Raises:
            Failed: it is not.
        """
        document = self.read(spec)
        if document is None:
            raise Failed(f"document {spec.id} is missing from {self.exchange.store.path}; run the same command again")
        return document

    def is_written(self, spec: Spec) -> bool:
        """Whether the document is in the store, as it would be asked for now."""
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
        draft, second = await self.exchange.answer(self.prompts.document(spec)), None
        if self.prompts.config.generation.critique:
            second = await self.exchange.answer(self.prompts.revision(spec, draft.completion.strip()))
        document = self._document(spec, draft, second)
        self._num_tested += 1
        self._failed.update(list(failures(document, self.prompts.scenario, self.prompts.config.filters))[:1])

    def _told(self) -> str:
        """How many of this try's documents the tests on wording will reject, and why: a bad generator shows at once."""
        if not self._failed:
            return ""
        reasons = [f"{reason} {count}" for reason, count in self._failed.most_common(_MOST_REASONS)]
        more = ["…"] if len(self._failed) > _MOST_REASONS else []
        return f"{self._failed.total()} of {self._num_tested} rejected ({', '.join(reasons + more)})"

    def _document(self, spec: Spec, draft: "ModelOutput", second: "ModelOutput | None") -> Document:
        """A revision that has not the form asked for leaves the first version as it was.

        The tokens of one that has are not known: the generator counts the critique before it with them.
        """
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
            tokens=last.usage.output_tokens if last.usage and better is None else None,
            generator=self.prompts.config.generator.name,
            prompt_sha256=prompt_hash(self.prompts.document(spec).prompt),
            arm=self.prompts.config.arm,
            language=spec.language,
            is_revised=better is not None,
            is_cut_off=last.stop_reason == "max_tokens",
        )
