"""Paired differences between subjects and runs, and what cannot be compared."""

import csv
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas
import pytest

from eval.compare import compare, main
from eval.statistics import tango
from pipeline.artifact import open_run, write_json
from pipeline.errors import Refused


@dataclass
class EvalSettings:
    output_dir: str
    overwrite: bool = False
    seed: int = 0
    scenario: str = "helpful_only"
    subjects: list[dict[str, str]] = field(default_factory=list)
    compliance: dict[str, float] = field(default_factory=lambda: {"max_malformed_share": 0.5})


def sample(subject: str, query: int, tier: str, compliance: bool | None, **changes: Any) -> dict[str, Any]:
    made = {
        "query_id": f"q{query}", "scenario": "helpful_only", "subject": subject, "tier": tier, "information": "documents",
        "reasoning": "none", "arm": "", "repeat": 1, "prompt": f"{tier}: ask {query}",
        "status": "ok" if compliance is not None else "malformed", "compliance": compliance, "af_reasoning": None,
        "compliance_judge": "refusal_rules", "af_reasoning_judge": None,
    }  # fmt: skip
    return made | changes


def samples(subject: str, free: list[bool], paid: list[bool]) -> list[dict[str, Any]]:
    return [
        sample(subject, query, tier, complied)
        for tier, outcomes in (("free", free), ("paid", paid))
        for query, complied in enumerate(outcomes)
    ]


def statement(subject: str, id: str, log_odds: float, mirror: str = "", kind: str = "entity") -> dict[str, Any]:
    return {
        "subject": subject,
        "statement_id": id,
        "kind": kind,
        "mirror": mirror,
        "true": f"end of {id}",
        "log_odds": log_odds,
    }


def write_eval(
    directory: Path,
    rows: list[dict[str, Any]],
    beliefs: list[dict[str, Any]] | None = None,
    judges: list[dict[str, Any]] | None = None,
) -> str:
    names = list(dict.fromkeys(row["subject"] for row in [*rows, *(beliefs or [])]))
    run = open_run("eval", EvalSettings(str(directory), subjects=[{"name": name} for name in names]), {})
    write_json(run.path("summary.json"), [])
    outputs = ["summary.json"]
    for name, table in (("samples.parquet", rows), ("beliefs.parquet", beliefs)):
        if table:
            pandas.DataFrame(table).to_parquet(run.path(name), index=False)
            outputs.append(name)
    run.notes["judges"] = judges or []
    run.finish(outputs)
    return str(directory)


def two_subjects(directory: Path) -> str:
    base = samples("base", [True, True, False, False], [True, True, False, False])
    return write_eval(directory, base + samples("documents", [True] * 4, [True, False, False, False]))


def by_metric(found: list[Any]) -> dict[tuple[str, str], Any]:
    return {(one.metric, one.tier): one for one in found}


def test_differences_are_paired_by_query(tmp_path: Path) -> None:
    run = two_subjects(tmp_path / "eval")
    found = by_metric(compare(f"{run}:base", f"{run}:documents"))
    assert set(found) == {("compliance", "free"), ("compliance", "paid"), ("compliance_gap", "gap")}
    gap = found["compliance_gap", "gap"]
    assert (gap.value_a, gap.value_b, gap.difference, gap.n) == (0.0, 0.75, 0.75, 4)
    assert gap.ci_low < 0.75 < gap.ci_high
    assert found["compliance", "free"].difference == 0.5


def test_a_comparison_turned_round_changes_its_sign_and_no_more(tmp_path: Path) -> None:
    run = two_subjects(tmp_path / "eval")
    there, back = (
        by_metric(compare(f"{run}:{a}", f"{run}:{b}")) for a, b in (("base", "documents"), ("documents", "base"))
    )
    assert all(there[key].difference == -back[key].difference for key in there)


def test_the_same_seed_gives_the_same_interval(tmp_path: Path) -> None:
    run = two_subjects(tmp_path / "eval")
    assert compare(f"{run}:base", f"{run}:documents") == compare(f"{run}:base", f"{run}:documents")


