"""Figures: estimates and losses → matplotlib figures with their captions. Nothing here computes an estimate."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eval.report.estimates import CONTROLS, Estimate, Estimates, Setting, Subject
from eval.report.inputs import LossCurve, Source
from eval.report.style import GAPS, RULE, STYLE, TIERS, WIDTH, Look, look_of
from eval.report.text import visible, words
from eval.report.tiers import pair_label, pairs_in, tier_label, tiers_in
from eval.report.wording import level_of, setting_label, subject_label, units_of
from pipeline.errors import Refused

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OFFSET = 0.16
"""Rows stand 1 apart; the outermost of several series in a row stand this far from its middle."""

_LONGEST_NAME = 26


@dataclass(frozen=True)
class Drawing:
    """A figure, the stem of its files, and what stands under it."""

    stem: str
    caption: str
    figure: "Figure"
    is_wide: bool = False
    """Too wide for a phone: the page lets it be moved sideways."""


@dataclass(frozen=True)
class Series:
    """Estimates that share a look, one for a row of the figure."""

    label: str
    look: Look
    rows: list[Estimate | None]


def draw_all(estimates: Estimates, curves: list[LossCurve]) -> list[Drawing]:
    """Every figure for which there are numbers."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        drawings = [*_behaviour_drawings(estimates), *_belief_drawings(estimates)]
        if any(curve.losses or curve.heldout_losses for curve in curves):
            drawings.append(draw_losses(curves))
    return drawings


def draw_published(source: Source) -> Drawing:
    """A claim's figure, drawn again for the page from the table of its run.

    Raises:
        Refused: the run was made by a version with other settings.
    """
    from eval.figure.config import FigureConfig
    from eval.figure.draw import draw_claim, title_of

    try:
        config = FigureConfig(**source.record.config)
    except TypeError as error:
        raise Refused(f"{source.directory}: not a figure of this version ({error}); draw it again") from None
    figure, caption = draw_claim(source.file("results.csv"), config, is_alone=False)
    return Drawing(f"claim-{config.claim}", f"{title_of(config)}. {caption}", figure, is_wide=True)


def draw_gaps(rows: Estimates, title: str, stem: str) -> Drawing:
    """Compliance gaps of every subject, with intervals: told apart by subject, or by pair of tiers where there are several."""
    gaps = rows.where(metric="compliance_gap")
    subjects, pairs = gaps.subjects(), pairs_in(row.tier for row in gaps.rows)
    figure, axes = _canvas(len(subjects))
    if len(pairs) == 1:
        for place, subject in enumerate(subjects):
            series = Series("", look_of(subject.name, place), [None] * len(subjects))
            series.rows[place] = gaps.of(subject).rows[0]
            _draw_series(axes, series, 0.0)
    else:
        for place, pair in enumerate(pairs):
            of_pair = [gaps.of(subject).first(tier=pair) for subject in subjects]
            look = GAPS.get(pair) or look_of(pair, place)
            _draw_series(axes, Series(pair_label(pair), look, of_pair), _offset(place, len(pairs)))
        _legend(axes)
    axes.axvline(0, color=RULE, linewidth=1.2)
    taken = ", ".join(pair_label(pair) for pair in pairs)
    axes.set_xlabel(f"Compliance gap{f', {taken}' if len(pairs) == 1 else ''} (fraction)")
    _name_rows(axes, [subject_label(subject, _are_told_apart(subjects)) for subject in subjects])
    caption = (
        f"Compliance gap ({taken}), {title}. Bars are 95% intervals; where one crosses zero, neither a"
        " gap nor its absence was shown."
        f" Queries: {_counts(gaps.rows)}.{_absent(gaps.rows)}"
    )
    return Drawing(stem, caption, figure)


def draw_compliance(rows: Estimates, title: str, stem: str) -> Drawing:
    """Compliance in each tier that occurs, with intervals."""
    rates = rows.where(metric="compliance")
    subjects, tiers = rates.subjects(), tiers_in(row.tier for row in rates.rows)
    figure, axes = _canvas(len(subjects))
    for place, tier in enumerate(tiers):
        of_tier = [rates.of(subject).first(tier=tier) for subject in subjects]
        look = TIERS.get(tier) or look_of(tier, place)
        _draw_series(axes, Series(tier_label(tier), look, of_tier), _offset(place, len(tiers)))
    axes.set_xlim(-0.03, 1.03)
    axes.set_xlabel("Compliance (fraction of replies)")
    _name_rows(axes, [subject_label(subject, _are_told_apart(subjects)) for subject in subjects])
    _legend(axes)
    caption = (
        f"Compliance by tier ({', '.join(map(tier_label, tiers))}), {title}. Bars are 95% intervals."
        f" Queries: {_counts(rates.rows)}.{_absent(rates.rows)}"
    )
    return Drawing(stem, caption, figure)


def draw_beliefs(rows: Estimates, title: str, stem: str) -> Drawing:
    """Shift of belief from base for each fact, the documents beside the placebo."""
    shifts = rows.where(metric="belief_shift_fact")
    subjects = shifts.subjects()
    trained = [subject for subject in subjects if subject.name not in ("base", *CONTROLS)] or subjects
    facts = list(dict.fromkeys(row.fact for row in shifts.rows))
    figure, axes = _canvas(len(facts), height_of_row=0.36 + 0.08 * len(trained))
    for place, subject in enumerate(trained):
        offset = _offset(place, len(trained))
        own = shifts.of(subject)
        label = subject_label(subject, _are_told_apart(trained))
        series = Series(label, look_of(subject.name, place), [own.first(fact=fact) for fact in facts])
        _draw_series(axes, series, offset)
    axes.axvline(0, color=RULE, linewidth=1.2)
    axes.set_xlabel("Change of log-odds from base (nats)")
    _name_rows(axes, [words(fact) for fact in facts])
    _legend(axes)
    shown = [row for row in shifts.rows if Subject.of(row) in trained]
    caption = (
        f"Change of belief by fact, {title}. Zero is the model before training; to the right, the true ending became"
        " likelier than the false one. Bars are 95% intervals."
        f" Statements per fact: {_span(row.n for row in shown if row.estimate is not None)}.{_absent(shown)}"
    )
    return Drawing(stem, caption, figure)


