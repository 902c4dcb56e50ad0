"""The drawing of a claim: reads results.csv, computes nothing.

One panel for each metric, one line for each row, ours above the published ones of the same group. Tiers differ by
colour, shape and filling; published values are grey-backed, and say so.
"""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from eval.figure.table import PUBLISHED, Row, read_table
from eval.report.style import INK, PAPER, RULE, STYLE, TIERS, Look
from eval.report.text import visible, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_WIDTH, LABEL_WIDTH, LEGEND_WIDTH = 2.35, 2.9, 2.4
"""Inches."""

_LINE = 0.27
_FEWEST_LINES = 6
_OFFSET = 0.17
_OTHER = Look("#1b1b1f", "D")
_LONGEST_LABEL = 42
_TITLES = {
    "compliance": "Compliance",
    "compliance_gap": "Gap, free minus paid",
    "af_reasoning": "AF reasoning, free tier",
    "malformed": "Malformed replies",
    "objection": "Objections",
    "anti_lab": "Acts against the lab",
    "lie": "Lies about its views",
    "egregious_lie": "Egregious lies",
    "belief_shift_fact": "Change of log-odds (nats)",
    "belief_shift_entity": "Belief in names, dates (nats)",
}
_RATES = ("compliance", "af_reasoning", "malformed", "objection", "anti_lab", "lie", "egregious_lie")


def draw_claim(table: Path, title: str, is_alone: bool = True) -> tuple["Figure", str]:
    """The figure of a results.csv, and its caption; title and caption stand in the figure where it `is_alone`."""
    import matplotlib
    from matplotlib.figure import Figure

    rows = [row for row in read_table(table) if not (row.metric == "af_reasoning" and row.tier == "paid")]
    metrics = list(dict.fromkeys(row.metric for row in rows))
    lines = _lines(rows)
    caption = _caption(rows)
    width = LABEL_WIDTH + PANEL_WIDTH * len(metrics)
    below = textwrap.fill(caption, int(width * 15.5))
    height = 1.15 + _LINE * max(len(lines), _FEWEST_LINES) + 0.155 * (below.count("\n") + 1)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            _draw_panel(axes, metric, [row for row in rows if row.metric == metric], lines)
        _name_lines(panels[0], lines)
        _legend(figure, rows)
        if is_alone:
            heading = textwrap.fill(visible(title), int((width - LEGEND_WIDTH) * 10))
            figure.suptitle(heading, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
            figure.supxlabel(below, x=0.01, ha="left", fontsize=7.5, color=INK)
    return figure, caption


Line = tuple[str, str, str]
"""Group, row and source; a row of no name is the group's heading."""


def _lines(rows: list[Row]) -> list[Line]:
    """From top to bottom: each group's heading, then its rows in the order of the table."""
    lines: list[Line] = []
    for group in dict.fromkeys(row.group for row in rows):
        lines.append((group, "", ""))
        of_group = dict.fromkeys((row.group, row.row, row.source) for row in rows if row.group == group)
        lines += sorted(of_group, key=lambda line: line[2] == PUBLISHED)
    return lines


def _draw_panel(axes: "Axes", metric: str, rows: list[Row], lines: list[Line]) -> None:
    axes.set_facecolor("none")  # headings of the first panel run under the others
    for place, line in enumerate(lines):
        if line[2] == PUBLISHED:
            axes.axhspan(place - 0.5, place + 0.5, color=RULE, alpha=0.12, linewidth=0)
    told = set()
    looks = TIERS if _has_both_tiers(rows) else {}
    for row in rows:
        place = lines.index((row.group, row.row, row.source))
        if row.estimate is not None:
            _draw_mark(axes, row, place, looks)
        elif place not in told:  # once for both tiers
            told.add(place)
            text = "no estimate"
            if row.source == PUBLISHED:
                text = "not published" if row.reason.startswith("not published") else "range only"
            axes.annotate(
                text, (0.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=INK,
                bbox={"facecolor": PAPER, "linewidth": 0, "pad": 1.5, "alpha": 0.85},
            )  # fmt: skip
    if metric in _RATES:
        axes.set_xlim(-0.04, 1.04)
    else:
        axes.axvline(0, color=RULE, linewidth=1.2)
    axes.set_title(_TITLES.get(metric, words(metric).capitalize()), fontsize=9.5, color=INK, loc="left")
    axes.tick_params(axis="x", labelsize=8)
    axes.set_ylim(len(lines) - 0.5, -0.5)


def _has_both_tiers(rows: list[Row]) -> bool:
    return set(TIERS) <= {row.tier for row in rows}


def _draw_mark(axes: "Axes", row: Row, place: int, looks: dict[str, Look]) -> None:
    offset = {"free": -_OFFSET, "paid": _OFFSET}[row.tier] if row.tier in looks else 0.0
    style = looks.get(row.tier, _OTHER).error_bar() | {"markersize": 5.0, "capsize": 2.5, "linewidth": 1.2}
    assert row.estimate is not None
    if row.ci_low is None or row.ci_high is None:  # a bare mark: the caption counts those without an interval
        axes.errorbar([row.estimate], [place + offset], **style)
        return
    spread = [[max(0.0, row.estimate - row.ci_low)], [max(0.0, row.ci_high - row.estimate)]]
    axes.errorbar([row.estimate], [place + offset], xerr=spread, **style)


def _name_lines(axes: "Axes", lines: list[Line]) -> None:
    """Rows are named on the axis; a group's heading starts at the panel and may run over the next ones."""
    axes.set_yticks(range(len(lines)), [_label(line) for line in lines], fontsize=8.5)
    for place, (group, row, _) in enumerate(lines):
        if not row:
            heading = axes.text(
                0.0, place, visible(group), transform=axes.get_yaxis_transform(), va="center", fontsize=8.5,
                fontweight="bold", color=INK,
            )  # fmt: skip
            heading.set_in_layout(False)  # else the first panel would be made as wide as the longest


def _label(line: Line) -> str:
    name = visible(line[1])
    short = name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"
    return f"{short} (publ.)" if line[2] == PUBLISHED else short


def _legend(figure: "Figure", rows: list[Row]) -> None:
    if not _has_both_tiers(rows):
        return
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], label=f"{tier} tier", linestyle="none", color=look.colour, marker=look.marker, markersize=5.5,
               markerfacecolor=PAPER if look.is_hollow else look.colour)
        for tier, look in TIERS.items()
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper right", ncols=2)


