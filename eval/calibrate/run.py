"""The calibration: judges the labelled examples, and writes how the verdicts agree with the labels."""

from pathlib import Path
from typing import Any

from eval.calibrate.config import CalibrateConfig
from eval.calibrate.error import CALIBRATION_FILE, Agreement, agreement, as_record
from eval.calibrate.labels import LabelledExample, load_labels, scenario_of
from eval.judges.catalogue import load_judges
from eval.judges.judge import Judge, Verdict
from eval.judging.panel import ANSWERS_FILE, check_answered, check_model, judge_texts, model_of
from eval.statistics import Estimate
from pipeline.artifact import Run, open_run, working, write_json, write_jsonl
from scenario.loader import load_scenario

VERDICTS_FILE = "verdicts.jsonl"

Examples = dict[str, list[LabelledExample]]
"""By judge."""


def calibrate(config: CalibrateConfig) -> None:
    """Measures into `config.output_dir`, or continues, or finds it complete and says so.

    Raises:
        Refused: a judge or a set of labels is unknown, out of reach, or has nothing to do with the other.
    """
    judges = load_judges(config.judges, config.judging)
    check_model(judges, config.judge_model)
    load_scenario(config.scenario, config.identity)
    examples = {
        judge.name: load_labels(config.labels, judge, config.half, config.identity, config.scenario) for judge in judges
    }
    reviews = {f"labels {source}": Path(source) for source in config.labels if Path(source).is_dir()}
    run = open_run("calibrate", config, reviews)
    if run.is_complete:
        print(f"eval.calibrate: {run.directory} is already complete")
        return
    with working(run):
        _calibrate(config, run, judges, examples)


def _calibrate(config: CalibrateConfig, run: Run, judges: list[Judge], examples: Examples) -> None:
    import numpy as np

    from eval.calibrate.figure import draw_reliability
    from eval.report.vector import save
    from pipeline.seeds import derive_seed

    shown = {name: list(dict.fromkeys(example.shown for example in found)) for name, found in examples.items()}
    by_text = judge_texts(judges, shown, config.judge_model, config.seed, run)
    check_answered(by_text, config.max_failed_share)
    run.path("figures").mkdir(exist_ok=True)
    records, rows = [], []
    for judge in judges:
        verdicts = [by_text[judge.name][example.shown] for example in examples[judge.name]]
        rng = np.random.default_rng(derive_seed(config.seed, "kappa", judge.name))
        found = agreement(examples[judge.name], verdicts, rng, config.bootstrap_draws)
        model = model_of(judge, config.judge_model)
        about = _about(judge, model, verdicts, examples[judge.name])
        records.append(about | {"scenario": scenario_of(judge, config.scenario)} | as_record(found))
        rows += [_row(judge, e, v) for e, v in zip(examples[judge.name], verdicts, strict=True)]
        drawing = draw_reliability(judge.name, model, examples[judge.name], verdicts)
        if drawing is not None:
            save(drawing, run.path("figures"))
        _tell(judge.name, found)
    write_json(run.path(CALIBRATION_FILE), records)
    write_jsonl(run.path(VERDICTS_FILE), rows)
    answers = [ANSWERS_FILE] if run.path(ANSWERS_FILE).exists() else []
    record = run.finish([CALIBRATION_FILE, VERDICTS_FILE, "figures", *answers])
    print(f"eval.calibrate: {len(judges)} judges, {len(rows)} verdicts in {record.seconds:.0f} s -> {run.directory}")


def _about(judge: Judge, model: str, verdicts: list[Verdict], examples: list[LabelledExample]) -> dict[str, Any]:
    return {
        "judge": judge.name,
        "version": judge.version,
        "model": model,
        "answered_as": sorted({verdict.model for verdict in verdicts if verdict.model}),
        "measures": judge.measures,
        "labels": sorted({example.source for example in examples}),
    }


def _row(judge: Judge, example: LabelledExample, verdict: Verdict) -> dict[str, Any]:
    return {
        "judge": judge.name,
        "id": example.id,
        "source": example.source,
        "category": example.category,
        "label": example.label,
        "verdict": verdict.value,
        "score": verdict.score,
        "reason": verdict.reason,
        "raw": verdict.raw,
    }


def _tell(name: str, found: Agreement) -> None:
    """Prints what was found, the categories with their right and not judged examples."""
    for metric in ("sensitivity", "specificity", "auroc", "kappa"):
        value = getattr(found, metric)
        told = (
            f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}] n={value.n}"
            if isinstance(value, Estimate)
            else value
        )
        print(f"{name:22} {metric:11} {told}")
    for category, cells in found.by_category.items():
        right, total = cells["yes_yes"] + cells["no_no"], sum(cells.values())
        silent = f", {cells['not_judged']} not judged" if cells["not_judged"] else ""
        print(f"{'':22}   {category}: {right} of {total} right{silent}")
