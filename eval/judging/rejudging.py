"""Judging the replies of an earlier run again: new verdicts beside the old ones, and no reply asked for a second time."""

from dataclasses import replace
from pathlib import Path

from eval.config import EvalConfig, recorded_config
from eval.judging.panel import convene
from eval.judging.summarising import summarise_samples
from eval.samples import Row
from eval.summary import Summary
from pipeline.artifact import open_run, read_run, working, write_json
from pipeline.errors import Refused
from scenario.loader import load_scenario

TABLE = "samples.parquet"


def rejudge(config: EvalConfig) -> None:
    """Judges the replies of the run in `config.samples` into `config.output_dir`; loads no subject.

    Raises:
        Refused: that directory is no complete eval run, has no replies, or cannot be judged as the configuration says.
    """
    source = Path(config.samples)
    record = read_run(source, "eval")
    if TABLE not in record.outputs:
        raise Refused(f"samples={source}: holds no {TABLE}; its suites ({record.config['suite']}) asked for no replies")
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
        samples=config.samples,
        bootstrap_draws=config.bootstrap_draws,
    )
    panel = convene(config, load_scenario(config.scenario, config.identity))
    calibrations = {f"calibration {directory}": Path(directory) for directory in config.calibrations}
    run = open_run("eval", config, {"samples": source} | calibrations)
    if run.is_complete:
        print(f"eval: {run.directory} is already complete")
        return
    with working(run):
        rows = read_samples(source / TABLE)
        summary = Summary(config)
        outputs = summarise_samples(rows, list(rows[0]), panel, config, run, summary)
        write_json(run.path("summary.json"), summary.records)
        finished = run.finish([*outputs, "summary.json"])
    print(f"eval: {len(rows)} samples of {source} judged in {finished.seconds:.0f} s -> {run.directory}")


def read_samples(file: Path) -> list[Row]:
    """The rows of a table of samples; what a row does not have is None."""
    import pyarrow.parquet

    rows: list[Row] = pyarrow.parquet.read_table(file).to_pylist()
    return rows
