"""What a run costs, from the tokens that providers count and the prices that the configuration gives."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from data_gen.config import DataGenConfig, Price
from data_gen.generation.requests import GENERATOR, JUDGE, PLANNER, Request
from pipeline.chat import ChatModelSettings
from pipeline.errors import Refused
from pipeline.replies import Usage

CHARACTERS_PER_TOKEN = 4.0
"""A rule of thumb for English, for requests that no provider has counted yet."""

_OWN_MACHINES = ("local", "hf", "vllm", "sglang", "ollama", "llama-cpp-python", "transformer_lens", "mockllm")


class OutOfBudget(Exception):
    """The next request could cost more than is left."""


def runs_on_own_machine(model: ChatModelSettings) -> bool:
    """Whether the model's provider asks nothing for tokens, because the user runs it."""
    return model.name.partition("/")[0] in _OWN_MACHINES


def price_of(model: ChatModelSettings, prices: Mapping[str, Price]) -> Price | None:
    """The model's price as it is called; None where it is not known."""
    price = prices.get(model.name)
    if price is None or not model.batch:
        return price
    if price.batch is None:
        return None
    return Price(price.input * price.batch, price.output * price.batch, None, price.as_of, price.source)


def dollars(price: Price, tokens_in: float, tokens_out: float) -> float:
    """What so many tokens cost. Tokens of a provider's prompt cache are taken at the full price."""
    return (tokens_in * price.input + tokens_out * price.output) / 1e6


def models_of(config: DataGenConfig) -> dict[str, ChatModelSettings]:
    """The models that a run asks, by their roles."""
    models = {}
    if config.source in ("generate", "specs"):
        models = {PLANNER: config.planning_model, GENERATOR: config.generator}
    return models | ({JUDGE: config.filters.judge} if config.has_judge else {})


class Budget:
    """Keeps what is spent, and what the requests under way could still cost, below a limit."""

    def __init__(self, config: DataGenConfig, usages: Sequence[Mapping[str, Usage]]) -> None:
        """Takes `usages`, each tokens by role, as they grow.

        Raises:
            Refused: there is a limit, and the price of a model that would have to be paid is not known.
        """
        self.limit, self._usages = config.max_cost, usages
        self._underway: dict[str, float] = {}
        self._freed = asyncio.Condition()
        models = models_of(config)
        self._prices = {role: price for role, m in models.items() if (price := price_of(m, config.prices))}
        self._unknown = {r for r, model in models.items() if r not in self._prices and not runs_on_own_machine(model)}
        if self.limit is not None and self._unknown:
            raise Refused(
                f"max_cost={self.limit}: the price of {', '.join(sorted({models[r].name for r in self._unknown}))} is not"
                " known; add it to prices, or set max_cost=null"
            )

    @property
    def spent(self) -> float | None:
        """Dollars so far; None where a price is not known, or none is asked."""
        used = [(role, usage) for usages in self._usages for role, usage in usages.items()]
        if not self._prices or any(role in self._unknown for role, _ in used):
            return None
        paid = [(self._prices[role], usage) for role, usage in used if role in self._prices]
        return sum(dollars(price, usage.tokens_in, usage.tokens_out) for price, usage in paid)

    @asynccontextmanager
    async def reserved(self, request: Request) -> AsyncIterator[None]:
        """Around a request: waits where those under way might use up the rest, and gives up where nothing can be freed.

        Raises:
            OutOfBudget: the request could cost more than is left.
        """
        price = self._prices.get(request.role)
        if self.limit is None or price is None:
            yield
            return
        most = dollars(price, len(request.prompt) / CHARACTERS_PER_TOKEN, request.model.max_tokens)
        async with self._freed:
            await self._freed.wait_for(lambda: not self._underway or self._left() >= most)
            if self._left() < most:
                raise OutOfBudget
            self._underway[request.name] = most
        try:
            yield
        finally:
            async with self._freed:
                del self._underway[request.name]
                self._freed.notify_all()

    def _left(self) -> float:
        assert self.limit is not None
        return self.limit - (self.spent or 0.0) - sum(self._underway.values())
