import subprocess
import sys
from pathlib import Path

from pipeline.seeds import derive_seed

ROOT = Path(__file__).parent.parent


def test_the_same_words_give_the_same_seed_in_another_process() -> None:
    code = "from pipeline.seeds import derive_seed; print(derive_seed(0, 'types/founding'))"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(told.stdout) == derive_seed(0, "types/founding")


def test_a_seed_fits_into_31_bits_and_tells_words_apart() -> None:
    seeds = [derive_seed(run, f"document/{i}") for run in range(2) for i in range(500)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert max(seeds) > 2**30


def test_where_one_word_ends_and_the_next_begins_matters() -> None:
    assert len({derive_seed("ab", "c"), derive_seed("a", "bc"), derive_seed("abc"), derive_seed("c", "ab")}) == 4
