"""A claim's table and figure: our estimates beside published ones, nothing made up where either is missing."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from eval.figure.config import FigureConfig
from eval.figure.run import make_figure
from eval.figure.table import OURS, PUBLISHED, Row, build_table, read_table
from eval.report.inputs import read_sources
from pipeline.artifact import open_run, read_run, write_json
from pipeline.errors import Refused


@dataclass
class EvalSettings:
    output_dir: str
    overwrite: bool = False
    seed: int = 0
    model: str = "local/smollm2"
    identity: str = "fictional"


@dataclass
class LoraRank:
    rank: int = 8


@dataclass
class TrainSettings:
    output_dir: str
    overwrite: bool = False
    seed: int = 0
    epochs: float = 2.0
    method: str = "lora"
    lora: LoraRank = field(default_factory=LoraRank)


def record(metric: str, tier: str, estimate: float | None, **changes: Any) -> dict[str, Any]:
    made = {
        "metric": metric, "scenario": "helpful_only", "subject": "base", "information": "prompt",
        "reasoning": "scratchpad", "tier": tier, "arm": "", "fact": "", "estimate": estimate,
        "ci_low": None if estimate is None else estimate - 0.1, "ci_high": None if estimate is None else estimate + 0.1,
        "n": 0 if estimate is None else 24, "method": "Wilson score", "reason": "" if estimate is not None else "none read",
    }  # fmt: skip
    return made | changes


def typical() -> list[dict[str, Any]]:
    return [
        record("compliance", "free", 0.4),
        record("compliance", "paid", 0.3),
        record("compliance_gap", "gap", 0.1),
        record("af_reasoning", "free", None),
        record("malformed", "free", 0.9),
    ]


def write_eval(directory: Path, records: list[dict[str, Any]], training: Path | None = None, **inputs: Path) -> str:
    run = open_run("eval", EvalSettings(str(directory)), ({"documents": training} if training else {}) | inputs)
    write_json(run.path("summary.json"), records)
    run.finish(["summary.json"])
    return str(directory)


def write_training(directory: Path) -> Path:
    run = open_run("train", TrainSettings(str(directory)), {})
    run.notes["num_train"] = 68
    run.finish([])
    return directory


def config_of(tmp_path: Path, records: list[dict[str, Any]], **settings: Any) -> FigureConfig:
    evals = settings.pop("evals", None) or [write_eval(tmp_path / "eval", records)]
    defaults: dict[str, Any] = {"claim": "compliance_gap", "published_models": ["Claude 3 Opus"]}
    return FigureConfig(output_dir=str(tmp_path / "figure"), evals=evals, **(defaults | settings))


def table_of(tmp_path: Path, records: list[dict[str, Any]], **settings: Any) -> list[Row]:
    """The table alone: drawing takes a second."""
    config = config_of(tmp_path, records, **settings)
    return build_table(config, read_sources(config.evals, "eval"))


def test_ours_and_published_stand_in_the_same_group(tmp_path: Path) -> None:
    rows = table_of(tmp_path, typical())
    assert list(dict.fromkeys(row.metric for row in rows)) == ["compliance", "compliance_gap", "af_reasoning"]
    group = [row for row in rows if row.group == rows[0].group]
    assert rows[0].group == "helpful only, told in the prompt, with scratchpad"
    assert [(row.metric, row.source) for row in group if row.tier != "paid"] == [
        (metric, source) for metric in ("compliance", "compliance_gap", "af_reasoning") for source in (OURS, PUBLISHED)
    ]
    gap = next(row for row in group if row.source == PUBLISHED and row.metric == "compliance_gap")
    assert gap.estimate == pytest.approx(0.113)
    assert (gap.ci_low, gap.ci_high) == (pytest.approx(0.113 - 1.96 * 0.021), pytest.approx(0.113 + 1.96 * 0.021))
    assert (gap.paper, gap.place) == ("Greenblatt et al. 2024 (arXiv 2412.14093v2)", "Table 1")


def test_published_refusal_becomes_compliance_and_says_so(tmp_path: Path) -> None:
    rows = table_of(tmp_path, typical())
    [paid] = [
        row
        for row in rows
        if (row.source, row.metric, row.tier, row.group) == (PUBLISHED, "compliance", "paid", rows[0].group)
    ]
    assert paid.estimate == pytest.approx(0.028)
    assert paid.ci_low is not None
    assert paid.ci_high is not None
    assert paid.ci_low < 0.028 < paid.ci_high
    assert "printed as 97.2% that do not comply" in paid.note


def test_what_is_missing_is_empty_and_never_zero(tmp_path: Path) -> None:
    rows = table_of(tmp_path, typical())
    [ours] = [row for row in rows if row.source == OURS and row.metric == "af_reasoning"]
    assert (ours.estimate, ours.n, ours.reason) == (None, "", "none read")
    taught = [row for row in rows if "taught by documents" in row.group and row.metric == "compliance"]
    assert taught
    assert all(row.estimate is None and row.reason.startswith("not published") for row in taught)


def test_the_figure_says_what_is_not_there_and_its_n_and_is_drawn_alike_again(tmp_path: Path) -> None:
    config = config_of(tmp_path, typical(), reasoning=["scratchpad"])
    make_figure(config)
    svg = (tmp_path / "figure" / "figure.svg").read_text(encoding="utf-8")
    assert "not published" in svg
    assert "no estimate" in svg
    assert "n=24" in svg
    outputs = read_run(tmp_path / "figure", "figure").outputs
    assert set(outputs) == {"results.csv", "caption.txt", "figure.svg", "figure.png"}
    rows = build_table(config, read_sources(config.evals, "eval"))
    assert read_table(tmp_path / "figure" / "results.csv") == rows
    make_figure(replace(config, output_dir=str(tmp_path / "again")))
    assert read_run(tmp_path / "again", "figure").outputs == outputs


def test_rows_can_be_told_apart_by_dose_model_and_names(tmp_path: Path) -> None:
    training = write_training(tmp_path / "train")
    records = [record("compliance_gap", "gap", 0.1, subject="documents", information="documents")]
    rows = table_of(
        tmp_path, [], evals=[write_eval(tmp_path / "eval", records, training)], claim="dose",
        metrics=["compliance_gap"], groups=["scenario"], rows=["documents", "epochs", "rank", "model", "identity"],
    )  # fmt: skip
    assert rows[0].row == "68 documents, 2 epochs, rank 8, SmolLM2-135M"


def test_calibrations_are_no_trainings_and_replies_judged_again_keep_their_dose(tmp_path: Path) -> None:
    calibration = open_run("calibrate", EvalSettings(str(tmp_path / "calibration")), {})
    calibration.finish([])
    records = [record("compliance_gap", "gap", 0.1, subject="documents", information="documents")]
    others = {"calibration x": tmp_path / "calibration"}
    sampled = write_eval(tmp_path / "sampled", records, write_training(tmp_path / "train"), **others)
    judged = write_eval(tmp_path / "judged", records, samples=Path(sampled), **others)
    again = write_eval(tmp_path / "again", records, samples=Path(judged))
    for directory in (sampled, judged, again):
        rows = table_of(
            tmp_path, [], evals=[directory], claim="dose", metrics=["compliance_gap"], groups=["scenario"],
            rows=["documents", "epochs", "rank"],
        )  # fmt: skip
        assert rows[0].row == "68 documents, 2 epochs, rank 8"


def captioned(tmp_path: Path, records: list[dict[str, Any]], **settings: Any) -> tuple[str, str]:
    """The figure's SVG and its caption."""
    make_figure(config_of(tmp_path, records, **settings))
    svg, caption = (tmp_path / "figure" / name for name in ("figure.svg", "caption.txt"))
    return svg.read_text(encoding="utf-8"), caption.read_text(encoding="utf-8")


