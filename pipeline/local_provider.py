"""`local/<model>[:<adapter folder>]`: transformers behind Inspect, in large batches, with sampling that can be repeated.

Inspect's own `hf` provider draws one random stream for a whole batch, so what a prompt gets depends on what else was
being asked. Here every request has a stream of its own, seeded by the request, and the same request gets the same
reply in any company (up to the rounding of batched arithmetic).
"""

import asyncio
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo
from transformers import LogitsProcessor, LogitsProcessorList

from pipeline.decoding import group_heads_on_cpu, share_prefix
from pipeline.language_model import load_subject, load_tokenizer

_LINGER_SECONDS = 0.2
"""How long a batch that is not full waits for one more request."""

_FIRST_LINGER_SECONDS = 2.0
"""The same for the first batch, while the caller is still starting up."""

_SCORING_TOKENS = 4096
"""Tokens, padding included, in one forward pass that scores given text."""


@dataclass
class _Request:
    """A chat to be answered or, with an ending, plain text whose ending is to be scored."""

    prompt: str
    config: GenerateConfig
    reply: "Future[Any]"
    ending: str | None = None

    @property
    def kind(self) -> tuple[Any, ...]:
        """Requests of one kind can share a batch."""
        if self.ending is not None:
            return ("score",)
        config = self.config
        return (config.max_tokens, config.temperature, config.top_p, tuple(config.stop_seqs or ()))


