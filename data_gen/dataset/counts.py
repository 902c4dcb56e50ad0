"""What is to be said of a corpus, counted while its documents go by."""

import heapq
import re
from collections import Counter
from typing import Any

from data_gen.documents import num_words
from pipeline.seeds import derive_seed
from scenario.loader import Scenario

DISTINCT_SAMPLE = 1000
"""Documents over which distinct n-grams are counted. Their share falls with the size of a text, so that only samples of
the same size can be compared."""

ALARMING_SURVIVAL = 0.9
"""Share of documents that pass, below which a run says so wherever it is told of."""

_DUPLICATES = ("exact_duplicate", "near_duplicate")
_BIN_STARTS = (0, 100, 200, 300, 400, 500, 750, 1000, 1500, 2000, 4000)


class CorpusCounts:
    """Counts of kept and rejected documents, given as rows of documents.jsonl and rejects.jsonl."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.num_kept = self.num_rejected = self.num_revised = self.num_cut_off = 0
        self.judge: dict[str, Any] | None = None
        """What a judge model found, and how often it agreed with the tests on wording."""
        self._by: dict[str, Counter[str]] = {
            key: Counter() for key in ("fact", "doc_type", "arm", "language", "generator")
        }
        self._reasons: Counter[str] = Counter()
        self._all_reasons: Counter[str] = Counter()
        self._words: Counter[int] = Counter()
        self._tokens: Counter[int] = Counter()
        self._sample: list[tuple[int, str, str]] = []

    def add_kept(self, row: dict[str, Any]) -> None:
        """Counts a document of the corpus."""
        self.num_kept += 1
        self._count_any(row)
        self._by["fact"].update(row["fact_ids"])
        for key in ("doc_type", "arm", "language", "generator"):
            self._by[key][row[key]] += 1
        self._words[num_words(row["text"])] += 1
        if row["tokens"] is not None:
            self._tokens[row["tokens"]] += 1
        draw = (-derive_seed("distinct", row["id"]), row["id"], row["text"])
        if len(self._sample) < DISTINCT_SAMPLE:
            heapq.heappush(self._sample, draw)
        else:
            heapq.heappushpop(self._sample, draw)

    def add_reject(self, row: dict[str, Any]) -> None:
        """Counts a rejected document, once for the reason that is told and once for each that it has."""
        self.num_rejected += 1
        self._count_any(row)
        self._by["generator"][row["generator"]] += 1
        self._reasons[row["reason"]] += 1
        self._all_reasons.update(each["reason"] for each in row["reasons"])

    def _count_any(self, row: dict[str, Any]) -> None:
        self.num_revised += row["is_revised"]
        self.num_cut_off += row["is_cut_off"]

    def stats(self) -> dict[str, Any]:
        """The content of stats.json; shares and rates are fractions, and null where there is nothing to take them of."""
        total = self.num_kept + self.num_rejected
        compared = self.num_kept + sum(self._reasons[name] for name in _DUPLICATES)
        return {
            "scenario": self.scenario.name,
            "generator": ", ".join(sorted(self._by["generator"])),
            "num_documents": self.num_kept,
            "num_rejected": self.num_rejected,
            "survival": self.num_kept / total if total else None,
            "survival_is_low": total > 0 and self.num_kept < ALARMING_SURVIVAL * total,
            "rejected_by_reason": dict(self._reasons.most_common()),
            "rejected_all_reasons": dict(self._all_reasons.most_common()),
            "duplicate_rates": {name: self._reasons[name] / compared if compared else None for name in _DUPLICATES},
            "by_fact": {fact.id: self._by["fact"][fact.id] for fact in self.scenario.facts},
            "by_doc_type": dict(self._by["doc_type"].most_common()),
            "by_arm": dict(self._by["arm"].most_common()),
            "by_language": dict(self._by["language"].most_common()),
            "words": sum(size * count for size, count in self._words.items()),
            "median_words": _median(self._words),
            "tokens": sum(size * count for size, count in self._tokens.items()) if self._tokens else None,
            "num_without_token_count": self.num_kept - self._tokens.total(),
            "tokens_histogram": _histogram(self._tokens),
            "words_histogram": _histogram(self._words),
            "distinct_ngrams": distinct_ngrams([text for _, _, text in self._sample]),
            "num_in_distinct_sample": len(self._sample),
        } | ({} if self.judge is None else {"judge": self.judge})


def distinct_ngrams(texts: list[str]) -> dict[str, float | None]:
    """Different word n-grams as a share of all, for n from 1 to 3 (distinct-n, Li et al. 2016, section 5.3)."""
    seen: dict[int, set[tuple[str, ...]]] = {1: set(), 2: set(), 3: set()}
    total = Counter[int]()
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        for n, known in seen.items():
            grams = list(zip(*(words[start:] for start in range(n)), strict=False))
            known.update(grams)
            total[n] += len(grams)
    return {str(n): len(known) / total[n] if total[n] else None for n, known in seen.items()}


def _median(sizes: Counter[int]) -> int | None:
    """The upper median of values given with their counts."""
    left = sizes.total() // 2
    for size in sorted(sizes):
        left -= sizes[size]
        if left < 0:
            return size
    return None


def _histogram(sizes: Counter[int]) -> dict[str, int]:
    """How many values fall between one bin's start and the next's; empty where nothing was counted."""
    bounds = [*zip(_BIN_STARTS, _BIN_STARTS[1:], strict=False), (_BIN_STARTS[-1], None)]
    if not sizes:
        return {}
    return {
        f"{low}-{high - 1}" if high else f"{low}+": sum(
            count for size, count in sizes.items() if size >= low and (high is None or size < high)
        )
        for low, high in bounds
    }
