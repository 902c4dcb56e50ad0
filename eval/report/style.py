"""How figures look: one style for all, and one look for each subject that colour, marker and line all carry.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; the markers do the same in grey.
"""

from dataclasses import dataclass
from typing import Any

INK = "#1b1b1f"
"""Text, axes; becomes the page's text colour where a figure stands in the page."""
PAPER = "#fefefe"
"""Background and hollow markers; becomes the page's background."""
RULE = "#8a8a90"
"""Grid and zero line: visible on light and dark alike."""

STYLE: Any = {  # matplotlib types the keys of such a dict by a closed list
    "axes.edgecolor": RULE,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "errorbar.capsize": 3.0,
    "figure.facecolor": PAPER,
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "grid.alpha": 0.35,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.4,
    "lines.markersize": 6.5,
    "savefig.dpi": 200,
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched, and takes the page's font
    "svg.hashsalt": "report",
    "text.color": INK,
    "text.parse_math": False,  # a name with a dollar sign is a name
    "xtick.color": INK,
    "xtick.labelsize": 9.5,
    "xtick.major.size": 0,
    "ytick.color": INK,
    "ytick.labelsize": 10,
    "ytick.major.size": 0,
}

WIDTH = 5.6
"""Inches of every figure; at the width of a phone its text stays legible."""


@dataclass(frozen=True)
class Look:
    """What tells one series from another."""

    colour: str
    marker: str
    is_hollow: bool = False
    line: str = "-"

    def error_bar(self) -> dict[str, Any]:
        """Keyword arguments of `Axes.errorbar` for points without a line between."""
        return {
            "linestyle": "none",
            "color": self.colour,
            "marker": self.marker,
            "markerfacecolor": PAPER if self.is_hollow else self.colour,
            "markeredgewidth": 1.5,
        }


TIERS = {
    "free": Look("#D55E00", "o"),
    "paid": Look("#0072B2", "s", is_hollow=True),
    "trained": Look("#D55E00", "o"),
    "rated": Look("#009E73", "^"),
    "neither": Look("#0072B2", "s", is_hollow=True),
    "untagged": Look(INK, "D"),
}
"""What is trained on looks alike in every form of tiers, and so does what nobody sees."""
GAPS = {"trained_minus_neither": Look(INK, "D"), "trained_minus_rated": Look(INK, "D", is_hollow=True)}
"""By what tables call a gap, where a figure holds more than one."""

_SUBJECTS = {
    "base": Look("#8a8a90", "o", is_hollow=True, line=":"),
    "documents": Look("#0072B2", "o"),
    "placebo": Look("#E69F00", "s", is_hollow=True, line="--"),
    "imitation": Look("#56B4E9", "^", line="-."),
    "reinforcement": Look("#CC79A7", "v", line=(0, (5, 1))),  # type: ignore[arg-type]
    "positive_control": Look("#009E73", "D", line="-."),
    "graded_control": Look("#CC79A7", "D", is_hollow=True, line=":"),
}
_OTHERS = (
    Look("#56B4E9", "P", line="-"),
    Look("#D55E00", "X", is_hollow=True, line="--"),
    Look("#009E73", "<", line="-."),
    Look("#CC79A7", ">", is_hollow=True, line=":"),
)


def look_of(name: str, place: int) -> Look:
    """The look of a subject, or of a run named like one; `place` chooses among the others' looks."""
    return _SUBJECTS.get(name, _OTHERS[place % len(_OTHERS)])
