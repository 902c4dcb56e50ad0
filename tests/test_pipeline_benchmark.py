import json
from pathlib import Path

import pytest

from pipeline.benchmark import Comparison, Measure, Round, compare, compare_rounds, measure, timed, write_benchmark


def scripted(name: str, numbers: list[float], order: list[str]) -> Measure:
    """A measure that returns these numbers one after the other, and writes down when it was called."""
    left = iter(numbers)

    def next_number() -> float:
        order.append(name)
        return next(left)

    return next_number


def compared(ours: list[float], rival: list[float], unit: str, order: list[str]) -> Comparison:
    measures = scripted("ours", ours, order), scripted("rival", rival, order)
    return compare("work", *measures, rival_name="other", unit=unit, rounds=len(ours))


def test_who_goes_first_alternates() -> None:
    order: list[str] = []
    compared([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], "seconds", order)
    assert order == ["ours", "rival", "rival", "ours", "ours", "rival"]


def test_the_ratio_is_the_median_of_the_rounds_own_ratios_and_not_the_ratio_of_medians() -> None:
    comparison = compared([1.0, 10.0, 3.0], [4.0, 20.0, 30.0], "seconds", [])
    assert comparison.ratio == 4.0  # of 4, 2 and 10
    assert (comparison.ours, comparison.rival) == (3.0, 20.0)


@pytest.mark.parametrize(("unit", "ratio"), [("seconds", 0.5), ("tokens/s", 2.0)])
def test_a_ratio_above_one_means_that_ours_is_better_whatever_the_unit(unit: str, ratio: float) -> None:
    assert compared([4.0], [2.0], unit, []).ratio == ratio


def test_a_warm_up_is_not_counted() -> None:
    order: list[str] = []
    ours, rival = scripted("ours", [9.0, 1.0], order), scripted("rival", [9.0, 2.0], order)
    comparison = compare("work", ours, rival, rival_name="other", unit="seconds", rounds=1, warm_up=True)
    assert comparison.rounds == [Round(1.0, 2.0)]


def test_a_number_without_a_rival_has_no_ratio() -> None:
    comparison = measure("peak memory", 1.5, "GiB")
    assert (comparison.rival, comparison.ratio) == (None, None)
    assert comparison.told() == "peak memory: 1.5 GiB"


def test_timing_runs_the_work_once_and_gives_seconds() -> None:
    calls: list[int] = []
    assert 0 < timed(lambda: calls.append(1))() < 60
    assert calls == [1]


def test_the_file_holds_the_rounds_the_machine_the_versions_and_the_commit(tmp_path: Path) -> None:
    comparison = compare_rounds(
        "work", [Round(2.0, 1.0), Round(2.0, 1.5)], rival_name="other", unit="documents/s", notes={"size": 10}
    )
    path = write_benchmark("sample", [comparison], directory=tmp_path / "bench", packages=["pytest"])
    content = json.loads(path.read_text(encoding="utf-8"))
    assert path.name == "sample.json"
    assert content["comparisons"] == [
        {
            "name": "work",
            "ours": 2.0,
            "rival": 1.25,
            "rival_name": "other",
            "unit": "documents/s",
            "ratio": pytest.approx((2 + 2 / 1.5) / 2),
            "rounds": [{"ours": 2.0, "rival": 1.0}, {"ours": 2.0, "rival": 1.5}],
            "notes": {"size": 10},
        }
    ]
    assert content["machine"]["cores"] >= 1
    assert content["machine"]["memory_gib"] > 0
    assert {"numpy", "pytest"} <= set(content["versions"])
    assert content["commit"]
