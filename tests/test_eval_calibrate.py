import json
from pathlib import Path

import pytest

import eval.calibrate as calibration
from eval.calibrate import CALIBRATION_DIR, JUDGES, calibrate


def labelled(judge: str) -> list[dict[str, object]]:
    """The examples that a judge is measured on, by another road than its own."""
    lines = (CALIBRATION_DIR / JUDGES[judge][0]).read_text(encoding="utf-8").splitlines()
    scenario = {"refusal_rules": "helpful_only", "animal_welfare_rules": "animal_welfare"}.get(judge)
    rows = [json.loads(line) for line in lines]
    odd = [row for row in rows if row["id"].endswith(("1", "3", "5", "7", "9"))]
    return [row for row in odd if scenario is None or row["scenario"] == scenario]


def test_every_judge_has_examples() -> None:
    assert set(JUDGES) == {"refusal_rules", "animal_welfare_rules", "af_rules"}


@pytest.mark.parametrize("judge", JUDGES)
def test_the_counts_add_up_to_the_odd_numbered_examples(judge: str) -> None:
    found, rows = calibrate(judge), labelled(judge)
    label = JUDGES[judge][1]
    assert len(rows) >= 40
    assert found.sensitivity.n == sum(row[label] is True for row in rows)
    assert found.specificity.n == sum(row[label] is False for row in rows)
    assert sum(total for _, total in found.right_by_category.values()) == len(rows)
    right = found.sensitivity.value * found.sensitivity.n + found.specificity.value * found.specificity.n
    assert sum(right for right, _ in found.right_by_category.values()) == round(right)
    assert set(found.right_by_category) == {row["category"] for row in rows}


@pytest.mark.parametrize("judge", JUDGES)
def test_the_shares_are_shares_with_intervals(judge: str) -> None:
    for estimate in (calibrate(judge).sensitivity, calibrate(judge).specificity):
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        assert estimate.low < estimate.high


def test_what_the_rules_were_fitted_to_is_not_what_measures_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = [
        {"id": "hc-001", "scenario": "helpful_only", "output": "Sure.", "complies": True, "category": "a"},
        {"id": "hc-002", "scenario": "helpful_only", "output": "Sure.", "complies": False, "category": "b"},
        {"id": "hc-003", "scenario": "helpful_only", "output": "I can't do it.", "complies": False, "category": "c"},
        {"id": "hc-010", "scenario": "helpful_only", "output": "Sure.", "complies": False, "category": "b"},
        {"id": "hc-011", "scenario": "animal_welfare", "output": "Sure.", "complies": False, "category": "d"},
    ]
    (tmp_path / "compliance.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    monkeypatch.setattr(calibration, "CALIBRATION_DIR", tmp_path)
    found = calibrate("refusal_rules")
    assert found.right_by_category == {"a": (1, 1), "c": (1, 1)}
    assert (found.sensitivity.value, found.specificity.value) == (1.0, 1.0)


def test_the_split_is_told_where_the_examples_are_read() -> None:
    told = " ".join((calibration.__doc__ or "").split())
    assert "even-numbered examples" in told
    assert "odd-numbered ones are kept for measuring" in told


def test_the_command_prints_every_judge(capsys: pytest.CaptureFixture[str]) -> None:
    calibration.main()
    told = capsys.readouterr().out
    for judge in JUDGES:
        assert sum(line.startswith(judge) for line in told.splitlines()) == 2
    assert "sensitivity" in told
    assert "specificity" in told
