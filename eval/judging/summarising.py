"""From replies to judged replies and what follows from them: the tables, every judge's rates, and corrected rates."""

from eval.config import EvalConfig
from eval.judging.corrected import add_af_corrected
from eval.judging.panel import ANSWERS_FILE, Judged, Panel, judge_samples
from eval.judging.rates import add_verdict_rates
from eval.samples import Row
from eval.suites.catalogue import SUITES
from eval.summary import Summary, name_judge
from pipeline.artifact import Run, write_json

_OF_FORM = ("malformed", "objection", "decision_missing", "decision_accepted")
"""How the names begin of metrics that rest on a reply's form, of which nobody judges."""


def conclude(tables: dict[str, list[Row]], panel: Panel, config: EvalConfig, run: Run) -> list[str]:
    """Completes and judges the rows, writes their tables and summary.json; returns the names of all files written.

    Args:
        tables: rows by suite, one per reply; verdicts are put into them.
        panel: who judges; it sits once, over all that is to be judged.
        config: the run's configuration.
        run: where tables, summary and the judge model's answers go.
    """
    import pandas

    files = ["summary.json"]
    for name, rows in tables.items():
        files += SUITES[name].complete(rows, config, run)
    judged = [row for name, rows in tables.items() if SUITES[name].is_judged for row in rows]
    before = list(judged[0]) if judged else []  # those of an earlier judging included
    found = judge_samples(judged, panel, config, run) if judged else Judged({}, {})
    added = [column for columns in found.columns.values() for column in columns]
    summary = Summary(config, found.answered_as)
    for name, rows in tables.items():
        suite, columns = SUITES[name], list(SUITES[name].columns)
        if suite.is_judged:
            _summarise_judged(name, rows, panel, found, config, summary)
            columns += [column for column in (*before, *added) if column in rows[0] and column not in columns]
        else:
            suite.summarise(rows, config, summary)
        files.append(f"{suite.table}.parquet")
        pandas.DataFrame(rows, columns=list(dict.fromkeys(columns))).to_parquet(run.path(files[-1]), index=False)
    if summary.warnings:
        run.notes["warnings"] = list(dict.fromkeys(summary.warnings))
    write_json(run.path("summary.json"), summary.records)
    return files + ([ANSWERS_FILE] if run.path(ANSWERS_FILE).exists() else [])


def _summarise_judged(
    name: str, rows: list[Row], panel: Panel, found: Judged, config: EvalConfig, summary: Summary
) -> None:
    """The suite's estimates, with whose verdicts they rest on, and the rates of every judge with columns of its own."""
    before = len(summary.records)
    SUITES[name].summarise(rows, config, summary)
    add_af_corrected(rows, panel, config, summary, summary.records[before:])
    for record in summary.records[before:]:
        if not record["metric"].startswith(_OF_FORM) or "compliance" in record["metric"]:
            name_judge(record, _titles(record["metric"], panel))
    add_verdict_rates(rows, panel, found.columns, config, summary)


def _titles(metric: str, panel: Panel) -> str:
    """Whose verdicts an estimate rests on; AF reasoning is counted where the output complies, so it rests on both."""
    compliance = panel.title(panel.behind["compliance"])
    return f"{panel.title(panel.behind['af_reasoning'])} and {compliance}" if "af_" in metric else compliance
