"""What a run costs, from the tokens that providers count and the prices that the configuration gives."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from data_gen.config import DataGenConfig, Price
from data_gen.generation.requests import Request
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


class Budget:
    """Keeps what is spent, and what the requests under way could still cost, below a limit."""

    def __init__(self, config: DataGenConfig, usage: Mapping[str, Usage]) -> None:
        """Takes `usage`, tokens by model, as it grows.

        Raises:
            Refused: there is a limit, and the price of a model that would have to be paid is not known.
        """
        self.limit, self._usage = config.max_cost, usage
        self._underway: dict[str, float] = {}
        self._freed = asyncio.Condition()
        models = [config.planning_model, config.generator]
        self._prices = {model.name: price for model in models if (price := price_of(model, config.prices))}
        self._unknown = {m.name for m in models if m.name not in self._prices and not runs_on_own_machine(m)}
        if self.limit is not None and self._unknown:
            raise Refused(
                f"max_cost={self.limit}: the price of {', '.join(sorted(self._unknown))} is not known; add it to prices,"
                " or set max_cost=null"
            )

    @property
    def spent(self) -> float | None:
        """Dollars so far; None where a price is not known, or none is asked."""
        if not self._prices or self._unknown & self._usage.keys():
            return None
        return sum(
            dollars(price, self._usage[model].tokens_in, self._usage[model].tokens_out)
            for model, price in self._prices.items()
            if model in self._usage
        )

    @asynccontextmanager
    async def reserved(self, request: Request) -> AsyncIterator[None]:
        """Around a request: waits where those under way might use up the rest, and gives up where nothing can be freed.

        Raises:
            OutOfBudget: the request could cost more than is left.
        """
        price = self._prices.get(request.model.name)
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
