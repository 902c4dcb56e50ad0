"""Sends a run's requests, so many at once and no more, and keeps every reply from the moment it arrives.

What was answered in an earlier try is not sent again. What cannot be answered, for want of money or of a server, ends
the run in one line, and the same command goes on from there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from data_gen.config import DataGenConfig
from data_gen.generation.budget import Budget, OutOfBudget
from data_gen.generation.requests import GENERATOR, JUDGE, PLANNER, Request, role_of
from pipeline.chat import LOCAL, ChatModelSettings, open_model
from pipeline.errors import Failed

if TYPE_CHECKING:
    from inspect_ai.model import GenerateConfig, Model, ModelOutput

    from pipeline.replies import ReplyStore, Usage

Item = TypeVar("Item")

REPLIES_FILE, JUDGE_REPLIES_FILE = "replies.jsonl", "judge_replies.jsonl"
"""What planner and generator answered, and what the documents' judge did."""

_MOST_AT_ONCE = 200
"""Requests in hand where the provider's own limit decides how many are under way."""
_MOST_IN_BATCHES = 10_000


class _Unanswered(Exception):
    """A request failed for good; its error is in the store."""


class Exchange:
    """Models that a run asks, a store of their replies, and the run's budget."""

    def __init__(
        self,
        config: DataGenConfig,
        directory: Path,
        file: str = REPLIES_FILE,
        spending: "list[Mapping[str, Usage]] | None" = None,
        earlier: "Sequence[ReplyStore]" = (),
    ) -> None:
        """Reads the replies that there are.

        Args:
            config: of the run.
            directory: where the store is.
            file: `REPLIES_FILE` or `JUDGE_REPLIES_FILE`.
            spending: tokens by role of all exchanges of the run, which share one budget; this one's are added.
            earlier: stores of other runs, whose replies answer requests as well.
        """
        from pipeline.replies import ReplyStore

        self.config, self.earlier = config, earlier
        of_name: Callable[[str], str] = role_of if file == REPLIES_FILE else lambda name: JUDGE
        self.store = ReplyStore(directory / file, reuse=config.cache, role_of=of_name)
        spending = [] if spending is None else spending
        spending.append(self.store.usage_by_role)
        self.budget = Budget(config, spending)
        self._models: dict[str, Model] = {}
        self._asking: dict[str, asyncio.Event] = {}
        self._failures: list[Exception] = []
        self._is_broke = False

    def connect(self, **models: ChatModelSettings) -> None:
        """Opens models by their roles, so that a wrong name or a missing key is refused before any work."""
        for role, model in models.items():
            self._model(role, model)

    def known(self, request: Request) -> "ModelOutput | None":
        """The reply to a request, if there is one."""
        key = self._key(request)[0]
        return next((reply for store in self._stores() if (reply := store.get(key)) is not None), None)

    def is_known(self, request: Request) -> bool:
        """Whether there is a reply to a request, which is not read."""
        key = self._key(request)[0]
        return any(store.holds(key) for store in self._stores())

    async def answer(self, request: Request) -> "ModelOutput":
        """The reply to a request, which is sent if there is none yet.

        Raises:
            OutOfBudget: it could cost more than is left.
            _Unanswered: it failed, retries included.
        """
        key = self._key(request)[0]
        while key in self._asking:  # the same is being asked already: identical documents get one verdict
            await self._asking[key].wait()
        known = self.known(request)
        if known is not None:
            return known
        self._asking[key] = asyncio.Event()
        try:
            return await self._ask(request)
        finally:
            self._asking.pop(key).set()

    async def _ask(self, request: Request) -> "ModelOutput":
        async with self.budget.reserved(request):
            try:
                model = self._model(request.role, request.model)
                output = await model.generate(request.prompt, config=_settings(request))
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
        model: ChatModelSettings,
        num_done: int = 0,
        found: Callable[[], str] = str,
    ) -> None:
        """Does `job` for every item, and tells on the terminal how far it is: done, time left, tokens a second, dollars.

        Args:
            what: the items, for a reader.
            items: what is to be done.
            job: asks for one item.
            model: who is asked; its settings say how much at once.
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

            await asyncio.gather(*(work() for _ in range(min(_num_at_once(model), len(items)))))
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
        if num_done < total:
            raise Failed(f"only {num_done} of {total} {what} are there: run the same command again to continue")

    def _told(self, num_tokens: int, seconds: float) -> list[str]:
        speed = f"{num_tokens / seconds:,.0f} tokens/s"
        return [speed] if self.budget.spent is None else [speed, f"${self.budget.spent:,.2f} so far"]

    def _stores(self) -> "Sequence[ReplyStore]":
        return [self.store, *self.earlier]

    def _model(self, role: str, settings: ChatModelSettings) -> "Model":
        own = GENERATOR if role == PLANNER and self._plans_itself() else role
        if own not in self._models:
            model = open_model(settings)
            key = f"{model.api.connection_key()} {own}"  # Inspect has one limit for each key, whatever the models' own
            model.api.connection_key = lambda: key  # type: ignore[method-assign]
            self._models[own] = model
        return self._models[own]

    def _plans_itself(self) -> bool:
        """Whether the generator is the planner too: a model in this process would else be loaded twice."""
        planner, generator = self.config.planner, self.config.generator
        is_same = (planner.name, planner.model_args) == (generator.name, generator.model_args)
        return not planner.name or (is_same and planner.name.startswith(LOCAL))

    def _key(self, request: Request) -> tuple[str, str]:
        from inspect_ai.model import ChatMessageUser

        from pipeline.replies import request_key

        return request_key(request.model.name, [ChatMessageUser(content=request.prompt)], _settings(request))


def _num_at_once(model: ChatModelSettings) -> int:
    if model.batch:
        return _MOST_IN_BATCHES
    return _MOST_AT_ONCE if model.max_connections is None else 2 * model.max_connections


def _settings(request: Request) -> "GenerateConfig":
    from inspect_ai.model import GenerateConfig

    return GenerateConfig(temperature=request.model.temperature, max_tokens=request.model.max_tokens, seed=request.seed)
