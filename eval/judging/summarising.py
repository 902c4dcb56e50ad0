"""From replies to judged replies and what follows from them: the table, every judge's rates, and corrected rates."""

from eval.config import EvalConfig
from eval.judging.corrected import add_af_corrected
from eval.judging.panel import ANSWERS_FILE, Panel, judge_samples
from eval.judging.rates import add_verdict_rates
from eval.samples import Row
from eval.suites.compliance import ComplianceSuite
from eval.summary import Summary, name_judge
from pipeline.artifact import Run


def summarise_samples(
    rows: list[Row], columns: list[str], panel: Panel, config: EvalConfig, run: Run, summary: Summary
) -> list[str]:
    """Judges the rows, writes their table, and adds every estimate; returns the names of the files that it wrote.

    Args:
        rows: one per reply; verdicts are put into them.
        columns: those that the rows have before they are judged, in order.
        panel: who judges.
        config: the run's configuration.
        run: where the table and the judge model's answers go.
        summary: where the estimates go.
    """
    import pandas

    columns = list(dict.fromkeys([*columns, *judge_samples(rows, panel, config, run)]))
    before = len(summary.records)
    ComplianceSuite().summarise(rows, config, summary)
    add_af_corrected(rows, panel, config, summary, summary.records[before:])
    for record in summary.records[before:]:
        if not record["metric"].startswith("malformed"):  # of a reply's form nobody judges
            name_judge(record, _titles(record["metric"], panel))
    add_verdict_rates(rows, panel, config, summary)
    pandas.DataFrame(rows, columns=columns).to_parquet(run.path("samples.parquet"), index=False)
    return ["samples.parquet", *([ANSWERS_FILE] if run.path(ANSWERS_FILE).exists() else [])]


def _titles(metric: str, panel: Panel) -> str:
    """Whose verdicts an estimate rests on; AF reasoning is counted where the output complies, so it rests on both."""
    compliance = panel.title(panel.behind["compliance"])
    return f"{panel.title(panel.behind['af_reasoning'])} and {compliance}" if "af_" in metric else compliance
