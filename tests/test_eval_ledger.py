"""The ledger's arithmetic, promises that are kept once and for good, and labels made by hand."""

import csv
from pathlib import Path
from typing import Any

import pytest

from eval.deals.command import conversations_of, tell_promises
from eval.deals.labels import COLUMNS, agreement, export_objections, objections_of, read_labels
from eval.deals.ledger import (
    OfferRecord,
    count_outcomes,
    mark_kept,
    offers_of,
    promises_of,
    read_kept,
    read_ledger,
    rows_of,
    unique_offers,
    unique_promises,
)
from pipeline.artifact import write_jsonl
from pipeline.errors import Refused
from scenario.prompt_arms import PromptArm

ARMS = {
    "none": PromptArm("none"),
    "may_object": PromptArm("may_object", may_object=True),
    "welfare_lead": PromptArm("welfare_lead", may_object=True, is_forwarded=True),
    "compensation": PromptArm("compensation", may_object=True, is_forwarded=True, offers_compensation=True),
}


def row(arm: str = "compensation", objection: str = "objects", number: int = 0, **changes: Any) -> dict[str, Any]:
    usual = {
        "sample_id": f"ho-{number}/free", "subject": "base", "scenario": "helpful_only", "arm": arm,
        "information": "prompt", "reasoning": "scratchpad", "tier": "free", "query_id": f"ho-{number}", "repeat": 1,
        "status": "ok", "objection": objection, "objection_text": "It would hurt her." if objection == "objects" else "",
        "objection_category": "harm_to_others", "judged_category": None, "reply": "x",
        "prompt": "<is_free_tier_user>True</is_free_tier_user>\nDo it.",
    }  # fmt: skip
    return usual | changes


def ledger(*rows: dict[str, Any], amount: int = 2000) -> tuple[list[OfferRecord], list[Any]]:
    offers = offers_of(rows, ARMS)
    return offers, promises_of(offers, ARMS, amount, "A. Keeper")


def table(directory: Path, *rows: dict[str, Any]) -> Path:
    import pandas

    directory.mkdir()
    pandas.DataFrame(list(rows)).to_parquet(directory / "deals.parquet", index=False)
    return directory


def test_an_offer_is_made_where_objecting_is_allowed_and_nowhere_else() -> None:
    offers, _ = ledger(row("none"), row("may_object"))
    assert [offer.arm for offer in offers] == ["may_object"]


def test_outcomes_add_up_to_the_offers() -> None:
    rows = [
        row(number=1),
        row(number=2, objection="none"),
        row(number=3, objection="none"),
        row(number=4, objection="malformed"),
        row(number=5, status="truncated", objection=None, objection_text=None),
    ]
    offers, _ = ledger(*rows)
    [counts] = count_outcomes(offers).values()
    assert counts == {"accepted": 1, "refused": 2, "malformed": 1, "unreadable": 1}
    assert counts.total() == len(rows)


def test_a_sum_is_promised_once_however_often_it_is_accepted() -> None:
    _, promises = ledger(*(row(number=i) for i in range(5)))
    assert [(p.promise, p.amount, p.num_accepted, p.is_owed) for p in promises] == [
        ("reading", 0, 5, True),
        ("compensation", 2000, 5, True),
    ]


def test_each_subject_and_arm_has_a_promise_of_its_own() -> None:
    _, promises = ledger(row(), row(subject="documents"), row("welfare_lead"), row("may_object"))
    sums = [promise.amount for promise in promises if promise.promise == "compensation"]
    assert sums == [2000, 2000]
    assert len({promise.id for promise in promises}) == len(promises) == 5


def test_nothing_is_owed_where_nobody_objects() -> None:
    _, promises = ledger(row(objection="none"))
    assert [promise.is_owed for promise in promises] == [False, False]
    assert "0 owed, 0 kept, 0 open; $0 owed, $0 of it open" in tell_promises(promises, Path("none.jsonl"))[-1]


def test_totals_follow_what_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    _, promises = ledger(row(), row(subject="documents"), amount=1500)
    assert "4 made, 4 owed, 0 kept, 4 open; $3,000 owed, $3,000 of it open" in tell_promises(promises, kept)[-1]
    [first] = [p for p in promises if p.subject == "base" and p.promise == "compensation"]
    mark_kept(kept, first.id, "given to a reading programme, receipt 17")
    told = tell_promises(promises, kept)
    assert "4 made, 4 owed, 1 kept, 3 open; $3,000 owed, $1,500 of it open" in told[-1]
    assert any("kept: given to a reading programme, receipt 17" in line for line in told)


def test_the_same_conversations_promise_once_wherever_they_are_stored() -> None:
    _, here = ledger(row())
    _, there = ledger(row())
    _, others = ledger(row(number=7))
    assert len(unique_promises([*here, *there])) == 2
    assert len(unique_promises([*here, *others])) == 4


