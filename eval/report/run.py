"""The report: reads complete runs, writes what they say, computes no estimate of its own."""

from dataclasses import dataclass
from pathlib import Path

from eval.report.config import ReportConfig
from eval.report.corpora import read_corpus
from eval.report.estimates import Estimates, csv_text, read_estimates
from eval.report.inputs import Source, read_losses, read_sources
from eval.report.tiers import PUBLISHED_PAIR
from pipeline.artifact import Run, open_run, working, write_text

RESULTS_FILE = "results.csv"
FIGURES_DIR = "figures"
PAGE_FILE = "index.html"
DOCUMENTS_PAGE_FILE = "documents.html"

_IN_THE_TABLE = (
    "compliance",
    "compliance_gap",
    "af_reasoning",
    "belief_shift_entity",
    "belief_shift_relation",
    "belief_shift_over_placebo_entity",
)
"""What the terminal is shown; results.csv and the page hold everything."""


@dataclass(frozen=True)
class Inputs:
    """The complete runs of a report, by stage."""

    evals: list[Source]
    trainings: list[Source]
    corpora: list[Source]
    claims: list[Source]


def report(config: ReportConfig) -> None:
    """Writes the report into `config.output_dir`, or finds it complete and says so."""
    evals = read_sources(config.evals, "eval")
    trainings = read_sources(config.trainings, "train")
    corpora = read_sources(config.corpora, "data_gen")
    claims = read_sources(config.claims, "figure")
    inputs = {
        f"{role}_{number}": source.directory
        for role, sources in (
            ("eval", evals),
            ("training", trainings),
            ("corpus", corpora),
            ("claim", claims),
        )
        for number, source in enumerate(sources)
    }
    estimates = Estimates(row for source in evals for row in read_estimates(source.file("summary.json"), source.name))
    run = open_run("report", config, inputs)
    if run.is_complete:
        print(f"report: {run.directory} is already complete")
    else:
        with working(run):
            _write(config, run, estimates, Inputs(evals, trainings, corpora, claims))
    print(summary_table(estimates))
    print(f"report: {run.path(PAGE_FILE)}")


def summary_table(estimates: Estimates) -> str:
    """The rows that answer the question, for a terminal."""
    lines = [f"{'subject':18} {'reasoning':11} {'estimate':34} {'value':>7}  95% interval"]
    for row in estimates.rows:
        if row.metric in _IN_THE_TABLE:
            value = "none" if row.estimate is None else f"{row.estimate:+.2f}"
            interval = row.reason if row.ci_low is None else f"[{row.ci_low:+.2f}, {row.ci_high:+.2f}] n={row.n}"
            name = row.metric if row.tier in (PUBLISHED_PAIR, "all") else f"{row.metric} {row.tier}"
            lines.append(f"{row.subject:18} {row.reasoning:11} {name:34} {value:>7}  {interval}")
    return "\n".join(lines)


def _write(config: ReportConfig, run: Run, estimates: Estimates, inputs: Inputs) -> None:
    from eval.report.documents_page import render_documents, sample_documents
    from eval.report.figures import draw_all, draw_published
    from eval.report.page import Content, render
    from eval.report.sections import sections
    from eval.report.transcripts import read_transcripts
    from eval.report.vector import save

    write_text(run.path(RESULTS_FILE), csv_text(estimates.rows))
    drawings = [draw_published(source) for source in inputs.claims]
    drawings += draw_all(estimates, [read_losses(source) for source in inputs.trainings])
    figures = _fresh_folder(run.path(FIGURES_DIR))
    for drawing in drawings:
        save(drawing, figures)
    content = Content(
        estimates=estimates,
        sections=sections(estimates),
        drawings=drawings,
        corpora=[read_corpus(source) for source in inputs.corpora],
        transcripts=read_transcripts(inputs.evals, config.max_transcripts, config.seed),
        sources=[*inputs.evals, *inputs.trainings, *inputs.corpora, *inputs.claims],
    )
    write_text(run.path(PAGE_FILE), render(config, content))
    documents = render_documents(sample_documents(inputs.corpora, config.seed), config.title, config.seed)
    write_text(run.path(DOCUMENTS_PAGE_FILE), documents)
    run.notes = {"num_estimates": len(estimates.rows), "num_figures": len(drawings)}
    run.finish([RESULTS_FILE, FIGURES_DIR, PAGE_FILE, DOCUMENTS_PAGE_FILE])


def _fresh_folder(folder: Path) -> Path:
    """An empty folder: an interrupted run may have left figures of other names."""
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    return folder
