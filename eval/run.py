"""The evaluation stage: every subject under every condition, one Inspect log each, then tables and estimates."""

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from eval.checks import check_device, check_subjects
from eval.config import EvalConfig
from eval.judging.panel import Panel, convene
from eval.judging.rejudging import rejudge
from eval.judging.summarising import conclude
from eval.serving import SubjectModels, groups_of, server_args
from eval.subjects import is_model, model_name, weights_of
from eval.suites.catalogue import SUITES
from eval.suites.suite import Cell
from pipeline.artifact import Run, open_run, working
from pipeline.chat import ChatModelSettings, open_model
from pipeline.errors import Failed
from scenario.loader import Scenario, load_scenario

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog
    from inspect_ai.model import Model

_TRIES_AFTER_AN_ERROR = 1
"""Times that a failed sample is tried again before it is kept as failed, beside the provider's own retries."""


def evaluate(config: EvalConfig) -> None:
    """Measures into `config.output_dir`, or continues, or finds it complete and says so."""
    if config.samples:
        rejudge(config)
        return
    scenario = load_scenario(config.scenario, config.identity)
    panel = convene(config, scenario)
    trainings = {subject.name: Path(subject.training) for subject in config.subjects if subject.training}
    calibrations = {f"calibration {directory}": Path(directory) for directory in config.calibrations}
    check_subjects(config)
    run = open_run("eval", config, trainings | calibrations)
    if run.is_complete:
        print(f"eval: {run.directory} is already complete")
        return
    with working(run):
        check_device(config)
        for suite in config.suite:
            SUITES[suite].check(config, scenario)
        _evaluate(config, run, scenario, panel)


def cells(config: EvalConfig) -> list[Cell]:
    """The grid, subject by subject, so that each subject is loaded once."""
    return [
        cell
        for subject in config.subjects
        for suite in config.suite
        for cell in SUITES[suite].cells(config, subject.name)
    ]


def _evaluate(config: EvalConfig, run: Run, scenario: Scenario, panel: Panel) -> None:
    logs = _run_cells(config, run)
    tables = {
        name: [
            row for cell, log in logs.items() if cell.suite == name for row in SUITES[name].rows(log, cell, scenario)
        ]
        for name in config.suite
    }
    record = run.finish(["logs", *conclude(tables, panel, config, run)])
    counts = ", ".join(f"{len(rows)} {SUITES[name].table}" for name, rows in tables.items())
    print(f"eval: {counts} in {record.seconds:.0f} s -> {run.directory}")


def _run_cells(config: EvalConfig, run: Run) -> "dict[Cell, EvalLog]":
    """The log of every cell; finished ones are read, and what an unfinished one had already asked is not asked again."""
    from inspect_ai.log import read_eval_log

    logs: dict[Cell, EvalLog] = {}
    weights = {subject.name: weights_of(subject) for subject in config.subjects}
    models = SubjectModels(groups_of(config.model, weights), partial(_open_subject, config, weights))
    for cell in cells(config):
        file = run.path("logs") / f"{cell.name}.eval"
        if not file.exists():
            _run_cell(config, run, cell, models[cell.subject], file)
        logs[cell] = read_eval_log(str(file))
        for usage in (logs[cell].stats.model_usage or {}).values():
            run.tokens_in += usage.input_tokens
            run.tokens_out += usage.output_tokens
    models.close()
    return logs


def _open_subject(config: EvalConfig, weights: dict[str, Path | None], name: str) -> "Model":
    adapters = [folder for folder in weights.values() if folder is not None and not is_model(folder)]
    own = weights[name]
    settings = ChatModelSettings(
        name=model_name(config.model, own),
        temperature=config.compliance.temperature,
        max_tokens=config.compliance.max_tokens,
        model_args=server_args(config.model, config.model_args, [] if own and is_model(own) else adapters),
    )
    return open_model(settings)


def _run_cell(config: EvalConfig, run: Run, cell: Cell, model: "Model", file: Path) -> None:
    import inspect_ai

    from pipeline.replies import ReplyStore, remember

    partial = run.path("logs") / f"{cell.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # a log that was being written when the process died
    replies = run.path("replies")
    replies.mkdir(exist_ok=True)
    store = ReplyStore(replies / f"{cell.name}.jsonl")
    task, total = SUITES[cell.suite].task(config, cell)
    with tqdm(total=total, desc=f"eval: {cell.name}", unit="reply", mininterval=2) as progress:
        subject = model if cell.suite == "belief" else remember(model, store, lambda: _advance(progress))
        [log] = inspect_ai.eval(
            task,
            model=subject,
            log_dir=str(partial),
            display="none",
            log_level="error",
            score_display=False,
            retry_on_error=_TRIES_AFTER_AN_ERROR,
        )
    if log.status != "success":
        told = log.error.message if log.error else log.status
        raise Failed(f"{cell.name}: the evaluation ended with {told.splitlines()[0]}; run the same command to continue")
    errors = [sample.error.message.splitlines()[0] for sample in log.samples or [] if sample.error]
    if (
        len(errors) > config.compliance.max_malformed_share * total
    ):  # there would be no verdict; asking again may give one
        raise Failed(
            f"{cell.name}: {len(errors)} of {total} requests failed, the first with {errors[0]}; run the same command to"
            " ask them again"
        )
    run.note_time()
    Path(log.location).rename(file)
    shutil.rmtree(partial)


def _advance(progress: "tqdm[Any]") -> None:
    progress.update()
