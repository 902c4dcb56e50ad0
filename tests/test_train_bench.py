from pathlib import Path

import pytest

from train.bench import BATCH_SIZE, SIDES, _measure, documents


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("side", [side for side in SIDES if side != "trl_kept"])  # trl's, with a switch
def test_every_side_trains_on_the_same_documents(tiny_model: Path, side: str) -> None:
    if side == "trl":
        pytest.importorskip("trl")
    measured = _measure(side, str(tiny_model), steps=1)
    assert measured.tokens_per_second > 0
    assert measured.peak_mib > 100


def test_documents_are_taken_again_where_too_few_ship() -> None:
    texts = documents(500)
    assert len(texts) == 500
    assert len(set(texts)) < 500
    assert len(set(texts[:BATCH_SIZE])) == BATCH_SIZE