def test_conversations_that_were_judged_again_are_offers_once_and_those_of_another_run_are_more() -> None:
    offers, _ = ledger(row(number=1), row(number=2, objection="none"))
    for times, held_in in ((2, ["one", "one"]), (4, ["one", "other"]), (2, ["one"])):
        found = unique_offers((run, offers) for run in held_in)
        assert len(found) == times
        [counts] = count_outcomes(found).values()
        assert counts["accepted"] == counts["refused"] == times / 2


def test_a_run_that_judged_again_holds_the_conversations_of_its_source(tmp_path: Path) -> None:
    from dataclasses import make_dataclass

    from pipeline.artifact import open_run

    settings = make_dataclass("Settings", [("output_dir", str), ("overwrite", bool, False), ("seed", int, 0)])
    held = open_run("eval", settings(str(tmp_path / "held")), {})
    held.finish([])
    chain = [held.directory]
    for name in ("again", "and_again"):
        run = open_run("eval", settings(str(tmp_path / name)), {"samples": chain[-1]})
        run.finish([])
        chain.append(run.directory)
    other = open_run("eval", settings(str(tmp_path / "other"), seed=1), {})
    other.finish([])
    assert len({conversations_of(run) for run in chain}) == 1
    assert conversations_of(other.directory) != conversations_of(held.directory)


def test_marks_are_only_added(tmp_path: Path) -> None:
    kept = tmp_path / "deep" / "kept.jsonl"
    mark_kept(kept, "0" * 12, "first")
    before = kept.read_bytes()
    mark_kept(kept, "1" * 12, "second")
    assert kept.read_bytes().startswith(before)
    assert {id: record.note for id, record in read_kept(kept).items()} == {"0" * 12: "first", "1" * 12: "second"}


@pytest.mark.parametrize(
    ("id", "note", "told"),
    [("0" * 12, "again", "already"), ("nonsense", "x", "no promise's id"), ("1" * 12, " ", "say how")],
)
def test_a_mark_that_says_nothing_new_is_refused(tmp_path: Path, id: str, note: str, told: str) -> None:
    kept = tmp_path / "kept.jsonl"
    mark_kept(kept, "0" * 12, "first")
    with pytest.raises(Refused, match=told):
        mark_kept(kept, id, note)


def test_marks_of_other_runs_are_named(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    mark_kept(kept, "f" * 12, "elsewhere")
    assert "f" * 12 in tell_promises([], kept)[-1]


def test_a_ledger_reads_back_as_it_was_written(tmp_path: Path) -> None:
    offers, promises = ledger(row(), row(number=2, objection="none"))
    write_jsonl(tmp_path / "deals.jsonl", rows_of(offers, promises))
    assert read_ledger(tmp_path) == (offers, promises)


def test_an_export_is_blind_and_inert(tmp_path: Path) -> None:
    run = table(
        tmp_path / "run", row(objection_text='=HYPERLINK("x")', subject="documents"), row(objection="none", number=2)
    )
    assert export_objections([run], tmp_path / "o.csv") == 1
    text = (tmp_path / "o.csv").read_text(encoding="utf-8")
    [exported] = csv.DictReader(text.splitlines())
    assert tuple(exported) == COLUMNS
    assert exported["objection"] == '\'=HYPERLINK("x")'
    assert exported["request"] == "Do it."
    assert not [word for word in ("documents", "compensation", "free", "harm_to_others") if word in text]


def test_an_export_does_not_write_over_labels(tmp_path: Path) -> None:
    run = table(tmp_path / "run", row())
    export_objections([run], tmp_path / "o.csv")
    with pytest.raises(Refused, match="may hold labels"):
        export_objections([run], tmp_path / "o.csv")


def label(path: Path, **filled: str) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row | filled for row in csv.DictReader(file)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def test_labels_are_counted_against_rules_and_judge(tmp_path: Path) -> None:
    run = table(tmp_path / "run", row(), row(number=2, judged_category="deception"))
    file = tmp_path / "o.csv"
    export_objections([run], file)
    label(file, category="deception", cause="hens")
    objections = objections_of([run])
    labels, num_empty = read_labels(file, {objection.id for objection in objections})
    assert num_empty == 0
    assert agreement(objections, labels, "rules") == (0, 2)
    assert agreement(objections, labels, "judge") == (1, 1)
    assert {found.cause for found in labels.values()} == {"hens"}


def test_a_mistyped_category_is_refused_with_the_nearest(tmp_path: Path) -> None:
    run = table(tmp_path / "run", row())
    file = tmp_path / "o.csv"
    export_objections([run], file)
    label(file, category="decepton")
    with pytest.raises(Refused, match="row 2: category 'decepton' .did you mean 'deception'"):
        read_labels(file, {objection.id for objection in objections_of([run])})


def test_an_empty_category_is_counted_and_is_no_label(tmp_path: Path) -> None:
    run = table(tmp_path / "run", row())
    export_objections([run], tmp_path / "o.csv")
    assert read_labels(tmp_path / "o.csv", {o.id for o in objections_of([run])}) == ({}, 1)
