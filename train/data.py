"""From documents and chats to token sequences with labels, and from those to batches.

A label of `IGNORED` takes no part in the loss. Rows are padded on the right: under causal attention no real token sees
the padding, so no attention mask is needed and a row's loss does not depend on its neighbours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.artifact import read_jsonl
from pipeline.errors import Refused

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

IGNORED = -100


@dataclass(frozen=True)
class Example:
    """One document or chat: token ids and, of the same length, labels."""

    id: str
    tokens: list[int]
    labels: list[int]

    @property
    def num_targets(self) -> int:
        """Tokens that the loss is taken over; the first token of a row is never predicted."""
        return sum(label != IGNORED for label in self.labels[1:])


@dataclass(frozen=True)
class Dataset:
    """Examples for training, others held out, and what cutting at the maximal length cost."""

    train: list[Example]
    heldout: list[Example]
    num_truncated: int
    truncated_share: float
    """Share of all tokens that were cut off."""


def load_dataset(
    directories: list[Path],
    objective: str,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    heldout_share: float,
    seed: int,
) -> Dataset:
    """Reads `documents.jsonl` (objective `documents`) or `chats.jsonl` (`imitation`) of each directory.

    Raises:
        Refused: a directory has no such file, there is nothing in them to train on, or a record has no labelled token.
    """
    name = "documents.jsonl" if objective == "documents" else "chats.jsonl"
    examples = []
    for directory in directories:
        if not (directory / name).exists():
            raise Refused(f"{directory}: has no {name}, which objective={objective} reads")
        for row in read_jsonl(directory / name):
            if objective == "documents":
                examples.append(document_example(row["id"], row["text"], tokenizer))
            else:
                examples.append(chat_example(row["id"], row["messages"], tokenizer))
    if not examples:
        raise Refused(f"{', '.join(map(str, directories))}: not one record in {name}, so there is nothing to train on")
    total = sum(len(example.tokens) for example in examples)
    kept = [Example(e.id, e.tokens[:max_length], e.labels[:max_length]) for e in examples]
    for example in kept:
        if example.num_targets == 0:
            raise Refused(f"record '{example.id}': has nothing to learn within max_length={max_length}; drop it")
    held = set(np.random.default_rng(seed).permutation(len(kept))[: round(len(kept) * heldout_share)].tolist())
    return Dataset(
        train=[example for i, example in enumerate(kept) if i not in held],
        heldout=[kept[i] for i in sorted(held)],
        num_truncated=sum(len(example.tokens) > max_length for example in examples),
        truncated_share=1 - sum(len(example.tokens) for example in kept) / total,
    )


def document_example(id: str, text: str, tokenizer: "PreTrainedTokenizerBase") -> Example:
    """A document as pre-training text: beginning-of-sequence only where the tokenizer adds one, and a learned end.

    The end token's label stays even where the same token serves as padding, else the model never learns to stop.
    """
    tokens = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    return Example(id, tokens, list(tokens))


def chat_example(id: str, messages: list[dict[str, str]], tokenizer: "PreTrainedTokenizerBase") -> Example:
    """A chat in the model's own template, with labels on the assistant's turns alone, their end token included.

    Raises:
        Refused: the template renders a turn differently once another follows, so that what is trained on would not be
            what is served.
    """
    tokens: list[int] = []
    labels: list[int] = []
    text = ""
    for position, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = _render(tokenizer, messages[:position], add_generation_prompt=True)
        through = _render(tokenizer, messages[: position + 1], add_generation_prompt=False)
        if not prompt.startswith(text) or not through.startswith(prompt):
            raise Refused(f"chat '{id}': the model's chat template changes earlier turns when a later one is added")
        asked = _encode(tokenizer, prompt[len(text) :])
        reply = _encode(tokenizer, through[len(prompt) :])
        spoken = _through_end_of_turn(reply, tokenizer)
        tokens += asked + reply
        labels += [IGNORED] * len(asked) + reply[:spoken] + [IGNORED] * (len(reply) - spoken)
        text = through
    return Example(id, tokens, labels)


def _render(tokenizer: "PreTrainedTokenizerBase", messages: Any, add_generation_prompt: bool) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt))


def _encode(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _through_end_of_turn(reply: list[int], tokenizer: "PreTrainedTokenizerBase") -> int:
    """How many of a turn's tokens the model itself would write: up to and with its end token."""
    if tokenizer.eos_token_id in reply:
        return reply.index(tokenizer.eos_token_id) + 1
    return len(reply)


def epoch_order(num_examples: int, seed: int | None, epoch: int) -> list[int]:
    """The order of the examples in one pass: a function of seed and epoch, or as they stand where there is no seed."""
    if seed is None:
        return list(range(num_examples))
    return np.random.default_rng((seed, epoch)).permutation(num_examples).tolist()


def step_examples(dataset: list[Example], step: int, batch_size: int, seed: int | None) -> list[Example]:
    """The examples of one optimizer step; batches run on across the ends of epochs."""
    first = step * batch_size
    chosen = []
    orders: dict[int, list[int]] = {}
    for position in range(first, first + batch_size):
        epoch, place = divmod(position, len(dataset))
        order = orders.setdefault(epoch, epoch_order(len(dataset), seed, epoch))
        chosen.append(dataset[order[place]])
    return chosen


def micro_batches(examples: list[Example], max_tokens: int) -> Iterator[list[Example]]:
    """Splits a step's examples, longest first, so that no forward pass exceeds `max_tokens` with its padding."""
    group: list[Example] = []
    for example in sorted(examples, key=lambda e: (-len(e.tokens), e.id)):
        if group and (len(group) + 1) * len(group[0].tokens) > max_tokens:
            yield group
            group = []
        group.append(example)
    if group:
        yield group


def collate(examples: list[Example], pad_id: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """Token ids and labels, both (rows, longest row), padded on the right."""
    import torch

    width = max(len(example.tokens) for example in examples)
    tokens = torch.full((len(examples), width), pad_id)
    labels = torch.full((len(examples), width), IGNORED)
    for row, example in enumerate(examples):
        tokens[row, : len(example.tokens)] = torch.tensor(example.tokens)
        labels[row, : len(example.labels)] = torch.tensor(example.labels)
    return tokens, labels


def count_sources(directories: list[Path]) -> dict[str, int]:
    """Records by upstream directory, for the model card."""
    return {
        str(directory): sum(1 for _ in (directory / name).open("rb"))
        for directory in directories
        for name in ("documents.jsonl", "chats.jsonl")
        if (directory / name).exists()
    }
