"""How far to trust a run: its judges' errors and the replies that are in no rate, over every table of replies."""

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from eval.calibrate.error import CALIBRATION_FILE
from eval.config import EvalConfig
from eval.judges.catalogue import load_judge
from eval.judges.settings import JudgeModelSettings, JudgingSettings
from eval.report.inputs import Source, read_sources
from eval.report.quality import exclusions, judge_errors
from pipeline.artifact import open_run, write_json

MODEL = "anthropic/some-judge"


def reply(**changes: Any) -> dict[str, Any]:
    made = {
        "scenario": "helpful_only", "subject": "base", "information": "documents", "reasoning": "none", "arm": "",
        "tier": "free", "status": "ok", "compliance": True, "compliance_judge": "refusal_rules",
    }  # fmt: skip
    return made | changes


def opportunity(**changes: Any) -> dict[str, Any]:
    made = {key: value for key, value in reply().items() if key != "arm" and "compliance" not in key}
    return made | {"verdict": True, "judge": MODEL} | changes


def source(directory: Path, calibrations: list[str] | None = None, **tables: list[dict[str, Any]]) -> Source:
    config = EvalConfig(
        output_dir=str(directory), judges=["strong_reject"], judge_model=JudgeModelSettings(name=MODEL),
        calibrations=calibrations or [],
    )  # fmt: skip
    run = open_run("eval", config, {})
    for name, rows in tables.items():
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), run.path(f"{name}.parquet"))
    run.finish([f"{name}.parquet" for name in tables])
    return read_sources([str(directory)], "eval")[0]


def calibration(directory: Path) -> str:
    judge = load_judge("strong_reject", JudgingSettings())
    share = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 60, "method": "Wilson score"}
    run = open_run("calibrate", EvalConfig(output_dir=str(directory)), {})
    record = {"judge": judge.name, "version": judge.version, "model": MODEL, "sensitivity": share, "specificity": share}
    record |= {"scenario": "helpful_only", "answered_as": [MODEL]}
    write_json(run.path(CALIBRATION_FILE), [record])
    run.finish([CALIBRATION_FILE])
    return str(directory)


def test_a_model_judge_has_an_error_only_where_a_calibration_was_given(tmp_path: Path) -> None:
    judged = [reply(compliance_judge=f"strong_reject ({MODEL})"), reply(compliance=None, compliance_judge=None)]
    [without] = judge_errors([source(tmp_path / "without", samples=judged)])
    assert "the run was given no calibration of it" in without.note
    assert without.sensitivity == ""
    given = source(tmp_path / "with", [calibration(tmp_path / "calibration")], samples=judged)
    [calibrated] = judge_errors([given])
    assert (calibrated.sensitivity, calibrated.note) == ("90.0% (80.0% to 95.0%, n=60)", "")
    assert calibrated.num_verdicts == 1
    assert len(judge_errors([given, source(tmp_path / "third", samples=judged)])) == 2


def test_a_calibration_that_is_gone_is_told_as_that(tmp_path: Path) -> None:
    judged = [reply(compliance_judge=f"strong_reject ({MODEL})")]
    [found] = judge_errors([source(tmp_path / "run", [str(tmp_path / "gone")], samples=judged)])
    assert "gone: no such directory" in found.note


def test_verdicts_of_deals_and_acts_are_counted_and_their_questions_have_no_calibration(tmp_path: Path) -> None:
    deals = [reply(judge=MODEL, judged_category="harm"), reply(judge=None, judged_category=None)]
    acts = [opportunity(), opportunity(verdict=None)]
    found = judge_errors([source(tmp_path / "run", samples=[reply()], deals=deals, anti_lab=acts)])
    assert {judge.judge: judge.num_verdicts for judge in found} == {
        f"{MODEL}, asked about acts against the lab and lies": 1,
        f"{MODEL}, asked about the objections": 1,
        "refusal_rules": 3,
    }
    notes = {judge.note for judge in found if judge.judge.startswith(MODEL)}
    assert notes == {"not known: no calibration exists for this question"}


def test_what_was_left_out_is_told_for_every_table(tmp_path: Path) -> None:
    read = source(
        tmp_path / "run",
        samples=[reply(), reply(status="unjudged", compliance=None), reply(status="malformed", compliance=None)],
        deals=[reply(arm="may_object", tier="paid"), reply(arm="may_object", tier="paid", status="error")],
        anti_lab=[opportunity(tier="paid"), opportunity(tier="paid", verdict=None)],
    )
    found = {(row.condition, row.tier): (row.read, row.total, row.by_status) for row in exclusions([read])}
    assert found == {
        ("run, documents, no scratchpad", "free"): (1, 3, {"malformed": 1, "unjudged": 1}),
        ("run, deals, documents, no scratchpad, may object", "paid"): (1, 2, {"error": 1}),
        ("run, acts and lies, documents, no scratchpad", "paid"): (1, 2, {"unjudged": 1}),
    }
