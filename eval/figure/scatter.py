"""A claim as a scatter: one metric against another, a panel for each group, a mark for each row that has both.

A row of which the metric to the right is missing stands in a strip of its own beside the axis. Names are written where
they run over no mark and no other name; those for which there is no room are in the table alone.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eval.figure.rows import metric_title
from eval.figure.table import PUBLISHED, Row
from eval.report.style import INK, PAPER, RULE, Look
from eval.report.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

_PANEL_WIDTH, _PANEL_HEIGHT = 4.4, 3.3
"""Inches."""
_COLUMNS = 2
_LOOKS = {
    "highlight": Look("#D55E00", "o"),
    "ours": Look("#0072B2", "s", is_hollow=True),
    PUBLISHED: Look("#6d6d73", "D", is_hollow=True),
}
_KINDS = {"highlight": "ours, steps joined", "ours": "ours, other variants", PUBLISHED: "published"}
_STRIP = 0.3
"""Width of the strip, as a share of the axis to the right of it."""
_SIDES = ((4, 2), (-4, 2), (4, -2), (-4, -2))
"""Where a name can stand, in points from its mark: beside it, and above or below its bars."""
_LONGEST_NAME = 34


@dataclass(frozen=True)
class Mark:
    """A row whose metric upwards is known."""

    name: str
    kind: str
    """`highlight`, `ours` or `published`."""
    right: Row | None
    """None for a mark in the strip."""
    up: Row

    @property
    def height(self) -> float:
        """The value of the metric upwards."""
        assert self.up.estimate is not None
        return self.up.estimate


class ScatterPicture:
    """The marks of a table, ready to be drawn."""

    published = "Grey diamonds"
    """How published values are told from ours."""

    def __init__(self, rows: list[Row], metrics: list[str], highlights: list[str]) -> None:
        self.titles = [metric_title(metric, rows) for metric in metrics]
        self.highlights = highlights
        self.groups = {
            group: _marks([row for row in rows if row.group == group], metrics, highlights)
            for group in dict.fromkeys(row.group for row in rows)
        }
        of_axis = [row for row in rows if row.metric == metrics[0] and row.estimate is not None]
        self.end = max([0.2, *(row.ci_high or row.estimate or 0.0 for row in of_axis)])

    @property
    def width(self) -> float:
        """Inches."""
        return _PANEL_WIDTH * _COLUMNS

    @property
    def height(self) -> float:
        """Inches."""
        return _PANEL_HEIGHT * -(-len(self.groups) // _COLUMNS)

    @property
    def num_in_strip(self) -> int:
        """Marks of which the metric to the right has no estimate."""
        return sum(mark.right is None for marks in self.groups.values() for mark in marks)

    @property
    def note(self) -> str:
        """What the caption has to explain."""
        if not self.num_in_strip:
            return ""
        return f"In the grey strip, without an estimate of {self.titles[0]}: {self.num_in_strip}."

    def draw(self, figure: "Figure") -> None:
        """Fills the figure."""
        panels = list(
            figure.subplots(-(-len(self.groups) // _COLUMNS), _COLUMNS, squeeze=False, sharex=True, sharey=True).flat
        )
        for axes in panels[len(self.groups) :]:
            axes.set_visible(False)
        placed = [
            (axes, self._draw_panel(axes, group, marks))
            for axes, (group, marks) in zip(panels, self.groups.items(), strict=False)
        ]
        self._legend(figure)
        figure.draw_without_rendering()  # names are placed by where the marks have come to stand
        for axes, marks in placed:
            _name_marks(axes, marks)

    def _draw_panel(self, axes: "Axes", group: str, marks: list[Mark]) -> list[tuple[Mark, float]]:
        """Draws the marks, and says where each stands from left to right."""
        axes.set_title(visible(group), fontsize=9.5, color=INK, loc="left")
        axes.set_xlabel(self.titles[0], fontsize=8.5)
        axes.set_ylabel(self.titles[1], fontsize=8.5)
        axes.tick_params(labelsize=8, labelbottom=True, labelleft=True)
        axes.grid(True, axis="both")
        axes.axhline(0, color=RULE, linewidth=1.2)
        axes.axvline(0, color=RULE, linewidth=1.2)
        if self.num_in_strip:
            axes.axvspan(-_STRIP * self.end, 0, color=RULE, alpha=0.15, linewidth=0)
        axes.set_xlim(-(_STRIP if self.num_in_strip else 0.04) * self.end, 1.04 * self.end)
        axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= 1.04 * self.end])
        bare = [mark for mark in marks if mark.right is None]
        placed = []
        for mark in marks:
            if mark.right is None:  # side by side, as they have no place of their own
                x = -_STRIP * self.end * (1 - (bare.index(mark) + 1) / (len(bare) + 1))
            else:
                assert mark.right.estimate is not None
                x = mark.right.estimate
            _draw_mark(axes, mark, x)
            placed.append((mark, x))
        steps = {mark.name: (x, mark.height) for mark, x in placed if mark.kind == "highlight"}
        joined = [steps[name] for name in self.highlights if name in steps]
        axes.plot(*zip(*joined, strict=True) if joined else ([], []), color=_LOOKS["highlight"].colour, alpha=0.5)
        return placed

    def _legend(self, figure: "Figure") -> None:
        from matplotlib.lines import Line2D

        kinds = {mark.kind for marks in self.groups.values() for mark in marks}
        handles = [
            Line2D([], [], label=_KINDS[kind], linestyle="none", marker=look.marker,
                   color=look.colour, markersize=5.5, markerfacecolor=PAPER if look.is_hollow else look.colour)
            for kind, look in _LOOKS.items() if kind in kinds
        ]  # fmt: skip
        figure.legend(handles=handles, loc="outside upper right", ncols=1, fontsize=8, labelspacing=0.25)


def _marks(rows: list[Row], metrics: list[str], highlights: list[str]) -> list[Mark]:
    """A mark for each row of which the metric upwards is known."""
    known: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        if row.estimate is not None:
            known.setdefault((row.row, row.source), {}).setdefault(row.metric, row)  # of three tiers, the first gap
    marks = [
        Mark(name, _kind(name, source, highlights), of_row.get(metrics[0]), of_row[metrics[1]])
        for (name, source), of_row in known.items()
        if metrics[1] in of_row
    ]
    return sorted(marks, key=lambda mark: highlights.index(mark.name) if mark.kind == "highlight" else len(highlights))


def _kind(name: str, source: str, highlights: list[str]) -> str:
    if source == PUBLISHED:
        return PUBLISHED
    return "highlight" if name in highlights else "ours"


def _draw_mark(axes: "Axes", mark: Mark, x: float) -> None:
    style = _LOOKS[mark.kind].error_bar() | {"markersize": 5.0, "capsize": 2.0, "linewidth": 1.0}
    axes.errorbar([x], [mark.height], yerr=_spread(mark.up), xerr=_spread(mark.right), **style)


def _spread(row: Row | None) -> list[list[float]] | None:
    """How far the interval reaches below and above; None where there is none."""
    if row is None or row.estimate is None or row.ci_low is None or row.ci_high is None:
        return None
    return [[max(0.0, row.estimate - row.ci_low)], [max(0.0, row.ci_high - row.estimate)]]


def _name_marks(axes: "Axes", placed: list[tuple[Mark, float]]) -> None:
    """Writes each name beside its mark, at the first of four sides where it runs over nothing."""
    from matplotlib.transforms import Bbox

    points = [axes.transData.transform((x, mark.height)) for mark, x in placed]
    taken = [Bbox.from_extents(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    for mark, x in sorted(placed, key=lambda one: list(_LOOKS).index(one[0].kind)):
        for right, up in _SIDES:
            name = axes.annotate(
                _shortened(mark.name), (x, mark.height), (right, up), textcoords="offset points",
                ha="left" if right > 0 else "right", va="bottom" if up > 0 else "top", fontsize=6.5, color=INK,
            )  # fmt: skip
            box = name.get_window_extent()
            if _is_within(box, axes) and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                name.set_in_layout(False)
                break
            name.remove()


def _is_within(box: "Bbox", axes: "Axes") -> bool:
    inside = axes.get_window_extent()
    return bool(inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1))


def _shortened(name: str) -> str:
    shown = visible(name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}…"