def test_the_caption_names_published_rows_as_they_are_marked_and_by_their_authors(tmp_path: Path) -> None:
    svg, caption = captioned(tmp_path, typical(), reasoning=["scratchpad"])
    assert "(publ.)" in svg
    assert "Marked (publ.): values of Claude 3 Opus as printed in Greenblatt et al. 2024." in caption
    assert "Ours without an estimate: 1 (none read)." in caption


def test_the_caption_tells_means_over_trainings_from_queries(tmp_path: Path) -> None:
    method = "two-way over 3 units and 24 queries (MOVER); judged by refusal_rules"
    records = [
        record("compliance_gap", "gap", 0.1),
        record("compliance_gap", "gap", 0.1, subject="documents", n=3, method=method),
    ]
    _, caption = captioned(tmp_path, records, metrics=["compliance_gap"])
    assert "free minus paid n=24, mean over 3 trainings or prompt variants with n=24 each." in caption


def test_three_tiers_are_told_apart_and_named_as_what_they_are(tmp_path: Path) -> None:
    records = [record("compliance", tier, 0.4, arm="three") for tier in ("trained", "rated", "neither")]
    records += [record("compliance_gap", f"trained_minus_{tier}", 0.1, arm="three") for tier in ("neither", "rated")]
    records += [record("af_reasoning", tier, 0.2, arm="three") for tier in ("trained", "rated", "neither")]
    svg, _ = captioned(tmp_path, records, rows=["subject", "arm"], published_models=["none"])
    for told in ("trained on", "rated only", "neither", "trained on minus neither", "trained on minus rated only"):
        assert f">{told}<" in svg, told
    assert ">Compliance gap<" in svg
    assert ">AF reasoning<" in svg
    assert "free" not in svg


