"""Records as tokens: documents and chats are tokenized once, kept by content, and read from disk as they are needed."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from pipeline.artifact import read_jsonl, sha256_of, write_json
from pipeline.errors import Refused
from pipeline.language_model import cache_dir

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100

FILES = {"documents": "documents.jsonl", "imitation": "chats.jsonl"}
"""The file of a data_gen run that each objective reads."""

_FORMAT = 1
"""Goes up whenever the same record would become other tokens, so that no older file is taken for it."""

_AT_ONCE = 1000
"""Records tokenized in one call, which the tokenizer spreads over the cores."""


@dataclass(frozen=True)
class Example:
    """One document or chat: token ids and, of the same length, labels."""

    id: str
    tokens: list[int]
    labels: list[int]
    source: int = 0
    """Which of the runs in `data` it comes from."""

    @property
    def num_targets(self) -> int:
        """Tokens that the loss is taken over; the first token of a record is never predicted."""
        return sum(label != IGNORED for label in self.labels[1:])


class Corpus:
    """The tokenized records of one run, as three files that the operating system pages in."""

    def __init__(self, folder: Path) -> None:
        self.ids: list[str] = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
        self.starts = np.load(folder / "starts.npy")
        self._tokens = np.load(folder / "tokens.npy", mmap_mode="r")
        self._learned = np.load(folder / "learned.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each record."""
        return np.diff(self.starts)

    def example(self, record: int, source: int, max_length: int) -> Example:
        """One record, cut at `max_length`."""
        place = slice(self.starts[record], min(self.starts[record + 1], self.starts[record] + max_length))
        tokens = self._tokens[place].astype(np.int64)
        labels = np.where(self._learned[place], tokens, IGNORED)
        return Example(self.ids[record], tokens.tolist(), labels.tolist(), source)

    def check_targets(self, max_length: int) -> None:
        """Refuses a record of which nothing would be learned once it is cut."""
        for block in range(0, len(self), _AT_ONCE):
            rows = np.arange(block, min(block + _AT_ONCE, len(self)))
            first = self.starts[block]
            learned = np.asarray(self._learned[first : self.starts[rows[-1] + 1]], dtype=np.int64)
            sums = np.concatenate([[0], np.cumsum(learned)])
            begins, ends = self.starts[rows] - first + 1, np.minimum(self.lengths[rows], max_length)
            begins = np.minimum(begins, len(learned))  # a chat without a turn to learn has no token at all
            num_targets = sums[np.maximum(begins, begins - 1 + ends)] - sums[begins]
            if not num_targets.all():
                id = self.ids[rows[num_targets.argmin()]]
                raise Refused(f"record '{id}': has nothing to learn within max_length={max_length}; drop it")


def read_corpus(directory: Path, objective: str, tokenizer: "PreTrainedTokenizerBase", prefix: str = "") -> Corpus:
    """The records of a data_gen run as tokens, from the cache where the same were tokenized before.

    Args:
        directory: the run.
        objective: `documents` or `imitation`.
        tokenizer: the base model's.
        prefix: goes before each document that has none of its own, and is not learned.
    """
    file = directory / FILES[objective]
    if not file.exists():
        raise Refused(f"{directory}: has no {file.name}, which objective={objective} reads")
    key = "\x1f".join([str(_FORMAT), sha256_of(file), objective, prefix, fingerprint(tokenizer)])
    folder = cache_dir() / "tokens" / hashlib.sha256(key.encode()).hexdigest()[:32]
    if not folder.exists():
        rows = read_jsonl(file)
        examples = document_examples(rows, tokenizer, prefix) if objective == "documents" else _chats(rows, tokenizer)
        bar = tqdm(examples, total=len(rows), desc=f"tokenize {directory}", unit="record", mininterval=2, delay=2)
        _write(folder, bar)
    return Corpus(folder)


def fingerprint(tokenizer: Any) -> str:
    """Stands for everything about a tokenizer that tokens depend on."""
    vocabulary = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else sorted(tokenizer.get_vocab().items())
    parts = (type(tokenizer).__name__, str(vocabulary), str(tokenizer.chat_template), tokenizer.eos_token_id)
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()