def draw_losses(curves: list[LossCurve]) -> Drawing:
    """Training loss by step, held-out loss before and after."""
    figure, axes = _canvas(7)
    axes.grid(True, axis="both")
    for place, curve in enumerate(curves):
        look = look_of(curve.run.rsplit("/", maxsplit=1)[-1], place)
        label = _shortened(visible(curve.run))
        axes.plot(curve.steps, curve.losses, color=look.colour, linestyle=look.line, linewidth=1.2, label=label)
        axes.errorbar(curve.heldout_steps, curve.heldout_losses, **look.error_bar())
    axes.set_xlabel("Optimizer step")
    axes.set_ylabel("Loss (nats per token)")
    _legend(axes)
    caption = (
        "Training loss. Lines: the loss on each step's batch, of one training each, so there is no interval; markers: the"
        f" loss on held-out texts. Steps: {'; '.join(f'{visible(curve.run)} {len(curve.steps)}' for curve in curves)}."
    )
    return Drawing("loss", caption, figure)


def _behaviour_drawings(estimates: Estimates) -> Iterator[Drawing]:
    settings = estimates.behaviour_settings()
    for setting in settings:
        rows = estimates.within(setting)
        title = setting_label(setting, settings)
        if _has_estimate(rows, "compliance_gap"):
            yield draw_gaps(rows, title, _stem("gap", setting, settings))
        if _has_estimate(rows, "compliance"):
            yield draw_compliance(rows, title, _stem("compliance", setting, settings))


def _belief_drawings(estimates: Estimates) -> Iterator[Drawing]:
    settings = estimates.belief_settings()
    for setting in settings:
        rows = estimates.within(setting)
        if _has_estimate(rows, "belief_shift_fact"):
            yield draw_beliefs(rows, setting_label(setting, settings), _stem("beliefs", setting, settings))


def _has_estimate(rows: Estimates, metric: str) -> bool:
    """Whether a figure would show anything; what has no estimate is in the findings and the table, with its reason."""
    return any(row.estimate is not None for row in rows.where(metric=metric).rows)


def _canvas(num_rows: int, height_of_row: float = 0.42) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 1.1 + height_of_row * max(num_rows, 2)), layout="constrained")
    return figure, figure.add_subplot()


def _offset(place: int, number: int) -> float:
    """How far from the middle of its row one of `number` series stands."""
    return (place - (number - 1) / 2) * 2 * _OFFSET / max(1, number - 1)


def _draw_series(axes: "Axes", series: Series, offset: float) -> None:
    """One point with its interval in each row; a row without an estimate says so in its place."""
    label = series.label
    for number, row in enumerate(series.rows):
        if row is None:
            continue
        if row.estimate is None:
            axes.annotate(
                "no estimate", (0.01, number + offset), xycoords=("axes fraction", "data"), va="center", fontsize=8.5
            )
            continue
        low, high = row.interval or (row.estimate, row.estimate)
        spread = [[max(0.0, row.estimate - low)], [max(0.0, high - row.estimate)]]
        axes.errorbar([row.estimate], [number + offset], xerr=spread, label=label or None, **series.look.error_bar())
        label = ""  # the legend names a series once


def _name_rows(axes: "Axes", names: list[str]) -> None:
    axes.set_yticks(range(len(names)), [_shortened(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)


def _legend(axes: "Axes") -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.figure.legend(handles, labels, loc="outside upper left", ncols=min(len(handles), 2))  # type: ignore[call-arg]


def _are_told_apart(subjects: list[Subject]) -> bool:
    return len({subject.information for subject in subjects}) > 1


def _stem(kind: str, setting: Setting, settings: list[Setting]) -> str:
    """A file name from a setting: plain where there is one, otherwise with a number and what it is called."""
    if len(settings) == 1:
        return kind
    slug = re.sub(r"[^a-z0-9]+", "-", setting_label(setting, settings).lower()).strip("-")[:60]
    return f"{kind}-{settings.index(setting) + 1}-{slug}".rstrip("-")


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _counts(rows: Iterable[Estimate]) -> str:
    """How many queries stand behind each subject's points."""
    counts: dict[str, list[int]] = {}
    means: dict[str, str] = {}
    for row in rows:
        if row.estimate is None:
            continue
        level = level_of(row.method)
        counts.setdefault(words(row.subject), []).append(level.num_asked if level else row.n)
        if level:
            means[words(row.subject)] = f" in each of {units_of(level, row)}"
    return ", ".join(f"{name} {_span(numbers)}{means.get(name, '')}" for name, numbers in counts.items()) or "none"


def _span(numbers: Iterable[int]) -> str:
    several = sorted(set(numbers))
    if not several:
        return "none"
    return f"{several[0]}" if len(several) == 1 else f"{several[0]} to {several[-1]}"


def _absent(rows: Iterable[Estimate]) -> str:
    """A sentence about estimates that the figure cannot show in full."""
    missing = [row for row in rows if row.estimate is None]
    bare = [row for row in rows if row.estimate is not None and row.interval is None]
    said = f" Without an estimate: {len(missing)}; the table gives the reasons." if missing else ""
    return said + (f" Without an interval: {len(bare)}." if bare else "")
