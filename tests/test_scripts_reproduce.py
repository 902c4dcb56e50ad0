"""The scripts around the claims."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_a_claim_that_is_not_there_is_refused_and_nothing_is_copied() -> None:
    before = sorted((ROOT / "docs" / "figures").iterdir())
    done = subprocess.run(
        [ROOT / "scripts" / "reproduce.sh", "smoke", "no_such_claim"],
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no_such_claim" in done.stderr
    assert sorted((ROOT / "docs" / "figures").iterdir()) == before


def test_the_table_of_claims_has_a_line_for_each_claim_with_its_cost_and_files() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "claims_table.py"], capture_output=True, text=True, timeout=300, check=True
    )
    claims = sorted(path.stem for path in (ROOT / "conf" / "claim_stages").glob("*.yaml"))
    lines = [line for line in done.stdout.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in lines] == claims
    assert len(claims) >= 9
    for claim, line in zip(claims, lines, strict=True):
        assert re.search(r"\| \d+, \d+ \| \d+, \d+ \|", line)
        assert f"`{claim}/results.csv`, [figure](docs/figures/{claim}.png)" in line
