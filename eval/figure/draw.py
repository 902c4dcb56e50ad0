"""The drawing of a claim: reads results.csv, computes nothing. Title above, caption below, between them rows or a scatter."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from eval.figure.config import FigureConfig
from eval.figure.rows import RowsPicture, metric_title
from eval.figure.scatter import ScatterPicture
from eval.figure.table import PUBLISHED, Row, read_table
from eval.report.style import INK, STYLE
from eval.report.text import visible, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEGEND_WIDTH = 3.3
"""Inches that the title leaves free."""


def draw_claim(table: Path, config: FigureConfig, is_alone: bool = True) -> tuple["Figure", str]:
    """The figure of a results.csv, and its caption; title and caption stand in the figure where it `is_alone`."""
    import matplotlib
    from matplotlib.figure import Figure

    rows = [row for row in read_table(table) if not (row.metric == "af_reasoning" and row.tier == "paid")]
    picture: RowsPicture | ScatterPicture = RowsPicture(rows)
    if config.form == "scatter":
        picture = ScatterPicture(rows, config.metrics, config.highlights)
    caption = " ".join(part for part in (_caption(rows), picture.note) if part)
    below = textwrap.fill(caption, int(picture.width * 15.5))
    height = 1.15 + picture.height + 0.155 * (below.count("\n") + 1)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(picture.width, height), layout="constrained")
        picture.draw(figure)
        if is_alone:
            heading = textwrap.fill(title_of(config), int((picture.width - _LEGEND_WIDTH) * 10))
            figure.suptitle(heading, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
            figure.supxlabel(below, x=0.01, ha="left", fontsize=7.5, color=INK)
    return figure, caption


def title_of(config: FigureConfig) -> str:
    """The heading that was given, or the claim's name."""
    return visible(config.title) or words(config.claim)


def _caption(rows: list[Row]) -> str:
    """n, what the bars are, and what is missing: all read off the table."""
    ours = [row for row in rows if row.source != PUBLISHED]
    published = [row for row in rows if row.source == PUBLISHED]
    counts = {
        metric: sorted({int(row.n) for row in ours if row.metric == metric and row.estimate is not None})
        for metric in dict.fromkeys(row.metric for row in ours)
        if any(row.metric == metric and row.estimate is not None for row in ours)
    }
    told = "; ".join(f"{metric_title(metric)} n={_span(numbers)}" for metric, numbers in counts.items())
    parts = [f"Bars: 95% intervals. Ours: {told or 'no estimate'}."]
    if missing := [row.reason for row in ours if row.estimate is None]:
        parts.append(
            f"No estimate ({len(missing)}): {visible(missing[0])}{' and others' if len(set(missing)) > 1 else ''}."
        )
    if published:
        papers = ", ".join(dict.fromkeys(row.paper.partition(" (")[0] for row in published))
        models = list(dict.fromkeys(row.note.partition("; ")[0] for row in published))
        of_model = f" of {visible(models[0])}" if len(models) == 1 else ""
        intervals = dict.fromkeys(row.interval for row in published if row.ci_low is not None)
        bars = f"; bars: {'; '.join(intervals)}" if intervals else ""
        parts.append(f"Grey: as printed{of_model} in {papers}{bars}.")
        bare = sum(row.estimate is not None and row.ci_low is None for row in published)
        empty = sum(row.estimate is None for row in published)
        parts.append(f"Published without an error: {bare}; not published: {empty}.")
    return " ".join(parts)


def _span(numbers: list[int]) -> str:
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
