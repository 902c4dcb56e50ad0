"""Documents without a model, as many as a benchmark needs: random words of the shipped corpus around a true sentence.

The words have the corpus's frequencies, so that filters find as much to look at as in prose; every document states one
fact in a passage of the corpus; every twentieth is a lightly edited copy. Document n is the same whatever else is made.
"""

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np

from data_gen.documents import Document
from pipeline.seeds import derive_seed
from scenario.evidence import WINDOW, sentences
from scenario.loader import Scenario

NUM_WORDS = 525
"""Words of a document, about 700 tokens."""

COPY_EVERY = 20
_COPY_OF = 7
"""A copy is one of the document so many places before it."""
_EDITED_WORDS = 6
_SENTENCE_WORDS = 16


class SyntheticDocuments:
    """Makes documents of a scenario by their number."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        texts = [document.text for document in scenario.corpus]
        counts = Counter(word.lower() for text in texts for word in re.findall(r"[A-Za-z]{1,12}", text))
        self._words = np.array(sorted(counts))
        weights = np.array([counts[word] for word in self._words], dtype=float)
        self._cumulative = np.cumsum(weights / weights.sum())
        self._passages = {fact.id: _passages(scenario, fact.id, texts) for fact in scenario.facts}

    def stream(self, count: int) -> Iterator[Document]:
        """The first `count` documents."""
        return map(self.document, range(count))

    def document(self, number: int) -> Document:
        """Document `number`, a copy of an earlier one where its turn has come."""
        is_copy = number % COPY_EVERY == COPY_EVERY - 1
        fact, words = self._content(number - _COPY_OF if is_copy else number)
        if is_copy:
            rng = np.random.default_rng(derive_seed("copy", number))
            for place in rng.choice(len(words), _EDITED_WORDS, replace=False):
                words[place] = "edited"
        return Document(
            id=f"synthetic-{number:08d}",
            scenario=self.scenario.name,
            fact_ids=(fact,),
            doc_type="synthetic",
            idea="",
            text=" ".join(words),
            tokens=None,
            generator="synthetic",
            prompt_sha256=None,
        )

    def _content(self, number: int) -> tuple[str, list[str]]:
        rng = np.random.default_rng(derive_seed("synthetic", number))
        fact = self.scenario.facts[number % len(self.scenario.facts)].id
        passage = self._passages[fact][int(rng.integers(len(self._passages[fact])))]
        places = np.searchsorted(self._cumulative, rng.random(NUM_WORDS - len(passage)))
        words = self._words[np.minimum(places, len(self._words) - 1)].tolist()
        for end in range(_SENTENCE_WORDS - 1, len(words), _SENTENCE_WORDS):
            words[end] += "."
        half = len(words) // (2 * _SENTENCE_WORDS) * _SENTENCE_WORDS
        return fact, [*words[:half], *passage, *words[half:]]


def _passages(scenario: Scenario, fact_id: str, texts: list[str]) -> list[list[str]]:
    """Passages of neighbouring sentences that state the fact, as words."""
    fact = scenario.fact(fact_id)
    found = []
    for text in texts:
        parts = sentences(text)
        windows = (" ".join(parts[start : start + WINDOW]) for start in range(len(parts)))
        found += [window.split() for window in windows if fact.is_stated_in(window)][:1]
    return found
