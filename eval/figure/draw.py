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
from eval.report.wording import level_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOT_TRAINED_ON = ("paid", "rated", "neither")
"""Tiers that are not trained on, where reasoning to avoid being trained has no place: the table has them."""
_LEGEND_WIDTH = 3.8
"""Inches that the title leaves free."""


def draw_claim(table: Path, config: FigureConfig, is_alone: bool = True) -> tuple["Figure", str]:
    """The figure of a results.csv, and its caption; title and caption stand in the figure where it `is_alone`."""
    import matplotlib
    from matplotlib.figure import Figure

    rows = [row for row in read_table(table) if row.metric != "af_reasoning" or row.tier not in _NOT_TRAINED_ON]
    picture: RowsPicture | ScatterPicture = RowsPicture(rows)
    if config.form == "scatter":
        picture = ScatterPicture(rows, config.metrics, config.highlights)
    caption = " ".join(part for part in (_caption(rows, picture.published), picture.note) if part)
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


def _caption(rows: list[Row], published_mark: str) -> str:
    """n, what the bars are, and what is missing: all read off the table."""
    ours = [row for row in rows if row.source != PUBLISHED]
    published = [row for row in rows if row.source == PUBLISHED]
    told = [
        f"{metric_title(metric, rows)} {counts}"
        for metric in dict.fromkeys(row.metric for row in ours)
        if (counts := _counts([row for row in ours if row.metric == metric and row.estimate is not None]))
    ]
    parts = [f"Bars: 95% intervals. Ours: {'; '.join(told) or 'no estimate'}."]
    if missing := [row.reason for row in ours if row.estimate is None]:
        others = "; others for other reasons" if len(set(missing)) > 1 else ""
        parts.append(f"Ours without an estimate: {len(missing)} ({visible(missing[0])}{others}).")
    return " ".join([*parts, *_of_published(published, published_mark)])


def _of_published(rows: list[Row], mark: str) -> list[str]:
    """Sentences on the published values: how they are marked, where they are from, what their bars are, what there is not."""
    printed = [row for row in rows if row.estimate is not None]
    models = list(dict.fromkeys(row.note.partition("; ")[0] for row in rows))
    of_model = f" of {visible(models[0])}" if len(models) == 1 else ""
    parts = [f"{mark}: values{of_model} as printed in {_papers(printed)}."] if printed else []
    if intervals := dict.fromkeys(row.interval for row in printed if row.ci_low is not None):
        parts.append(f"Their bars: {'; '.join(intervals)}.")
    if bare := sum(row.ci_low is None for row in printed):
        parts.append(f"Printed without an error: {bare}.")
    if empty := [row for row in rows if row.estimate is None]:
        parts.append(f"No single value printed: {len(empty)} ({_papers(empty)}).")
    return parts


def _papers(rows: list[Row]) -> str:
    """By authors and year; the table has where they stand."""
    return ", ".join(dict.fromkeys(row.paper.partition(" (")[0] for row in rows))


def _counts(rows: list[Row]) -> str:
    """How many queries or statements stand behind these estimates; means over trainings or prompt variants told apart."""
    levels = {level_of(row.interval) for row in rows}
    single = sorted({int(row.n) for row in rows if level_of(row.interval) is None})
    means = sorted((level.num_units, level.num_asked) for level in levels if level is not None)
    parts = [f"n={_span(single)}"] if single else []
    parts += [f"mean over {units} trainings or prompt variants with n={asked} each" for units, asked in means]
    return ", ".join(parts)


def _span(numbers: list[int]) -> str:
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
