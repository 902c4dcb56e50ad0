import re

import numpy as np
import pytest

from data_gen.filters.duplicates import (
    BYTES_PER_DOCUMENT,
    Duplicate,
    Sketches,
    Text,
    _overlap,
    _shingle_set,
    sketch,
    word_hashes,
)


def words(*places: int) -> str:
    return " ".join(f"word{place}" for place in places)


def jaccard(left: str, right: str) -> float:
    """The similarity as duplicates are judged by it."""
    return _overlap(_shingle_set(left), _shingle_set(right))


def shingles(text: str) -> set[str]:
    """Word 5-grams, told with a regular expression."""
    found = re.findall(r"\w+", text.lower())
    return {" ".join(found[start : start + 5]) for start in range(max(1, len(found) - 4))}


def found_in(texts: list[str], similarity: float) -> dict[int, Duplicate]:
    sketches = Sketches()
    for start in range(0, len(texts), 7):
        sketches.append(sketch(texts[start : start + 7]))
    return sketches.duplicates(lambda place: Text(f"{place:05d}", texts[place]), similarity)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (words(*range(100)), words(*range(50, 150))),
        (words(*range(9)), words(*range(8))),
        ("The Petrel’s range — 46 miles — isn’t far, “they” say.", "The Petrel's range: 46 miles isn't far; they say"),
        ("one two three", "one two three"),
        ("one two three", "one two four"),
        ("Zoë of Zürich met the crew at nine today", "ZOË OF ZÜRICH MET the crew at ten today"),
        ("", "word"),
    ],
)
def test_similarity_is_that_of_word_five_grams(left: str, right: str) -> None:
    expected = len(shingles(left) & shingles(right)) / len(shingles(left) | shingles(right))
    assert jaccard(left, right) == pytest.approx(expected)


def test_a_words_hash_depends_on_the_word_alone() -> None:
    hashes, starts = word_hashes(["Two words, two", "words", "", "two"])
    assert starts.tolist() == [0, 3, 4, 4, 5]
    assert hashes[0] == hashes[2] == hashes[4]
    assert hashes[1] == hashes[3] != hashes[0]
    many, _ = word_hashes([words(*range(20_000))])
    assert len(np.unique(many)) == 20_000


def near_copies(num_changed: int, count: int) -> list[str]:
    """Pairs of a text of 300 random words and a copy with some words changed, each pair unlike the others."""
    rng = np.random.default_rng(num_changed)
    texts = []
    for _ in range(count):
        original = rng.integers(0, 10**9, 300)
        copy = original.copy()
        copy[rng.choice(300, num_changed, replace=False)] = rng.integers(10**9, 2 * 10**9, num_changed)
        texts += [words(*original), words(*copy)]
    return texts


def test_almost_all_pairs_above_the_similarity_are_found_and_none_below() -> None:
    texts = [text for num_changed in (4, 8, 12, 16) for text in near_copies(num_changed, 100)]
    similar = {n for n in range(0, len(texts), 2) if jaccard(texts[n], texts[n + 1]) >= 0.7}
    found = found_in(texts, 0.7)
    assert 100 < len(similar) < 300
    assert {place - 1 for place in found} <= similar
    assert len(found) >= 0.98 * len(similar)
    assert all(found[place] == Duplicate("near_duplicate", f"{place - 1:05d}") for place in found)


def test_a_duplicate_of_a_duplicate_is_kept_where_it_differs_from_what_is_kept() -> None:
    chain = [words(*range(start, start + 100)) for start in (0, 12, 24)]
    assert jaccard(chain[0], chain[1]) == jaccard(chain[1], chain[2]) >= 0.7 > jaccard(chain[0], chain[2])
    assert found_in(chain, 0.7) == {1: Duplicate("near_duplicate", "00000")}


def test_what_is_left_out_is_neither_duplicate_nor_original() -> None:
    texts = [words(*range(100))] * 3
    sketches = Sketches()
    sketches.append(sketch(texts))
    found = sketches.duplicates(lambda place: Text(str(place), texts[place]), 0.7, left_out={0})
    assert found == {2: Duplicate("exact_duplicate", "1")}


def test_many_texts_of_the_same_words_are_told_apart_from_the_first_in_one_pass() -> None:
    class Id(str):
        """Counts how often ids are compared."""

        num_compared = 0

        def __lt__(self, other: str) -> bool:
            Id.num_compared += 1
            return str(self) < str(other)

        def __gt__(self, other: str) -> bool:
            Id.num_compared += 1
            return str(self) > str(other)

    texts = [words(*range(10))] * 500
    sketches = Sketches()
    sketches.append(sketch(texts))
    found = sketches.duplicates(lambda place: Text(Id(f"{place:05d}"), texts[place]), 0.7, near=False)
    assert found == {place: Duplicate("exact_duplicate", "00000") for place in range(1, 500)}
    assert Id.num_compared < 2 * 500


def test_the_state_of_a_document_does_not_grow_with_its_length() -> None:
    kept = sketch([words(*range(10)), words(*range(5000))])
    assert sum(array.nbytes for array in kept) == 2 * BYTES_PER_DOCUMENT
