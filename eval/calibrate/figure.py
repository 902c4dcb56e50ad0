"""The reliability figure: of the texts that a judge scores so, what share do people label yes?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eval.calibrate.labels import LabelledExample
from eval.judges.judge import Verdict
from eval.report.figures import Drawing
from eval.report.style import RULE, STYLE, WIDTH, look_of
from eval.statistics import Estimate, wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BINS = 6
"""Bins of equally many examples, where scores are many."""


@dataclass(frozen=True)
class Bin:
    """Examples of about the same score."""

    score: float
    """Their mean."""
    labelled_yes: Estimate


def draw_reliability(
    judge: str, model: str, examples: list[LabelledExample], verdicts: list[Verdict]
) -> Drawing | None:
    """Score against the share labelled yes; for a judge without score, its two verdicts. None where nothing was judged."""
    bins = reliability_bins(examples, verdicts)
    if not bins:
        return None
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.75 * WIDTH), layout="constrained")
        axes = figure.subplots()
        _draw(axes, bins, has_scores=any(verdict.score is not None for verdict in verdicts))
    by = f"{judge}, answered by {model}" if model else judge
    caption = (
        f"Reliability of {by}: the share of examples that people label yes, by the judge's own score, with 95% intervals"
        f" (Wilson). {sum(b.labelled_yes.n for b in bins)} labelled examples, those not judged left out."
    )
    return Drawing(f"reliability_{judge}", caption, figure)


def reliability_bins(examples: list[LabelledExample], verdicts: list[Verdict]) -> list[Bin]:
    """Up to six bins of equally many examples, equal scores together."""
    pairs = [
        (float(v.value if v.score is None else v.score), e.label)
        for e, v in zip(examples, verdicts, strict=True)
        if v.value is not None
    ]
    if not pairs:
        return []
    scores = np.array([score for score, _ in pairs])
    labels = np.array([label for _, label in pairs])
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, _MOST_BINS + 1)[1:-1], method="higher"))
    places = np.unique(scores) if np.unique(scores).size <= _MOST_BINS else edges
    of = np.searchsorted(places, scores, side="right")
    return [
        Bin(float(scores[of == i].mean()), wilson(int(labels[of == i].sum()), int((of == i).sum())))
        for i in sorted(set(of.tolist()))
    ]


def _draw(axes: "Axes", bins: list[Bin], has_scores: bool) -> None:
    shares = [b.labelled_yes for b in bins]
    values = [share.value for share in shares]
    reach = [
        [max(0.0, share.value - share.low) for share in shares],
        [max(0.0, share.high - share.value) for share in shares],
    ]
    x = [b.score for b in bins]
    if min(x) >= 0 and max(x) <= 1:
        axes.plot([0, 1], [0, 1], color=RULE, linestyle=":", label="a score that is a probability")
        axes.set_xlim(-0.05, 1.05)
        axes.legend(loc="upper left")
    axes.errorbar(x, values, yerr=reach, **look_of("documents", 0).error_bar())
    for b in bins:
        axes.annotate(f" {b.labelled_yes.n}", (b.score, b.labelled_yes.value), fontsize=8.5)
    axes.set_ylim(-0.05, 1.05)
    axes.set_xlabel("score of the judge" if has_scores else "verdict of the judge (0 no, 1 yes)")
    axes.set_ylabel("share labelled yes (numbers: examples)")
