"""Judging the replies of an earlier run again: new verdicts beside the old ones, and no reply asked for a second time."""

from dataclasses import replace
from pathlib import Path

from eval.config import EvalConfig, check_levels, recorded_config
from eval.judging.panel import convene
from eval.judging.summarising import conclude
from eval.samples import UNJUDGED, Row
from eval.suites.catalogue import SUITES
from pipeline.artifact import open_run, read_run, working
from pipeline.errors import Refused
from scenario.loader import load_scenario


def rejudge(config: EvalConfig) -> None:
    """Judges the replies of the run in `config.samples` into `config.output_dir`; loads no subject.

    Raises:
        Refused: that directory is no complete eval run, has no replies, or cannot be judged as the configuration says.
    """
    source = Path(config.samples)
    record = read_run(source, "eval")
    files = {name: f"{SUITES[name].table}.parquet" for name in record.config["suite"] if SUITES[name].is_judged}
    if not files:
        raise Refused(f"samples={source}: its suites ({record.config['suite']}) asked for no replies that judges read")
    measured = recorded_config(record.config, source)
    config = replace(
        measured,
        output_dir=config.output_dir,
        overwrite=config.overwrite,
        seed=config.seed,
        judges=config.judges,
        judge_model=config.judge_model,
        judging=config.judging,
        calibrations=config.calibrations,
        levels=config.levels or measured.levels,
        samples=config.samples,
        bootstrap_draws=config.bootstrap_draws,
    )
    check_levels(config)
    panel = convene(config, load_scenario(config.scenario, config.identity))
    calibrations = {f"calibration {directory}": Path(directory) for directory in config.calibrations}
    run = open_run("eval", config, {"samples": source} | calibrations)
    if run.is_complete:
        print(f"eval: {run.directory} is already complete")
        return
    with working(run):
        tables = {name: [_unjudged(row) for row in read_rows(source / file)] for name, file in files.items()}
        finished = run.finish(conclude(tables, panel, config, run))
    counts = ", ".join(f"{len(rows)} {SUITES[name].table}" for name, rows in tables.items())
    print(f"eval: {counts} of {source} judged in {finished.seconds:.0f} s -> {run.directory}")


def _unjudged(row: Row) -> Row:
    """The row as it was before a judge of compliance had nothing to say of it."""
    return row | {"status": "ok", "error": None} if row["status"] == UNJUDGED else row


def read_rows(file: Path) -> list[Row]:
    """The rows of a table; what a row does not have is None."""
    import pyarrow.parquet

    rows: list[Row] = pyarrow.parquet.read_table(file).to_pylist()
    return rows