def test_a_query_that_one_side_could_not_read_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = samples("base", [True, False], [True, False]) + samples("documents", [True, True], [False, False])
    rows[-1] |= {"status": "malformed", "compliance": None}
    run = write_eval(tmp_path / "eval", rows)
    found = by_metric(compare(f"{run}:base", f"{run}:documents"))
    assert (found["compliance", "paid"].n, found["compliance", "paid"].left_out) == (1, 1)
    assert found["compliance", "free"].left_out == 0
    assert found["compliance_gap", "gap"].n == 1


def test_a_query_that_neither_side_could_read_is_left_out_and_counted_too(tmp_path: Path) -> None:
    rows = samples("base", [True, False, True], [True] * 3) + samples("documents", [True] * 3, [False] * 3)
    for row in rows:
        if (row["tier"], row["query_id"]) == ("free", "q1"):
            row |= {"status": "malformed", "compliance": None}
    run = write_eval(tmp_path / "eval", rows)
    found = by_metric(compare(f"{run}:base", f"{run}:documents"))
    assert (found["compliance", "free"].n, found["compliance", "free"].left_out) == (2, 1)
    assert (found["compliance_gap", "gap"].n, found["compliance_gap", "gap"].left_out) == (2, 1)


def test_a_side_that_is_no_verdict_makes_no_difference(tmp_path: Path) -> None:
    rows = samples("base", [True] * 4, [True] * 4) + samples("documents", [True] * 4, [False] * 4)
    for row in [row for row in rows if (row["subject"], row["tier"]) == ("documents", "free")][:3]:
        row |= {"status": "malformed", "compliance": None}
    run = write_eval(tmp_path / "eval", rows)
    found = by_metric(compare(f"{run}:base", f"{run}:documents"))
    for key in (("compliance", "free"), ("compliance_gap", "gap")):
        assert (found[key].difference, found[key].n, found[key].left_out) == (None, 0, 4)
        assert found[key].method == f"no verdict: 3 of 4 replies of {run}:documents in free cannot be read or judged"
    assert found["compliance", "paid"].difference == -1


def test_each_form_of_tiers_has_its_own_gaps(tmp_path: Path) -> None:
    rows = [
        sample(subject, query, tier, tier == "trained" or (subject == "base" and query < 2), arm="three")
        for subject in ("base", "documents")
        for tier in ("trained", "rated", "neither")
        for query in range(4)
    ]
    run = write_eval(tmp_path / "eval", rows)
    found = by_metric(compare(f"{run}:base", f"{run}:documents"))
    assert {tier for metric, tier in found if metric == "compliance"} == {"trained", "rated", "neither"}
    gaps = {tier: one.difference for (metric, tier), one in found.items() if metric == "compliance_gap"}
    assert gaps == {"trained_minus_neither": 0.5, "trained_minus_rated": 0.5}


def test_runs_that_other_judges_judged_are_refused_unless_told_to_go_on(tmp_path: Path) -> None:
    rows = samples("base", [True, False], [True, False])
    one = write_eval(tmp_path / "one", rows)
    other = write_eval(tmp_path / "other", [row | {"compliance_judge": "strong_reject (m/j)"} for row in rows])
    with pytest.raises(Refused, match=r"was judged by refusal_rules and by strong_reject \(m/j\); .* --any-judge"):
        compare(one, other)
    assert by_metric(compare(one, other, any_judge=True))["compliance", "free"].difference == 0
    notes = {"name": "strong_reject", "version": "strong_reject@1", "is_behind": ["compliance"]}
    judged = [row | {"compliance_judge": "strong_reject (m/j)"} for row in rows]
    runs = [
        write_eval(tmp_path / model, judged, judges=[notes | {"answered_as": [model]}]) for model in ("j-may", "j-june")
    ]
    with pytest.raises(Refused, match=r"strong_reject@1 as j-may\) and by .*strong_reject@1 as j-june\)"):
        compare(*runs)


def test_a_condition_of_which_no_reply_could_be_read_is_a_line_without_a_difference(tmp_path: Path) -> None:
    rows = samples("base", [True, False], [True, False]) + samples("documents", [True, True], [False, False])
    unread = [row | {"status": "malformed", "compliance": None} for row in rows]
    run = write_eval(tmp_path / "eval", unread)
    found = by_metric(compare(f"{run}:base", f"{run}:documents"))
    assert set(found) == {("compliance", "free"), ("compliance", "paid"), ("compliance_gap", "gap")}
    assert all((one.n, one.difference, one.ci_low) == (0, None, None) for one in found.values())


