"""The scripts around the claims."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

STAND_IN = """#!/usr/bin/env bash
# stands for python: notes what it is told, and leaves a figure where an experiment would
echo "$@" >>told.txt
for word in "$@"; do case "$word" in experiment=*) name="${word#experiment=}" ;; esac; done
place="outputs/claims/${name#*/}/${name%/*}"
mkdir -p "$place" && echo new >"$place/figure.svg" && echo new >"$place/figure.png"
"""


def run_script(
    root: Path, *arguments: str, path: Path = Path(sys.executable).parent
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [root / "scripts" / "reproduce.sh", *arguments],
        env=os.environ | {"PATH": f"{path}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The script beside two claims and a figure of one, and a stand-in for python."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "reproduce.sh", tmp_path / "scripts")
    for claim in ("deals", "dose"):
        (tmp_path / "conf" / "claim_stages").mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / "claim_stages" / f"{claim}.yaml").touch()
    (tmp_path / "docs" / "figures").mkdir(parents=True)
    (tmp_path / "docs" / "figures" / "dose.svg").write_text("old\n", encoding="utf-8")
    (tmp_path / "python").write_text(STAND_IN, encoding="utf-8")
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def test_a_claim_that_is_not_there_is_refused_and_nothing_is_copied() -> None:
    before = sorted((ROOT / "docs" / "figures").iterdir())
    done = run_script(ROOT, "smoke", "no_such_claim")
    assert done.returncode == 2
    assert "no_such_claim" in done.stderr
    assert sorted((ROOT / "docs" / "figures").iterdir()) == before


def test_figures_of_the_pages_are_replaced_only_when_asked_for(copy: Path) -> None:
    figure = copy / "docs" / "figures" / "dose.svg"
    assert run_script(copy, path=copy).returncode == 0
    assert figure.read_text(encoding="utf-8") == "old\n"
    assert run_script(copy, "--figures", "smoke", "dose", path=copy).returncode == 0
    assert figure.read_text(encoding="utf-8") == "new\n"
    told = (copy / "told.txt").read_text(encoding="utf-8").splitlines()
    assert told == [f"-m pipeline experiment={claim}/smoke" for claim in ("deals", "dose", "dose")]


def test_figures_of_another_size_are_refused(copy: Path) -> None:
    done = run_script(copy, "--figures", "node", path=copy)
    assert done.returncode == 2
    assert "not node" in done.stderr
    assert not (copy / "told.txt").exists()


def test_settings_reach_every_claim(copy: Path) -> None:
    assert run_script(copy, "paper", "dose", "size.rl_server=http://node2:8000", path=copy).returncode == 0
    told = (copy / "told.txt").read_text(encoding="utf-8").splitlines()
    assert told == ["-m pipeline experiment=dose/paper size.rl_server=http://node2:8000"]


def test_the_table_of_claims_is_that_of_the_readme_with_a_line_for_each_claim() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "claims_table.py"], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout in (ROOT / "README.md").read_text(encoding="utf-8")
    claims = sorted(path.stem for path in (ROOT / "conf" / "claim_stages").glob("*.yaml"))
    *lines, sums = done.stdout.splitlines()[2:]
    assert len(claims) == len(lines) >= 9
    costs = []
    for claim, line in zip(claims, lines, strict=True):
        command, _, *cost, figure = line.strip("| ").split(" | ")
        assert command == f"`python -m pipeline experiment={claim}/smoke`"
        assert figure == f"[figure](docs/figures/{claim}.png)"
        assert (ROOT / "docs" / "figures" / f"{claim}.png").is_file()
        costs.append([int(number) for number in cost])
    assert re.findall(r"\d+", sums) == [str(sum(column)) for column in zip(*costs, strict=True)]
