"""From tokens to batches: which records are trained on and in which order, and how a forward pass lays them out.

A label of `IGNORED` takes no part in the loss. Records are laid out in one of two ways. Padded: a row each, filled up on
the right; under causal attention no real token sees the padding, so no mask is needed. Packed: end to end in one row,
with positions that start again at each record; from these transformers makes the mask (or FlashAttention's lengths) that
keeps the records apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import Refused
from train.corpus import FILES, IGNORED, Corpus, Example, read_corpus

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from train.config import TrainConfig


_ENOUGH = 512
"""Tokens in a forward pass from which on more make it no faster on a CPU, so that padding is a loss."""
_CLOSE = 0.95
"""Share of the longest record's length from which on a record is padded rather than given a pass of its own."""


class Examples(Sequence[Example]):
    """Some of the records of some corpora, cut at a maximal length, read when they are asked for."""

    def __init__(self, corpora: list[Corpus], places: np.ndarray, max_length: int) -> None:
        """Takes `places`, (examples, 2): a corpus and a record in it."""
        self.corpora, self.places, self.max_length = corpora, places, max_length

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override] # no slices
        source, record = map(int, self.places[index])
        return self.corpora[source].example(record, source, self.max_length)


@dataclass(frozen=True)
class Source:
    """What one upstream run gives to training."""

    path: str
    num_records: int
    num_unused: int
    """Records left out to keep to the shares that were asked for."""
    num_tokens: int
    token_share: float


@dataclass(frozen=True)
class Dataset:
    """Examples for training, others held out, and what cutting at the maximal length cost."""

    train: Sequence[Example]
    heldout: Sequence[Example]
    sources: list[Source]
    num_truncated: int
    truncated_share: float
    """Share of all tokens that were cut off."""


def load_dataset(config: "TrainConfig", tokenizer: "PreTrainedTokenizerBase") -> Dataset:
    """Reads `documents.jsonl` (objective `documents`) or `chats.jsonl` (`imitation`) of each directory in `config.data`.

    A mix of documents and chats has both files; then `documents` trains on both, each in its own way.

    Raises:
        Refused: a directory has no such file, there is nothing in them to train on, or a record has no labelled token.
    """
    parts = _parts(config)
    names = [str(path if objective == config.objective else path / FILES[objective]) for path, objective in parts]
    corpora = [read_corpus(path, objective, tokenizer, config.document_prefix) for path, objective in parts]
    places = np.array([(i, j) for i, corpus in enumerate(corpora) for j in range(len(corpus))], dtype=np.int64)
    if not len(places):
        raise Refused(f"{', '.join(config.data)}: not one record of the kind that objective={config.objective} reads")
    for corpus in corpora:
        corpus.check_targets(config.max_length)
    lengths = np.concatenate([corpus.lengths for corpus in corpora])
    kept = np.minimum(lengths, config.max_length)
    order = np.random.default_rng(config.seed).permutation(len(places))
    is_heldout = np.zeros(len(places), dtype=bool)
    is_heldout[order[: _num_heldout(config, len(places))]] = True
    is_trained = ~is_heldout & _within_shares(config, places[:, 0], np.where(is_heldout, 0, kept), order)
    return Dataset(
        train=Examples(corpora, places[is_trained], config.max_length),
        heldout=Examples(corpora, places[is_heldout], config.max_length),
        sources=[
            Source(
                path=name,
                num_records=int((of_source := is_trained & (places[:, 0] == i)).sum()),
                num_unused=int((~is_trained & ~is_heldout & (places[:, 0] == i)).sum()),
                num_tokens=int(kept[of_source].sum()),
                token_share=float(kept[of_source].sum() / kept[is_trained].sum()),
            )
            for i, name in enumerate(names)
        ],
        num_truncated=int((lengths > config.max_length).sum()),
        truncated_share=float(1 - kept.sum() / lengths.sum()),
    )


def _num_heldout(config: "TrainConfig", num_records: int) -> int:
    """At least one record where any share is asked for, for a loss that a sweeper can go by."""
    wanted = max(round(num_records * config.heldout_share), int(config.heldout_share > 0))
    if wanted >= num_records:
        raise Refused(
            f"heldout_share={config.heldout_share}: leaves none of {num_records} record(s) to train on; set heldout_share=0"
        )
    return wanted


def _parts(config: "TrainConfig") -> list[tuple[Path, str]]:
    """The directories, each with the objective that one of its files is read for."""
    parts = []
    for path in map(Path, config.data):
        parts.append((path, config.objective))
        if config.objective == "documents" and (path / FILES["imitation"]).exists():
            if config.shares:
                raise Refused(f"shares={config.shares}: {path} is a mix, which has shares of its own; leave shares=[]")
            parts.append((path, "imitation"))
    return parts


