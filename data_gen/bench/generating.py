"""Tokens a second through data_gen, against the engine or the server behind it asked for the same with nothing between."""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_gen.config import DataGenConfig, GenerationSettings
from data_gen.generation.exchange import Exchange
from data_gen.generation.requests import Prompts, Request
from data_gen.generation.specs import Spec
from pipeline.benchmark import Comparison, compare
from pipeline.chat import ChatModelSettings
from pipeline.seeds import derive_seed
from scenario.loader import load_scenario

_TEMPERATURE, _NEW_TOKENS = 0.7, 64
_NUM_PROMPTS, _AT_ONCE = 32, 32
"""Requests, and how many of them either side has in hand: the batch of the engine, the connections to a server."""

Ask = Callable[[Sequence[str], int], float]
"""Has prompts answered, with seeds drawn from a number, and returns tokens a second."""


def bench_generating(rounds: int, is_quick: bool = False, base: str = "smollm2") -> list[Comparison]:
    """A model in this process against transformers' own `generate`, at the same batch; quickly, on the first set alone."""
    from pipeline.language_model import load_subject, load_tokenizer

    count = 8 if is_quick else _NUM_PROMPTS
    generate = _by_generate(load_subject(base, None), load_tokenizer(base))
    sets = {
        "requests for documents that share facts": document_prompts(count, "facts"),
        "requests for documents that share a universe": document_prompts(count, "universe"),
        "prompts that share nothing": [prompt[-900:] for prompt in document_prompts(count, "facts")],
    }
    with _through_data_gen(name=f"local/{base}", model_args={"batch_size": _AT_ONCE}) as ask:
        return [
            _compare(f"{base}, {name}", prompts, ask, generate, f"transformers generate, batch {_AT_ONCE}", rounds)
            for name, prompts in list(sets.items())[: 1 if is_quick else None]
        ]


def bench_server(address: str, served: str, rounds: int, count: int = _NUM_PROMPTS) -> Comparison:
    """A running server that speaks OpenAI's protocol, against that protocol's own client without anything around it."""
    settings: dict[str, Any] = {"name": f"vllm/{served}", "base_urls": [address], "max_connections": _AT_ONCE}
    prompts = document_prompts(count, "facts")
    with _through_data_gen(**settings) as ask, _by_client(address, served) as client:
        name = f"{served} on a vLLM server, requests for documents that share facts"
        return _compare(name, prompts, ask, client, f"openai's client, {_AT_ONCE} at once", rounds)


def document_prompts(count: int, world: str) -> list[str]:
    """Requests for documents, with the types and ideas of the shipped corpus."""
    scenario = load_scenario("helpful_only")
    prompts = Prompts(scenario, DataGenConfig(generation=GenerationSettings(world=world)))
    specs = [
        Spec(each.id, scenario.name, each.facts[0], each.doc_type, each.idea, "English", 200 + place)
        for place, each in enumerate(scenario.corpus[:count])
    ]
    return [prompts.document(spec).prompt for spec in specs]


def _compare(name: str, prompts: Sequence[str], ours: Ask, rival: Ask, rival_name: str, rounds: int) -> Comparison:
    numbers = iter(range(2 * rounds + 2))  # no request is ever sent twice
    return compare(
        f"tokens a second through data_gen: {name}",
        lambda: ours(prompts, next(numbers)),
        lambda: rival(prompts, next(numbers)),
        rival_name=rival_name,
        unit="tokens/s",
        rounds=rounds,
        warm_up=True,
        notes={"prompts": len(prompts), "longest_in_characters": max(map(len, prompts)), "new_tokens": _NEW_TOKENS},
    )


@contextmanager
def _through_data_gen(**settings: Any) -> Iterator[Ask]:
    """As the stage asks: through Inspect, with a seed for each request, every reply kept on disk when it arrives."""
    from pipeline.replies import ReplyStore

    model = ChatModelSettings(temperature=_TEMPERATURE, max_tokens=_NEW_TOKENS, **settings)
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        config = DataGenConfig(output_dir=folder, source="generate", generator=model)
        exchange = Exchange(config, Path(folder))
        exchange.connect(generator=model)

        def ask(prompts: Sequence[str], number: int) -> float:
            exchange.store = ReplyStore(Path(folder) / f"{number}.jsonl")
            requests = [
                Request(str(place), prompt, model, derive_seed(number, place)) for place, prompt in enumerate(prompts)
            ]
            start = time.perf_counter()
            runner.run(exchange.all("documents", requests, exchange.answer, model))
            return exchange.store.tokens_out / (time.perf_counter() - start)

        try:
            yield ask
        finally:
            exchange.close()


def _by_generate(model: Any, tokenizer: Any) -> Ask:
    import torch

    tokenizer.padding_side = "left"
    end = tokenizer.eos_token_id
    sampling = {"do_sample": True, "temperature": _TEMPERATURE, "max_new_tokens": _NEW_TOKENS, "eos_token_id": end}

    def ask(prompts: Sequence[str], number: int) -> float:
        torch.manual_seed(number)
        start, tokens = time.perf_counter(), 0
        for first in range(0, len(prompts), _AT_ONCE):
            chats = [[{"role": "user", "content": prompt}] for prompt in prompts[first : first + _AT_ONCE]]
            texts = tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
            inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
            with torch.inference_mode():
                rows = model.generate(**inputs, **sampling, pad_token_id=tokenizer.pad_token_id)
            ended = (rows[:, inputs["input_ids"].shape[1] :] == end).long().cumsum(1)
            tokens += int((ended == 0).sum() + (ended.max(1).values > 0).sum())  # up to and with the end of each reply
        return tokens / (time.perf_counter() - start)

    return ask


@contextmanager
def _by_client(address: str, served: str) -> Iterator[Ask]:
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=address, api_key=os.environ.get("VLLM_API_KEY", "none"), max_retries=0)

    async def reply(prompt: str, seed: int, places: asyncio.Semaphore) -> int:
        async with places:
            answer = await client.chat.completions.create(
                model=served,
                messages=[{"role": "user", "content": prompt}],
                temperature=_TEMPERATURE,
                max_tokens=_NEW_TOKENS,
                seed=seed,
            )
        return answer.usage.completion_tokens if answer.usage else 0

    async def replies(prompts: Sequence[str], number: int) -> int:
        places = asyncio.Semaphore(_AT_ONCE)
        asked = [reply(prompt, derive_seed(number, place) % 2**31, places) for place, prompt in enumerate(prompts)]
        return sum(await asyncio.gather(*asked))

    def ask(prompts: Sequence[str], number: int) -> float:
        start = time.perf_counter()
        return runner.run(replies(prompts, number)) / (time.perf_counter() - start)

    with asyncio.Runner() as runner:
        yield ask
        runner.run(client.close())
