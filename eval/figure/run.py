"""The figure stage: reads complete runs and published values, writes a table and draws it."""

from pathlib import Path

from eval.figure.config import FigureConfig
from eval.figure.table import build_table, write_table
from eval.report.inputs import read_sources
from eval.report.vector import save_figure
from pipeline.artifact import open_run, sha256_of, working, write_text

TABLE_FILE = "results.csv"
CAPTION_FILE = "caption.txt"
STEM = "figure"


def make_figure(config: FigureConfig) -> None:
    """Writes the claim's table and figure into `config.output_dir`, or finds them complete and says so."""
    sources = read_sources(config.evals, "eval")
    rows = build_table(config, sources)
    run = open_run("figure", config, {f"eval_{place}": source.directory for place, source in enumerate(sources)})
    if run.is_complete:
        print(f"figure: {run.directory} is already complete")
        return
    from eval.figure.draw import draw_claim

    with working(run):
        write_table(rows, run.path(TABLE_FILE))
        figure, caption = draw_claim(run.path(TABLE_FILE), config)
        files = save_figure(figure, run.directory, STEM)
        write_text(run.path(CAPTION_FILE), caption + "\n")
        run.notes = {"tables": {name: sha256_of(Path(name)) for name in config.tables}}
        run.finish([TABLE_FILE, CAPTION_FILE, *files])
    print(f"figure: {len(rows)} values -> {run.path(f'{STEM}.svg')}")