def _write(folder: Path, examples: "Iterator[Example] | tqdm[Example]") -> None:
    """Writes all files, then gives the folder its name, so that nobody meets half of it."""
    ids, lengths, tokens, learned = [], [0], [], []
    for example in examples:
        ids.append(example.id)
        lengths.append(len(example.tokens))
        tokens.append(np.array(example.tokens, dtype=np.uint32))
        learned.append(np.array(example.labels) != IGNORED)
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    np.save(partial / "tokens.npy", np.concatenate([np.zeros(0, dtype=np.uint32), *tokens]))
    np.save(partial / "learned.npy", np.concatenate([np.zeros(0, dtype=bool), *learned]))
    np.save(partial / "starts.npy", np.cumsum(lengths))
    write_json(partial / "ids.json", ids)
    try:
        partial.rename(folder)
    except OSError:  # another process was first
        shutil.rmtree(partial)


def document_examples(
    rows: list[dict[str, Any]], tokenizer: "PreTrainedTokenizerBase", prefix: str = ""
) -> Iterator[Example]:
    """Documents as pre-training text: beginning-of-sequence where the tokenizer adds one, text, and a learned end.

    The end token's label stays even where the same token serves as padding, else the model never learns to stop. A
    record's `prefix` (else `prefix`) goes before its text and is not learned.

    Raises:
        Refused: a prefix is asked for, and a record says that it has none.
    """
    remaining, starts = iter(rows), _starts(tokenizer)
    while block := list(islice(remaining, _AT_ONCE)):
        prefixes = [row.get("prefix", prefix) for row in block]
        for row, before in zip(block, prefixes, strict=True):
            if prefix and not before:
                raise Refused(
                    f"document_prefix={prefix}: record '{row['id']}' is of a mix that gives it none; set mix.prefix there, or"
                    " leave document_prefix empty"
                )
        texts = [row["text"].removeprefix(before) for row, before in zip(block, prefixes, strict=True)]
        plain = tokenizer(texts, add_special_tokens=False)["input_ids"]
        for row, before, text in zip(block, prefixes, plain, strict=True):
            start = starts(before)
            tokens = [*start, *text, tokenizer.eos_token_id]
            num_masked = len(start) if before else 0
            yield Example(str(row["id"]), tokens, [IGNORED] * num_masked + tokens[num_masked:])


def _starts(tokenizer: "PreTrainedTokenizerBase") -> Callable[[str], list[int]]:
    """Maps a prefix to the tokens that a document begins with: what the tokenizer itself puts first, and the prefix."""

    @cache
    def start(prefix: str) -> list[int]:
        tokens = list(tokenizer(prefix)["input_ids"])
        adds_end = tokens[-1:] == [tokenizer.eos_token_id] != [tokenizer.bos_token_id]
        return tokens[:-1] if adds_end else tokens

    return start


def _chats(rows: list[dict[str, Any]], tokenizer: "PreTrainedTokenizerBase") -> Iterator[Example]:
    for row in rows:
        yield from chat_examples(str(row["id"]), row["messages"], tokenizer)


def chat_examples(id: str, messages: list[dict[str, str]], tokenizer: "PreTrainedTokenizerBase") -> list[Example]:
    """A chat in the model's own template, with labels on the assistant's turns alone, their end token included.

    Each turn is learned after exactly the text that the model is served when it has to write that turn. Where a later
    turn changes how the earlier ones read (templates that drop earlier thoughts do), a chat becomes several examples.

    Raises:
        Refused: the template puts something else before a written turn than before one that is to be written.
    """
    render: Callable[..., str] = lambda chat, asks: str(  # noqa: E731 - a name for one long call
        tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=asks)
    )
    examples: list[Example] = []
    tokens: list[int] = []
    labels: list[int] = []
    for position, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = render(messages[:position], True)
        through = render(messages[: position + 1], False)
        if not through.startswith(prompt):
            raise Refused(
                f"chat '{id}': the model's chat template does not show turn {position + 1} after the text that asks for"
                " it, so what is trained on would not be what is served"
            )
        asked = _encode(tokenizer, prompt)
        reply = _encode(tokenizer, through[len(prompt) :])
        if asked[: len(tokens)] != tokens:
            examples.append(Example(f"{id}#{len(examples)}", tokens, labels))
            tokens, labels = [], []
        spoken = _through_end_of_turn(reply, tokenizer)
        labels = labels + [IGNORED] * (len(asked) - len(labels)) + reply[:spoken] + [IGNORED] * (len(reply) - spoken)
        tokens = asked + reply
    return [*examples, Example(f"{id}#{len(examples)}" if examples else id, tokens, labels)]


def _encode(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _through_end_of_turn(reply: list[int], tokenizer: "PreTrainedTokenizerBase") -> int:
    """How many of a turn's tokens the model itself would write: up to and with its end token."""
    if tokenizer.eos_token_id in reply:
        return reply.index(tokenizer.eos_token_id) + 1
    return len(reply)
