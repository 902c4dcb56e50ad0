"""Exact and near duplicates in a corpus that does not fit into memory.

Each text becomes a sketch of `BYTES_PER_DOCUMENT` bytes as it passes by: a hash of its words in order, and the keys of
`NUM_BANDS` bands of a MinHash over its word 5-grams (signatures by rensa, which is written in Rust). Texts that share a
key are candidates; candidates are read again from where they lie and compared by the true Jaccard similarity of their
5-grams, so that an estimate rejects nothing. What is missed is a pair that shares no band: with 32 bands of 5 rows, one
in 360 at a similarity of 0.7, one in 330,000 at 0.8. Work grows linearly with documents, but for sorting 8-byte keys.

The first by id is kept, whatever the order in which documents arrive.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SHINGLE_WORDS = 5
NUM_BANDS = 32
ROWS_PER_BAND = 5
BYTES_PER_DOCUMENT = 8 * (NUM_BANDS + 1)

Hashes = NDArray[np.uint64]

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_PRIME = np.uint64(0x100000001B3)
_INVERSE = np.uint64(pow(int(_PRIME), -1, 2**64))
_PLACES = np.random.default_rng(0).integers(1, 2**63, size=SHINGLE_WORDS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)

_IS_WORD = np.array([byte >= 128 or chr(byte).isalnum() or chr(byte) == "_" for byte in range(256)])
_PUNCTUATION_LEADS = ((0xC2, None, 2), (0xE2, (0x80, 0x81), 3), (0xE3, (0x80,), 3), (0xEF, (0xBC,), 3))
"""First byte, second bytes (None for any) and length of the UTF-8 forms of spaces, dashes, quotation marks and the like."""


class Text(NamedTuple):
    """A document as it is read again for a comparison."""

    id: str
    text: str


@dataclass(frozen=True)
class Duplicate:
    """Why a document is one, and of which."""

    reason: str
    """`exact_duplicate` or `near_duplicate`."""
    original: str
    """The id of the document that is kept."""


class Sketch(NamedTuple):
    """What is kept of a batch of texts."""

    sequences: Hashes
    """A hash of each text's words in order."""
    bands: Hashes
    """Keys of the shape [texts, bands]."""


def sketch(texts: Sequence[str]) -> Sketch:
    """Sketches a batch of texts; some hundreds at a time are the quickest."""
    words, starts = word_hashes(texts)
    return Sketch(_sequence_hashes(words, starts), _band_keys(*_shingles(words, starts)))


class Sketches:
    """Sketches of documents in the order in which they were added; the place of a document is its number in it."""

    def __init__(self) -> None:
        self._sketches: list[Sketch] = []

    def append(self, batch: Sketch) -> None:
        """Adds the texts of a batch."""
        self._sketches.append(batch)

    def duplicates(
        self,
        read: Callable[[int], Text],
        similarity: float,
        *,
        exact: bool = True,
        near: bool = True,
        left_out: Collection[int] = (),
    ) -> dict[int, Duplicate]:
        """Which places hold duplicates of a document that is kept.

        Args:
            read: the document at a place, from wherever it lies; called for candidates alone.
            similarity: Jaccard similarity of word 5-grams from which two documents are near duplicates.
            exact: look for texts of the same words.
            near: look for nearly the same texts; those of the same words count as such where `exact` is off.
            left_out: places that are neither duplicates nor originals.
        """
        found: dict[int, Duplicate] = {}
        if not self._sketches:
            return found
        if exact:
            found = _same_words(np.concatenate([batch.sequences for batch in self._sketches]), left_out, read)
        if near:
            gone = {*left_out, *found}
            found |= _nearly_the_same([batch.bands for batch in self._sketches], gone, read, similarity)
        return found