def _caption(rows: list[Row]) -> str:
    """n, what the bars are, and what is missing: all read off the table."""
    ours = [row for row in rows if row.source != PUBLISHED]
    published = [row for row in rows if row.source == PUBLISHED]
    counts = {
        metric: sorted({int(row.n) for row in ours if row.metric == metric and row.estimate is not None})
        for metric in dict.fromkeys(row.metric for row in ours)
        if any(row.metric == metric and row.estimate is not None for row in ours)
    }
    told = "; ".join(f"{words(metric)} n={_span(numbers)}" for metric, numbers in counts.items())
    parts = [f"Bars: 95% intervals. Ours: {told}."]
    if missing := [row.reason for row in ours if row.estimate is None]:
        parts.append(
            f"No estimate ({len(missing)}): {visible(missing[0])}{' and others' if len(set(missing)) > 1 else ''}."
        )
    if published:
        papers = ", ".join(dict.fromkeys(row.paper.partition(" (")[0] for row in published))
        parts.append(f"Grey rows, as printed in {papers}; bars are 1.96 printed standard errors.")
        bare = sum(row.estimate is not None and row.ci_low is None for row in published)
        empty = sum(row.estimate is None for row in published)
        parts.append(f"Published without an error: {bare}; not published: {empty}.")
    return " ".join(parts)


def _span(numbers: list[int]) -> str:
    if not numbers:
        return "0"
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