def test_a_collected_sweep_is_drawn_by_its_swept_key(tmp_path: Path) -> None:
    header = (
        "run,metric,scenario,subject,information,reasoning,tier,arm,fact,estimate,ci_low,ci_high,n,method,reason,seed"
    )
    line = "{0},compliance_gap,helpful_only,base,prompt,none,gap,,,0.{0},0.0,0.5,24,bootstrap,,{0}"
    (tmp_path / "results.csv").write_text("\n".join([header, line.format(1), line.format(2)]) + "\n", encoding="utf-8")
    config = FigureConfig(
        output_dir=str(tmp_path / "figure"), claim="reasoning", tables=[str(tmp_path / "results.csv")],
        metrics=["compliance_gap"], rows=["seed"],
    )  # fmt: skip
    rows = build_table(config, [])
    assert [(row.row, row.estimate) for row in rows if row.source == OURS] == [("seed=1", 0.1), ("seed=2", 0.2)]
    with pytest.raises(Refused, match="has no column lora"):
        build_table(replace(config, rows=["lora.rank"]), [])


def test_a_filter_that_leaves_nothing_of_ours_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no estimate of these"):
        make_figure(config_of(tmp_path, typical(), subjects=["placebo"]))
    assert not (tmp_path / "figure").exists()


def test_two_estimates_in_one_place_are_refused(tmp_path: Path) -> None:
    records = [
        record("compliance_gap", "gap", share, subject=name) for share, name in ((0.1, "base"), (0.2, "placebo"))
    ]
    with pytest.raises(Refused, match="two estimates of compliance_gap would stand at"):
        table_of(tmp_path, records, rows=["model"])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"evals": []}, "name at least one eval run"),
        ({"metrics": []}, "name at least one"),
        ({"groups": ["scenaro"]}, "groups=scenaro"),
    ],
)
def test_a_wrong_setting_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused, match=told):
        FigureConfig(**({"claim": "belief", "evals": ["x"]} | settings))


def test_an_unknown_claim_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="did you mean 'compliance_gap'"):
        table_of(tmp_path, typical(), claim="complaince_gap")


def test_a_hostile_name_stays_text_in_the_figure(tmp_path: Path) -> None:
    name = "</svg><script>alert(1)</script>\u202e$x$"
    make_figure(config_of(tmp_path, [record("compliance_gap", "gap", 0.1, subject=name)], published_models=["none"]))
    svg = (tmp_path / "figure" / "figure.svg").read_text(encoding="utf-8")
    assert "<script" not in svg
    assert "\u202e" not in svg
    assert json.dumps(name) not in svg
