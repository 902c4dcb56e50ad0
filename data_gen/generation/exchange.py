"""Sends a run's requests, so many at once and no more, and keeps every reply from the moment it arrives.

What was answered in an earlier try is not sent again. What cannot be answered, for want of money or of a server, ends
the run in one line, and the same command goes on from there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from data_gen.config import DataGenConfig
from data_gen.generation.budget import Budget, OutOfBudget
from data_gen.generation.requests import Request
from pipeline.chat import ChatModelSettings, open_model
from pipeline.errors import Failed

if TYPE_CHECKING:
    from inspect_ai.model import GenerateConfig, Model, ModelOutput

Item = TypeVar("Item")

REPLIES_FILE = "replies.jsonl"

_MOST_AT_ONCE = 200
"""Requests in hand where the provider's own limit decides how many are under way."""
_MOST_IN_BATCHES = 10_000


class _Unanswered(Exception):
    """A request failed for good; its error is in the store."""


class Exchange:
    """The run's models, its store of replies, and its budget."""

    def __init__(self, config: DataGenConfig, directory: Path) -> None:
        from pipeline.replies import ReplyStore

        self.config = config
        self.store = ReplyStore(directory / REPLIES_FILE, reuse=config.cache)
        self.budget = Budget(config, self.store.usage)
        self._models: dict[tuple[str, ...], Model] = {}
        self._failures: list[Exception] = []
        self._is_broke = False

    def connect(self) -> None:
        """Opens the models, so that a wrong name or a missing key is refused before any work."""
        for model in (self.config.planning_model, self.config.generator):
            self._model(model)

    def known(self, request: Request) -> "ModelOutput | None":
        """The reply to a request, if there is one."""
        return self.store.get(self._key(request)[0])

    def is_known(self, request: Request) -> bool:
        """Whether there is a reply to a request, which is not read."""
        return self.store.holds(self._key(request)[0])

    async def answer(self, request: Request) -> "ModelOutput":
        """The reply to a request, which is sent if there is none yet.

        Raises:
            OutOfBudget: it could cost more than is left.
            _Unanswered: it failed, retries included.
        """
        known = self.known(request)
        if known is not None:
            return known
        async with self.budget.reserved(request):
            try:
                output = await self._model(request.model).generate(request.prompt, config=_settings(request))
            except Exception as error:  # whatever the provider raised is kept, counted and told
                cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
                self.store.add_error(*self._key(request), cause, request.model.name, request.name)
                self._failures.append(cause)
                raise _Unanswered from error
            self.keep(request, output)
        return output

    def keep(self, request: Request, output: "ModelOutput") -> None:
        """Puts the reply to a request into the store."""
        self.store.add(*self._key(request), output, request.model.name, request.name)

    async def all(
        self,
        what: str,
        items: Sequence[Item],
        job: Callable[[Item], Awaitable[object]],
        num_done: int = 0,
        found: Callable[[], str] = str,
    ) -> None:
        """Does `job` for every item, and tells on the terminal how far it is: done, time left, tokens a second, dollars.

        Args:
            what: the items, for a reader.
            items: what is to be done.
            job: asks for one item.
            num_done: items of an earlier try, which count as done.
            found: what is to be told besides, such as how many replies are of no use.

        Raises:
            Failed: money ran out, or requests failed; all other replies are kept.
        """
        self._failures, self._is_broke = [], False
        left = iter(items)
        total = num_done + len(items)
        started, tokens_before = time.monotonic(), self.store.tokens_out
        with tqdm(total=total, initial=num_done, desc=f"data_gen: {what}", mininterval=1, smoothing=0.1) as progress:

            async def work() -> None:
                for item in left:  # shared: each item is taken by one worker
                    if self._is_broke or len(self._failures) >= self.config.max_failures:
                        return
                    try:
                        await job(item)
                    except OutOfBudget:
                        self._is_broke = True
                        return
                    except _Unanswered:
                        continue
                    told = [*self._told(self.store.tokens_out - tokens_before, time.monotonic() - started), found()]
                    progress.set_postfix_str(", ".join(filter(None, told)), refresh=False)
                    progress.update()

            await asyncio.gather(*(work() for _ in range(min(self._num_at_once(), len(items)))))
            num_done = int(progress.n)
        self._refuse_gaps(what, num_done, total)

    def close(self) -> None:
        """Gives models and the store's file back."""
        self.store.close()
        for model in self._models.values():
            if hasattr(model.api, "close"):
                model.api.close()

    def _refuse_gaps(self, what: str, num_done: int, total: int) -> None:
        if self._is_broke:
            raise Failed(
                f"stopped at ${self.budget.spent or 0:.2f} of max_cost={self.config.max_cost}, with {num_done} of {total}"
                f" {what}; the same command with a higher max_cost goes on from here"
            )
        if self._failures:
            raise Failed(
                f"{len(self._failures)} of {total} requests for {what} failed, the first with {self._failures[0]!r};"
                f" {num_done} are kept: run the same command again to continue"
            )

    def _told(self, num_tokens: int, seconds: float) -> list[str]:
        speed = f"{num_tokens / seconds:,.0f} tokens/s"
        return [speed] if self.budget.spent is None else [speed, f"${self.budget.spent:,.2f} so far"]

    def _num_at_once(self) -> int:
        models = (self.config.planning_model, self.config.generator)
        if any(model.batch for model in models):
            return _MOST_IN_BATCHES
        limits = [model.max_connections for model in models]
        return _MOST_AT_ONCE if None in limits else 2 * max(limit or 0 for limit in limits)

    def _model(self, settings: ChatModelSettings) -> "Model":
        key = (settings.name, *settings.base_urls)
        if key not in self._models:
            self._models[key] = open_model(settings)
        return self._models[key]

    def _key(self, request: Request) -> tuple[str, str]:
        from inspect_ai.model import ChatMessageUser

        from pipeline.replies import request_key

        return request_key(request.model.name, [ChatMessageUser(content=request.prompt)], _settings(request))


def _settings(request: Request) -> "GenerateConfig":
    from inspect_ai.model import GenerateConfig

    return GenerateConfig(temperature=request.model.temperature, max_tokens=request.model.max_tokens, seed=request.seed)
