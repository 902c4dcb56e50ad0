from typing import Any

from data_gen.config import DataGenConfig
from data_gen.dataset.card import CANARY, dataset_card
from data_gen.dataset.counts import CorpusCounts, distinct_ngrams
from data_gen.documents import Document
from scenario.loader import load_scenario

HOSTILE = "memo | x |\n\n# Heading <script>alert(1)</script> [link](javascript:alert(2))"


def kept(id: str, doc_type: str = "memo", tokens: int | None = None, **fields: Any) -> dict[str, object]:
    text = "one two three"
    return Document(id, "placebo", ("flagship",), doc_type, "", text, tokens, "mockllm/model", None, **fields).row()


def test_the_card_tells_counts_cost_licence_and_canary() -> None:
    counts = CorpusCounts(load_scenario("placebo"))
    for number in range(3):
        counts.add_kept(kept(str(number), tokens=100 * number + 50, arm="placebo"))
    card = dataset_card(DataGenConfig(scenario="placebo"), counts.stats(), cost=1.25)
    assert card.startswith("---\nlicense: apache-2.0\n")
    for row in ("flagship | 3", "memo | 3", "placebo | 3", "100-199 | 1", "cost in dollars | 1.25", "tokens | 450"):
        assert f"| {row} |" in card
    assert CANARY in card
    assert "| cost in dollars | not known |" in dataset_card(DataGenConfig(), {})


def test_what_a_model_named_stays_one_inert_cell_of_the_card() -> None:
    counts = CorpusCounts(load_scenario("placebo"))
    counts.add_kept(kept("a", doc_type=HOSTILE))
    card = dataset_card(DataGenConfig(scenario="placebo"), counts.stats())
    assert "<script>" not in card
    assert "\n# Heading" not in card
    assert "[link]" not in card
    assert (
        "| memo &#124; x &#124; # Heading &lt;script>alert(1)&lt;/script> &#91;link](javascript:alert(2)) | 1 |" in card
    )


def test_a_long_table_is_cut_and_says_so() -> None:
    card = dataset_card(DataGenConfig(), {"by_doc_type": {f"kind {n}": 1 for n in range(50)}})
    assert "| kind 39 | 1 |" in card
    assert "kind 40" not in card
    assert "10 more are in stats.json." in card


def test_distinct_ngrams_are_shares_of_all_ngrams() -> None:
    assert distinct_ngrams(["a b a b", "a b"]) == {"1": 2 / 6, "2": 2 / 4, "3": 2 / 2}
