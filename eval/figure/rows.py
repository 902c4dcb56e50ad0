"""A claim as rows: one panel for each metric, one line for each row, ours above the published ones of the same group.

Tiers differ by colour, shape and filling; published rows stand on grey, and say so.
"""

from typing import TYPE_CHECKING

from eval.figure.table import PUBLISHED, Row
from eval.report.style import GAPS, INK, PAPER, RULE, TIERS, Look
from eval.report.text import visible, words
from eval.report.tiers import PUBLISHED_PAIR, pair_label, tier_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_WIDTH, LABEL_WIDTH = 2.35, 2.9
"""Inches."""

RATES = ("compliance", "af_reasoning", "malformed", "objection", "anti_lab", "lie", "egregious_lie")
"""Metrics between 0 and 1."""

_LINE = 0.27
_FEWEST_LINES, _FEWEST_PANELS = 6, 2
"""A figure has room for as many, so that its title and caption do."""
_OTHER = Look(INK, "D")
_OFFSETS = {"free": -0.17, "paid": 0.17, "trained": -0.25, "rated": 0.0, "neither": 0.25}
_OFFSETS_OF_GAPS = {"trained_minus_neither": -0.17, "trained_minus_rated": 0.17}
_OF_TIERS = {tier: (tier_label(tier), TIERS[tier], offset) for tier, offset in _OFFSETS.items()} | {
    gap: (pair_label(gap), GAPS[gap], offset) for gap, offset in _OFFSETS_OF_GAPS.items()
}
"""By tier or pair of tiers: its name, its look, and how far from the middle of its line it stands."""
_FORMS = (("free", "paid"), ("trained", "rated", "neither"), tuple(GAPS))
"""Tiers, or gaps, that are told apart where more than one of them stands in a panel."""
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

_UNTIERED = {"compliance_gap": "Compliance gap", "af_reasoning": "AF reasoning"}

Line = tuple[str, str, str]
"""Group, row and source; a row of no name is the group's heading."""


class RowsPicture:
    """The rows of a table, ready to be drawn."""

    note = ""
    """What the caption has to explain."""
    published = "Marked (publ.)"
    """How published values are told from ours."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.metrics = list(dict.fromkeys(row.metric for row in rows))
        self.lines = _lines(rows)

    @property
    def width(self) -> float:
        """Inches."""
        return LABEL_WIDTH + PANEL_WIDTH * max(_FEWEST_PANELS, len(self.metrics))

    @property
    def height(self) -> float:
        """Inches."""
        return _LINE * max(len(self.lines), _FEWEST_LINES)

    def draw(self, figure: "Figure") -> None:
        """Fills the figure."""
        panels = figure.subplots(1, len(self.metrics), sharey=True, squeeze=False)[0]
        for axes, metric in zip(panels, self.metrics, strict=True):
            _draw_panel(axes, metric, self._of(metric), self.lines)
        _name_lines(panels[0], self.lines)
        told_apart = {tier for metric in self.metrics for tier in _tiers_of(self._of(metric))}
        _legend(figure, [tier for tier in _OF_TIERS if tier in told_apart])

    def _of(self, metric: str) -> list[Row]:
        return [row for row in self.rows if row.metric == metric]


def metric_title(metric: str, rows: list[Row]) -> str:
    """A metric over a panel or along an axis; without a tier where `rows` are of others: legend and rows' names tell which."""
    usual = {"compliance_gap": PUBLISHED_PAIR, "af_reasoning": "free"}.get(metric)
    if usual and any(row.tier != usual for row in rows if row.metric == metric):
        return _UNTIERED[metric]
    return _TITLES.get(metric, words(metric).capitalize())


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
    looks = _tiers_of(rows)
    for row in rows:
        place = lines.index((row.group, row.row, row.source))
        if row.estimate is not None:
            _draw_mark(axes, row, place, row.tier in looks)
        elif place not in told:  # once for both tiers
            told.add(place)
            text = "no estimate"
            if row.source == PUBLISHED:
                text = "not published" if row.reason.startswith("not published") else "range only"
            axes.annotate(
                text, (0.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=INK,
                bbox={"facecolor": PAPER, "linewidth": 0, "pad": 1.5, "alpha": 0.85},
            )  # fmt: skip
    if metric in RATES:
        axes.set_xlim(-0.04, 1.04)
    else:
        axes.axvline(0, color=RULE, linewidth=1.2)
    axes.set_title(metric_title(metric, rows), fontsize=9.5, color=INK, loc="left")
    axes.tick_params(axis="x", labelsize=8)
    axes.locator_params(axis="x", nbins=5)
    axes.set_ylim(len(lines) - 0.5, -0.5)


def _tiers_of(rows: list[Row]) -> list[str]:
    """The tiers that have to be told apart, in the order of the legend."""
    present = {row.tier for row in rows}
    told_apart = {tier for form in _FORMS for tier in form if len(present.intersection(form)) > 1}
    return [tier for tier in _OF_TIERS if tier in present & told_apart]


def _draw_mark(axes: "Axes", row: Row, place: int, is_told_apart: bool) -> None:
    _, look, offset = _OF_TIERS[row.tier] if is_told_apart else ("", _OTHER, 0.0)
    style = look.error_bar() | {"markersize": 5.0, "capsize": 2.5, "linewidth": 1.2}
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
    if len(name) > _LONGEST_LABEL:  # the middle goes: the end tells a row from its neighbours
        name = f"{name[: _LONGEST_LABEL // 3]}…{name[-(_LONGEST_LABEL * 2 // 3) :]}"
    return f"{name} (publ.)" if line[2] == PUBLISHED else name


def _legend(figure: "Figure", tiers: list[str]) -> None:
    from matplotlib.lines import Line2D

    names: dict[Look, list[str]] = {}
    for tier in tiers:
        name, look, _ = _OF_TIERS[tier]
        names.setdefault(look, []).append(name)
    handles = [
        Line2D([], [], label=" / ".join(alike), linestyle="none", color=look.colour, marker=look.marker, markersize=5.5,
               markerfacecolor=PAPER if look.is_hollow else look.colour)
        for look, alike in names.items()
    ]  # fmt: skip
    if handles:
        figure.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=8.5, labelspacing=0.2)