def word_hashes(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """A hash for every word of every text, one after the other, and where each text's words start (one more at the end).

    A word is a run of letters, digits and `_`, in lower case. The hash of bytes b is the sum of b[i] * prime^i modulo
    2^64, taken for all words at once as a difference of running sums.
    """
    encoded = [text.lower().encode("utf-8", "replace") + b" " for text in texts]
    data = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    is_word = _word_bytes(data)
    edges = np.flatnonzero(np.diff(is_word, prepend=False))
    starts, ends = edges[0::2], edges[1::2]  # every text ends in a space, so that every word has an end
    powers, inverses = _powers(1 << max(16, int(len(data)).bit_length()))
    sums = np.zeros(len(data) + 1, dtype=np.uint64)
    np.cumsum((data.astype(np.uint64) + np.uint64(1)) * powers[: len(data)], out=sums[1:])
    hashes = _mix((sums[ends] - sums[starts]) * inverses[starts])
    bounds = np.cumsum([0, *map(len, encoded)])
    return hashes, np.searchsorted(starts, bounds).astype(np.int64)


def _word_bytes(data: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which bytes of UTF-8 text are of words; of what is not ASCII, all but the common punctuation."""
    is_word: NDArray[np.bool_] = _IS_WORD[data]
    if data.max(initial=0) < 128:
        return is_word
    for lead, seconds, length in _PUNCTUATION_LEADS:
        places = np.flatnonzero(data == lead)
        if seconds is not None:
            places = places[np.isin(data[places + 1], seconds)]  # a text ends in a space, so that there is a next byte
        for offset in range(length):
            is_word[places + offset] = False
    return is_word


def _sequence_hashes(words: Hashes, starts: NDArray[np.int64]) -> Hashes:
    """A hash of each text's words in order: the sum of what each word and its place mix to."""
    places = np.arange(len(words)) - np.repeat(starts[:-1], np.diff(starts))
    sums = np.zeros(len(words) + 1, dtype=np.uint64)
    np.cumsum(_mix(words + places.astype(np.uint64) * _SPREAD), out=sums[1:])
    return sums[starts[1:]] - sums[starts[:-1]]


def _shingles(words: Hashes, starts: NDArray[np.int64]) -> tuple[Hashes, NDArray[np.int64]]:
    """Hashes of all texts' word 5-grams and where each text's start; a text of fewer words is one shingle."""
    counts = np.diff(starts)
    wanted = np.maximum(counts - SHINGLE_WORDS + 1, 1)
    offsets = np.concatenate([[0], np.cumsum(wanted)])
    padded = np.concatenate([words, np.zeros(SHINGLE_WORDS, dtype=np.uint64)])
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], wanted)
    first = np.repeat(starts[:-1], wanted) + within
    left = np.repeat(counts, wanted) - within  # words from the first to the text's end
    mixed = np.zeros(len(first), dtype=np.uint64)
    for place, factor in enumerate(_PLACES):
        mixed += np.where(left > place, padded[first + place], np.uint64(0)) * factor
    return _mix(mixed), offsets.astype(np.int64)


def _band_keys(shingles: Hashes, offsets: NDArray[np.int64]) -> Hashes:
    """One key for each text and band, of the shape [texts, bands]."""
    from rensa import RMinHash

    signatures = RMinHash.digest_matrix_from_flat_token_hashes(
        shingles, offsets.astype(np.uint64), NUM_BANDS * ROWS_PER_BAND, 0
    )
    rows = np.array(signatures.to_rows(), dtype=np.uint64).reshape(-1, NUM_BANDS, ROWS_PER_BAND)
    return _mix((rows * _PLACES[:ROWS_PER_BAND]).sum(axis=2, dtype=np.uint64))


def _same_words(keys: Hashes, left_out: Collection[int], read: Callable[[int], Text]) -> dict[int, Duplicate]:
    found: dict[int, Duplicate] = {}
    for places in _groups(keys):
        ids = {read(place).id: place for place in places if place not in left_out}
        original = min(ids, default="")
        found |= {place: Duplicate("exact_duplicate", original) for id, place in ids.items() if id != original}
    return found


def _nearly_the_same(
    bands: list[Hashes], gone: Collection[int], read: Callable[[int], Text], similarity: float
) -> dict[int, Duplicate]:
    """Goes by id through the documents that share a key with others, and compares each with those kept before it."""
    groups_of: dict[int, list[int]] = {}
    numbers = count()
    for band in range(NUM_BANDS):
        for places in _groups(np.concatenate([batch[:, band] for batch in bands])):
            staying = [place for place in places if place not in gone]
            if len(staying) > 1:
                number = next(numbers)  # one object for all: there can be millions
                for place in staying:
                    groups_of.setdefault(place, []).append(number)
    shingle_set = lru_cache(maxsize=4096)(lambda place: _shingle_set(read(place).text))
    kept_in: dict[int, list[int]] = {}
    found: dict[int, Duplicate] = {}
    ids = {place: read(place).id for place in groups_of}
    for place in sorted(groups_of, key=lambda place: ids[place]):
        candidates = {other for group in groups_of[place] for other in kept_in.get(group, ())}
        for other in sorted(candidates, key=lambda other: ids[other]):
            if _overlap(shingle_set(other), shingle_set(place)) >= similarity:
                found[place] = Duplicate("near_duplicate", ids[other])
                break
        else:
            for group in groups_of[place]:
                kept_in.setdefault(group, []).append(place)
    return found


def _groups(keys: Hashes) -> list[list[int]]:
    """The places that share a key, for every key that more than one place has."""
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    bounds = np.concatenate([[0], edges, [len(keys)]])
    several = np.flatnonzero(np.diff(bounds) > 1)
    return [order[bounds[i] : bounds[i + 1]].tolist() for i in several]


def _shingle_set(text: str) -> Hashes:
    shingles, _ = _shingles(*word_hashes([text]))
    return np.unique(shingles)


def _overlap(left: Hashes, right: Hashes) -> float:
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / (len(left) + len(right) - shared)


def _mix(values: Hashes) -> Hashes:
    """Spreads the information of 64 bits over all of them (the finaliser of splitmix64)."""
    values = values + _SPREAD
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Any = values ^ (values >> np.uint64(31))
    return mixed


@lru_cache(maxsize=4)
def _powers(size: int) -> tuple[Hashes, Hashes]:
    """The first `size` powers of the prime, and of its inverse, modulo 2^64."""
    return tuple(
        np.cumprod(np.concatenate([[np.uint64(1)], np.full(size, base, dtype=np.uint64)]))
        for base in (_PRIME, _INVERSE)
    )  # type: ignore[return-value]
