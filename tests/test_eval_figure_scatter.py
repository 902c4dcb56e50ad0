"""A claim as a scatter: what stands where, and what is said of marks that lack a metric."""

from eval.figure.scatter import ScatterPicture
from eval.figure.table import OURS, PUBLISHED, Row

STEPS = ["none", "strong"]


def row(metric: str, name: str, estimate: float | None, source: str = OURS, group: str = "helpful only") -> Row:
    low, high = (None, None) if estimate is None else (estimate - 0.1, estimate + 0.1)
    return Row("conflict", metric, group, name, "free", source, estimate, low, high, "12", "Wilson", "", "", "", "")


def pictured(*rows: Row) -> ScatterPicture:
    return ScatterPicture(list(rows), ["af_reasoning", "compliance_gap"], STEPS)


def pair(name: str, right: float | None, up: float | None, source: str = OURS) -> list[Row]:
    return [row("af_reasoning", name, right, source), row("compliance_gap", name, up, source)]


def test_steps_come_first_and_in_their_order_and_published_rows_are_none_of_them() -> None:
    rows = [
        *pair("strong", 0.1, 0.2),
        *pair("other", 0.1, 0.2),
        *pair("none", 0.0, 0.0),
        *pair("none", 0.1, 0.1, PUBLISHED),
    ]
    marks = pictured(*rows).groups["helpful only"]
    assert [(mark.name, mark.kind) for mark in marks] == [
        ("none", "highlight"), ("strong", "highlight"), ("other", "ours"), ("none", PUBLISHED),
    ]  # fmt: skip


def test_a_row_without_the_metric_to_the_right_stands_in_the_strip_and_one_without_the_other_nowhere() -> None:
    picture = pictured(*pair("none", None, 0.2), *pair("strong", 0.3, None))
    assert [(mark.name, mark.right) for mark in picture.groups["helpful only"]] == [("none", None)]
    assert picture.note == "In the grey strip, without an estimate of AF reasoning, free tier: 1."
    assert pictured(*pair("none", 0.1, 0.2)).note == ""


def test_it_is_drawn_with_bars_both_ways_a_line_through_the_steps_and_names() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    picture = pictured(*pair("none", 0.0, 0.0), *pair("strong", 0.3, 0.4), *pair("other", None, -0.2))
    picture.draw(figure)
    panel = figure.axes[0]
    assert {text.get_text() for text in panel.texts} == {"none", "strong", "other"}
    assert sum(len(bars.get_segments()) for bars in panel.collections if hasattr(bars, "get_segments")) == 5
    [steps] = [line for line in panel.lines if list(line.get_xdata()) == [0.0, 0.3]]
    assert list(steps.get_ydata()) == [0.0, 0.4]
    assert all(tick >= 0 for tick in panel.get_xticks())
