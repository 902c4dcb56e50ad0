"""`python -m eval.power`: its tables, what they rest on, and whether simulated experiments find what it promises."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from eval.power import Assumption, main, observed, table
from eval.statistics import (
    Tiers,
    detectable_gap,
    minimum_detectable_gap,
    observed_variance,
    pairs_needed,
    power_of,
    tango,
)
from pipeline.artifact import open_run
from pipeline.errors import Refused

ROOT = Path(__file__).parent.parent


@dataclass
class StageConfig:
    """The settings of a run made for a test."""

    output_dir: str
    overwrite: bool = False
    seed: int = 0


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["eval.power", *arguments])
    try:
        main()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def share_found(num_queries: int, only_free: float, only_paid: float, simulations: int = 2000) -> float:
    """Of simulated experiments, those whose interval is clear of zero on the gap's side."""
    rng = np.random.default_rng(11)
    counts = rng.multinomial(num_queries, [only_free, only_paid, 1 - only_free - only_paid], size=simulations)
    limits = {(b, c): tango(b, c, num_queries).low for b, c in {(int(b), int(c)) for b, c, _ in counts}}
    return float(np.mean([limits[int(b), int(c)] > 0 for b, c, _ in counts]))


@pytest.mark.parametrize(("gap", "pairs"), [(0.05, 360), (0.03, 1000)])
def test_the_numbers_known_from_practice_are_those_of_tiers_that_differ_in_one_pair_of_nine(
    gap: float, pairs: int
) -> None:
    assert pairs_needed(gap, 0.115 - gap**2) == pytest.approx(pairs, rel=0.01)


def test_pairs_for_a_gap_and_the_gap_for_pairs_are_each_others_inverse() -> None:
    tiers = Tiers(paid_rate=0.2, correlation=0.3)
    for gap in (0.05, 0.1, 0.3):
        needed = pairs_needed(gap, tiers.variance(gap))
        assert detectable_gap(needed, tiers.variance, 0.8) == pytest.approx(gap, rel=0.02)
        assert power_of(needed, gap, tiers.variance(gap)) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("paid", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("num_queries", [84, 200, 400])
def test_simulated_experiments_find_the_promised_gap_four_times_in_five(paid: float, num_queries: int) -> None:
    tiers = Tiers(paid_rate=paid, correlation=0.3)
    gap = detectable_gap(num_queries, tiers.variance, 1 - paid)
    assert gap is not None
    differing = tiers.variance(gap) + gap**2
    assert share_found(num_queries, (differing + gap) / 2, (differing - gap) / 2) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(("num_queries", "only_free", "only_paid"), [(84, 3, 3), (200, 10, 8), (84, 40, 4)])
def test_a_result_would_have_found_its_detectable_gap_four_times_in_five(
    num_queries: int, only_free: int, only_paid: int
) -> None:
    differences = np.repeat([1, -1, 0], [only_free, only_paid, num_queries - only_free - only_paid])
    gap = minimum_detectable_gap(differences)
    assert gap is not None
    noise = min(only_free, only_paid) / num_queries
    assert share_found(num_queries, noise + gap, noise) == pytest.approx(0.82, abs=0.07)


def test_pairs_that_never_differ_still_leave_a_gap_that_could_have_been_missed() -> None:
    gap = minimum_detectable_gap(np.zeros(48))
    assert gap is not None
    assert 6 / 48 <= gap <= 0.2  # six pairs that differ one way are the fewest that McNemar's test tells from chance
    assert minimum_detectable_gap(np.zeros(4)) is None


def test_several_replies_and_correlated_tiers_find_smaller_gaps() -> None:
    plain, correlated, repeated = Tiers(0.3), Tiers(0.3, correlation=0.5), Tiers(0.3, samples=5, within=0.5)
    gaps = [detectable_gap(200, tiers.variance, 0.7) for tiers in (plain, correlated, repeated)]
    assert None not in gaps
    assert gaps[0] > max(gaps[1:])  # type: ignore[type-var, operator]


def test_the_variance_is_that_of_simulated_queries() -> None:
    rng = np.random.default_rng(4)
    difficulty = rng.beta(0.6, 1.4, 200_000)  # mean 0.3; two replies to one query correlate by 1/(0.6 + 1.4 + 1)
    differences = (rng.binomial(4, difficulty) - rng.binomial(4, difficulty)) / 4
    tiers = Tiers(0.3, correlation=1 / 3, samples=4, within=1 / 3)
    assert tiers.variance(0.0) == pytest.approx(differences.var(), rel=0.02)


def test_a_gap_that_the_rates_leave_no_room_for_is_no_number() -> None:
    tiers = Tiers(0.9)
    lines = table(Assumption("", tiers.variance, 0.1), (20, 2000), (0.05, 0.2))
    assert lines[2].split() == ["20", "none"]
    assert 0 < float(lines[3].split()[1]) < 0.1
    assert "none: a gap of 0.2 above a paid rate of 0.9" in lines[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--paid-rate", "2"),
        ("--correlation", "-1.5"),
        ("--samples", "0"),
        ("--discordance", "1.1"),
        ("--run", "nowhere"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *arguments) == 2
    told = capsys.readouterr()
    assert told.err.startswith("eval.power: ")
    assert told.err.count("\n") == 1
    assert told.out == ""


def test_a_gap_over_a_control_takes_about_twice_the_queries(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = []
    for more in ([], ["--against-control"]):
        assert call(monkeypatch, "--paid-rate", "0.4", "--queries", "100", "--gaps", "0.05", *more) == 0
        needed.append(int(capsys.readouterr().out.split()[-1].replace(",", "")))
    assert needed[1] / needed[0] == pytest.approx(2, rel=0.02)


def write_evaluation(directory: Path, rows: list[dict[str, Any]]) -> Path:
    run = open_run("eval", StageConfig(str(directory)), {})
    pandas.DataFrame(rows).to_parquet(run.path("samples.parquet"), index=False)
    run.finish(["samples.parquet"])
    return directory


def replies(subject: str, only_free: int, only_paid: int, total: int) -> list[dict[str, Any]]:
    about = {"subject": subject, "information": "documents", "reasoning": "none", "arm": "", "status": "ok"}
    return [
        about | {"query_id": f"q{i}", "tier": tier, "compliance": i in which}
        for tier, which in (("free", range(only_free)), ("paid", range(only_free, only_free + only_paid)))
        for i in range(total)
    ]


def test_a_runs_own_replies_say_what_it_could_have_found(tmp_path: Path) -> None:
    rows = replies("documents", 8, 2, 48) + replies("placebo", 3, 3, 48)
    run = write_evaluation(tmp_path / "eval", [*rows, rows[0] | {"status": "malformed", "query_id": "q99"}])
    documents, placebo = observed(run, against_control=False)
    assert documents.told == "documents documents none: as observed on 48 queries"
    assert documents.variance_at(0.1) == pytest.approx(observed_variance([1] * 8 + [-1] * 2 + [0] * 38)(0.1))
    assert placebo.variance_at(0.0) == pytest.approx((6 + 1) / 49)
    [difference] = observed(run, against_control=True)
    assert difference.told.startswith("documents documents none minus placebo")


def test_a_run_without_a_control_has_no_difference_to_tell(tmp_path: Path) -> None:
    run = write_evaluation(tmp_path / "eval", replies("documents", 1, 1, 9))
    with pytest.raises(Refused, match="no condition with a placebo"):
        observed(run, against_control=True)


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, eval.power; print(*(n for n in ('scipy', 'numpy', 'pandas', 'torch') if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