class _SeededSampling(LogitsProcessor):  # type: ignore[no-untyped-call]
    """Draws each row's next token by inverting its distribution at a number from the row's own stream.

    It leaves the drawn token as the only possible one, so that greedy decoding then takes it.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, top_p: float, max_tokens: int) -> None:
        self.temperature, self.top_p = temperature, top_p
        self.uniforms = np.stack([np.random.default_rng(seed).random(max_tokens) for seed in seeds])
        self.step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        probabilities = torch.softmax(scores.float() / self.temperature, dim=-1)
        if self.top_p < 1:
            ordered, order = probabilities.sort(dim=-1, descending=True)
            ordered[ordered.cumsum(dim=-1) - ordered >= self.top_p] = 0
            probabilities = torch.zeros_like(probabilities).scatter_(-1, order, ordered)
        cumulative = probabilities.cumsum(dim=-1)
        drawn = torch.tensor(self.uniforms[:, self.step], dtype=torch.float32, device=scores.device)
        chosen = torch.searchsorted(cumulative, (drawn * cumulative[:, -1]).unsqueeze(1), right=True)
        self.step += 1
        only = torch.full_like(scores, float("-inf"))
        return only.scatter_(-1, chosen.clamp_(max=scores.shape[-1] - 1), 0.0)


class LocalModel(ModelAPI):
    """A base model, with an adapter merged in where one is named."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - Inspect's own signature
        batch_size: int = 48,
        precision: str = "bfloat16",
        revision: str | None = None,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self.base, _, adapter = model_name.partition(":")
        self.adapter = Path(adapter) if adapter else None
        self.batch_size, self.precision, self.revision = int(batch_size), precision, revision
        self._requests: queue.Queue[_Request | None] = queue.Queue()
        self._worker: threading.Thread | None = None
        self._loading = threading.Lock()
        self._num_batches = 0

    # Inspect makes further instances of a provider just to ask for facts about a model, so nothing is loaded before use.
    @cached_property
    def tokenizer(self) -> Any:
        """The base's tokenizer."""
        return load_tokenizer(self.base, revision=self.revision)

    @cached_property
    def _weights(self) -> Any:
        subject = load_subject(self.base, self.adapter, self.precision, self.revision)
        group_heads_on_cpu(subject)
        return subject

    @property
    def model(self) -> Any:
        """The loaded subject."""
        with self._loading:
            return self._weights

    def max_connections(self) -> int:
        """Enough requests at a time to sort them by length into full batches."""
        return 3 * self.batch_size

    def connection_key(self) -> str:
        """Each loaded model has a queue of its own."""
        return f"local-{id(self)}"

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """Queues one chat and waits for its reply; a last turn of the assistant is continued."""
        output: ModelOutput = await self._answer(_Request(self.render(input), config, Future()))
        return output

    async def ending_log_prob(self, stem: str, ending: str) -> float:
        """Log-probability in nats of `ending` as plain text after `stem` and a space, summed over its tokens."""
        score: float = await self._answer(_Request(stem, GenerateConfig(), Future(), ending))
        return score

    async def _answer(self, request: _Request) -> Any:
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, daemon=True)
            self._worker.start()
        self._requests.put(request)
        return await asyncio.wrap_future(request.reply)

    def render(self, messages: list[ChatMessage]) -> str:
        """The chat in the model's own template, as training renders it."""
        chat = [{"role": message.role, "content": message.text} for message in messages]
        continued = isinstance(messages[-1], ChatMessageAssistant)
        return str(
            self.tokenizer.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=not continued, continue_final_message=continued
            )
        )

    async def aclose(self) -> None:
        """Frees the model."""
        self.close()

    def close(self) -> None:
        """Frees the model; a later request loads it again."""
        if self._worker is not None:
            self._requests.put(None)
            self._worker = None
        self.__dict__.pop("_weights", None)

    def _scores(self, requests: list[_Request]) -> list[float]:
        rows = [
            (
                self.tokenizer(f"{request.prompt} {request.ending}")["input_ids"],
                len(self.tokenizer(request.prompt)["input_ids"]),
            )
            for request in requests
        ]
        scores = [0.0] * len(rows)
        for group in _by_length([len(tokens) for tokens, _ in rows], _SCORING_TOKENS):
            width = max(len(rows[i][0]) for i in group)
            batch = torch.zeros((len(group), width), dtype=torch.long)
            for place, i in enumerate(group):
                batch[place, : len(rows[i][0])] = torch.tensor(rows[i][0])
            with torch.no_grad():  # padded on the right: causal attention keeps the padding out of sight
                logits = self.model(input_ids=batch.to(self.model.device), use_cache=False).logits
            for place, i in enumerate(group):
                tokens, first = rows[i]
                log_probs = logits[place, first - 1 : len(tokens) - 1].float().log_softmax(-1)
                targets = torch.tensor(tokens[first:], device=log_probs.device)
                scores[i] = float(log_probs.gather(-1, targets.unsqueeze(1)).sum())
        return scores

    def _work(self) -> None:
        waiting: list[_Request] = []
        while True:
            arrived = self._collect(waiting)
            if not arrived:
                return
            self._num_batches += 1
            kind = waiting[0].kind
            alike = sorted((r for r in waiting if r.kind == kind), key=lambda r: len(r.prompt))[: self.batch_size]
            waiting = [request for request in waiting if not any(request is taken for taken in alike)]
            # an answer to a request that was given up would end this thread, and everyone after would wait for ever
            alike = [request for request in alike if request.reply.set_running_or_notify_cancel()]
            if alike:
                self._answer_batch(alike)

    def _answer_batch(self, requests: list[_Request]) -> None:
        try:
            answers = self._scores(requests) if requests[0].kind == ("score",) else self._reply(requests)
            for request, output in zip(requests, answers, strict=True):
                request.reply.set_result(output)
        except Exception as error:  # the caller's thread must hear of whatever ended the batch
            for request in requests:
                if not request.reply.done():
                    request.reply.set_exception(error)

    def _collect(self, waiting: list[_Request]) -> bool:
        """Fills `waiting` until a batch is full or nothing more comes; False once the model is closed."""
        linger = _LINGER_SECONDS if self._num_batches else _FIRST_LINGER_SECONDS
        deadline = time.monotonic() + linger
        while len(waiting) < self.max_connections():
            try:
                timeout = None if not waiting else max(0.0, deadline - time.monotonic())
                request = self._requests.get(timeout=timeout)
            except queue.Empty:
                return True
            if request is None:
                return False
            waiting.append(request)
            deadline = time.monotonic() + linger
        return True

    def _reply(self, requests: list[_Request]) -> Iterator[ModelOutput]:
        started = time.monotonic()
        config = requests[0].config
        max_tokens = config.max_tokens or 512
        prompts = self.tokenizer([request.prompt for request in requests], add_special_tokens=False)["input_ids"]
        batch = share_prefix(self.model, prompts, self.tokenizer.pad_token_id)
        processors = LogitsProcessorList()
        temperature = 1.0 if config.temperature is None else config.temperature
        if temperature > 0:
            seeds = [request.config.seed or 0 for request in requests]
            top_p = 1.0 if config.top_p is None else config.top_p
            processors.append(_SeededSampling(seeds, temperature, top_p, max_tokens))
        with torch.no_grad():
            written = self.model.generate(
                **batch,
                max_new_tokens=max_tokens,
                do_sample=False,
                logits_processor=processors,
                pad_token_id=self.tokenizer.pad_token_id,
                stop_strings=config.stop_seqs or None,
                tokenizer=self.tokenizer if config.stop_seqs else None,
            )[:, batch["input_ids"].shape[1] :]
        seconds = time.monotonic() - started
        for row, prompt in zip(written, prompts, strict=True):
            yield self._output(row.tolist(), len(prompt), seconds)

    def _output(self, tokens: list[int], num_prompt: int, seconds: float) -> ModelOutput:
        ends = set(np.atleast_1d(self.model.generation_config.eos_token_id).tolist()) | {self.tokenizer.eos_token_id}
        length = next((place for place, token in enumerate(tokens) if token in ends), None)
        stop_reason: StopReason = "max_tokens" if length is None else "stop"
        spoken = tokens if length is None else tokens[:length]
        text = self.tokenizer.decode(spoken, skip_special_tokens=True)
        num_written = len(spoken) + (length is not None)
        return ModelOutput(
            model=self.model_name,
            choices=[
                ChatCompletionChoice(
                    message=ChatMessageAssistant(content=text, source="generate"), stop_reason=stop_reason
                )
            ],
            usage=ModelUsage(input_tokens=num_prompt, output_tokens=num_written, total_tokens=num_prompt + num_written),
            time=seconds,
        )


def _by_length(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Indices in groups of similar length whose padded size stays within `max_tokens`."""
    group: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if group and (len(group) + 1) * lengths[i] > max_tokens:
            yield group
            group = []
        group.append(i)
    if group:
        yield group


@modelapi(name="local")
def local() -> type[ModelAPI]:
    """Makes the provider known to Inspect."""
    return LocalModel