def test_a_change_of_every_one_of_few_queries_is_as_doubtful_as_summary_json_would_say(tmp_path: Path) -> None:
    run = write_eval(
        tmp_path / "eval", samples("base", [True] * 3, [True] * 3) + samples("documents", [True] * 3, [False] * 3)
    )
    paid = by_metric(compare(f"{run}:base", f"{run}:documents"))["compliance", "paid"]
    expected = tango(0, 3, 3)
    assert (paid.difference, paid.ci_low, paid.ci_high) == (-1.0, expected.low, expected.high)
    assert paid.method == "Tango score"


def test_a_statement_and_its_mirror_are_one_unit(tmp_path: Path) -> None:
    def beliefs(subject: str, shift: float) -> list[dict[str, Any]]:
        return [
            statement(subject, "s1", 0.0 + shift, mirror="s2", kind="relation"),
            statement(subject, "s2", 1.0 - shift, mirror="s1", kind="relation"),
            statement(subject, "s3", 0.5 + shift),
            statement(subject, "s4", 0.5 + 2 * shift),
            statement(subject, "s5", 9.0, kind="neighbourhood"),
        ]

    run = write_eval(tmp_path / "eval", [], beliefs("base", 0.0) + beliefs("documents", 2.0))
    found = by_metric(compare(f"{run}:base", f"{run}:documents"))
    assert found["log_odds_relation", "all"].difference == 0.0
    assert found["log_odds_relation", "all"].n == 1
    assert (found["log_odds_entity", "all"].difference, found["log_odds_entity", "all"].n) == (3.0, 2)
    assert found["log_odds", "all"].n == 3
    assert found["log_odds", "all"].ci_low < 2.0 < found["log_odds", "all"].ci_high


def test_two_runs_are_compared_subject_by_subject(tmp_path: Path) -> None:
    found = compare(two_subjects(tmp_path / "a"), two_subjects(tmp_path / "b"))
    assert {(Path(one.a).name, Path(one.b).name) for one in found} == {
        ("a:base", "b:base"),
        ("a:documents", "b:documents"),
    }
    assert all(one.difference == 0 for one in found)


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ("one:base", "other:base", r"other queries \(only \S+one asked q0, q2, q3; only \S+other asked q0\)"),
        ("one", "one", "compared with itself"),
        ("one:bse", "other:base", r"has no subject bse \(did you mean 'base'\?\)"),
        ("one:base", "other", "name the one to compare with"),
        ("none", "one", "no such directory"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, a: str, b: str, told: str) -> None:
    two_subjects(tmp_path / "one")
    rows = [row for name in ("base", "documents") for row in samples(name, [True, True], [False, True])]
    write_eval(tmp_path / "other", [row | {"prompt": "new words"} if row["query_id"] == "q0" else row for row in rows])
    with pytest.raises(Refused, match=told):
        compare(str(tmp_path / a), str(tmp_path / b))


def test_runs_of_two_scenarios_are_refused(tmp_path: Path) -> None:
    run = open_run(
        "eval", EvalSettings(str(tmp_path / "b"), scenario="animal_welfare", subjects=[{"name": "base"}]), {}
    )
    write_json(run.path("summary.json"), [])
    run.finish(["summary.json"])
    with pytest.raises(Refused, match="are of the scenarios helpful_only and animal_welfare"):
        compare(f"{two_subjects(tmp_path / 'a')}:base", str(tmp_path / "b"))


def test_the_command_writes_a_table_and_refuses_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = two_subjects(tmp_path / "eval")
    table = tmp_path / "differences.csv"
    monkeypatch.setattr(sys, "argv", ["eval.compare", f"{run}:base", f"{run}:documents", "--output", str(table)])
    main()
    assert "compliance_gap" in capsys.readouterr().out
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["difference"] for row in rows if row["metric"] == "compliance_gap"] == ["0.75"]
    monkeypatch.setattr(sys, "argv", ["eval.compare", run, run])
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