def _within_shares(config: "TrainConfig", sources: np.ndarray, tokens: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Which records stay when each source is cut, in a random order, to its share of the largest possible total."""
    chosen = np.ones(len(sources), dtype=bool)
    if not config.shares:
        return chosen
    available = np.array([tokens[sources == i].sum() for i in range(len(config.shares))])
    total = (available / np.array(config.shares)).min()
    if total <= 0:
        raise Refused(f"shares={config.shares}: a run in data has no record left for training")
    for i, share in enumerate(config.shares):
        shuffled = order[sources[order] == i]
        # a record stays while the ones before it leave room for half of it, so that the total is met within one record
        before = np.cumsum(tokens[shuffled]) - tokens[shuffled] / 2
        chosen[shuffled[before > share * total]] = False
    return chosen


@lru_cache(maxsize=2)
def epoch_order(num_examples: int, seed: int | None, epoch: int) -> list[int]:
    """The order of the examples in one pass: a function of seed and epoch, or as they stand where there is no seed."""
    if seed is None:
        return list(range(num_examples))
    order: list[int] = np.random.default_rng((seed, epoch)).permutation(num_examples).tolist()
    return order


def step_examples(dataset: Sequence[Example], step: int, batch_size: int, seed: int | None) -> list[Example]:
    """The examples of one optimizer step; batches run on across the ends of epochs."""
    chosen = []
    for position in range(step * batch_size, (step + 1) * batch_size):
        epoch, place = divmod(position, len(dataset))
        chosen.append(dataset[epoch_order(len(dataset), seed, epoch)[place]])
    return chosen


def deal(examples: Sequence[Example], num_hands: int) -> list[list[Example]]:
    """Splits examples among processes: the longest first, each to whom has the fewest tokens so far."""
    hands: list[list[Example]] = [[] for _ in range(num_hands)]
    loads = [0] * num_hands
    for example in sorted(examples, key=_longest_first):
        lightest = loads.index(min(loads))
        hands[lightest].append(example)
        loads[lightest] += len(example.tokens)
    return hands


def micro_batches(examples: Sequence[Example], max_tokens: int, packed: bool = False) -> list[list[Example]]:
    """Splits a step's examples so that no forward pass exceeds `max_tokens` with its padding; longer ones go alone."""
    return _packed(examples, max_tokens) if packed else list(_padded(examples, max_tokens))


def _padded(examples: Sequence[Example], max_tokens: int) -> Iterator[list[Example]]:
    group: list[Example] = []
    for example in sorted(examples, key=_longest_first):
        if group:
            width = len(group[0].tokens)
            is_full = (len(group) + 1) * width > max_tokens
            wastes = len(group) * width >= _ENOUGH and len(example.tokens) < _CLOSE * width
            if is_full or wastes:
                yield group
                group = []
        group.append(example)
    if group:
        yield group


def _packed(examples: Sequence[Example], max_tokens: int) -> list[list[Example]]:
    """First fit, longest first: within 11/9 of the fewest rows possible (Johnson 1973)."""
    rows: list[list[Example]] = []
    room: list[int] = []
    for example in sorted(examples, key=_longest_first):
        place = next((i for i, free in enumerate(room) if len(example.tokens) <= free), None)
        if place is None:
            rows.append([])
            room.append(max_tokens)
            place = len(rows) - 1
        rows[place].append(example)
        room[place] -= len(example.tokens)
    return rows


def _longest_first(example: Example) -> tuple[int, int, str]:
    return (-len(example.tokens), example.source, example.id)


@dataclass
class Batch:
    """One forward pass. All tensors but the last are (rows, length)."""

    tokens: "torch.Tensor"
    labels: "torch.Tensor"
    """`IGNORED` where nothing is learned; a label is predicted from the tokens before it."""
    sources: "torch.Tensor"
    """The upstream run that each token comes from."""
    positions: "torch.Tensor | None"
    """Where each token stands in its record; None where every row is one record."""
    bounds: "torch.Tensor | None"
    """(records + 1,) where the records of a packed row begin and the last one ends, padding counted as a record."""


def collate(examples: list[Example], pad_id: int, packed: bool = False, width: int | None = None) -> Batch:
    """Lays examples out for one forward pass.

    Args:
        examples: at least one.
        pad_id: stands where there is no token.
        packed: one row for all instead of a row each.
        width: fills rows up to this length, where it is longer than they are.
    """
    import torch

    lines = [examples] if packed else [[example] for example in examples]
    longest = max(sum(len(example.tokens) for example in line) for line in lines)
    shape = (len(lines), max(longest, width or 0))
    tokens, labels = torch.full(shape, pad_id), torch.full(shape, IGNORED)
    sources, positions = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for row, line in enumerate(lines):
        start = 0
        for example in line:
            place = slice(start, start + len(example.tokens))
            tokens[row, place] = torch.tensor(example.tokens)
            labels[row, place] = torch.tensor(example.labels)
            labels[row, start] = IGNORED  # else the end of one record would have to predict the next
            sources[row, place] = example.source
            positions[row, place] = torch.arange(len(example.tokens))
            start = place.stop
        positions[row, start:] = torch.arange(shape[1] - start)
    if not packed:
        return Batch(tokens, labels, sources, None, None)
    lengths = torch.tensor([0, *(len(example.tokens) for example in examples)])
    bounds = torch.cat([lengths.cumsum(0), torch.tensor([shape[1]])])
    return Batch(tokens, labels, sources, positions, bounds.to(torch.int32))
