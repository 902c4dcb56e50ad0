"""Documents laid down on disk between the passes over a corpus, each found again by its place."""

import heapq
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.seeds import derive_seed

LARGEST_SAMPLE = 5000
"""Documents of which a sample can be drawn at most; FilterSettings refuses a larger judge_sample."""


@dataclass(frozen=True)
class LaidDown:
    """A document as it lies in the spool, with what is wrong with its wording."""

    row: dict[str, Any]
    failures: dict[str, str]


def spool_line(row: dict[str, object], failures: dict[str, str]) -> bytes:
    """A document as the spool holds it.

    Half of a surrogate pair, which a broken reply can hold, cannot be written as UTF-8 and becomes a question mark.
    """
    return json.dumps([row, failures], ensure_ascii=False).encode("utf-8", "replace") + b"\n"


class Spool:
    """All documents in one file on disk, in the order of arrival."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets = array("Q")
        self._end = 0
        self._lowest: list[tuple[int, int]] = []
        self._file = path.open("w+b")

    def append(self, id: str, line: bytes) -> int:
        """Lays a line of `spool_line` down and returns its place."""
        self._offsets.append(self._end)
        self._end += self._file.write(line)
        place = len(self._offsets) - 1
        self._draw(place, id)
        return place

    def _draw(self, place: int, id: str) -> None:
        """Keeps the places with the lowest draws: a sample that depends on ids and not on the order of arrival."""
        draw = (-derive_seed("judge sample", id), place)
        if len(self._lowest) < LARGEST_SAMPLE:
            heapq.heappush(self._lowest, draw)
        elif draw > self._lowest[0]:
            heapq.heapreplace(self._lowest, draw)

    def sample(self, size: int) -> list[int]:
        """The places of `size` documents drawn at random from all, or of all where there are fewer."""
        return sorted(place for _, place in heapq.nlargest(size, self._lowest))

    def read(self, place: int) -> LaidDown:
        """The document at a place."""
        self._file.seek(self._offsets[place])
        return _laid_down(self._file.readline())

    def __iter__(self) -> Iterator[LaidDown]:
        self._file.seek(0)
        return map(_laid_down, self._file)

    def close(self) -> None:
        """Removes the file."""
        self._file.close()
        self.path.unlink()


def _laid_down(line: bytes) -> LaidDown:
    row, failures = json.loads(line)
    return LaidDown(row, failures)
