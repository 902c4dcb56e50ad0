"""Text of models and names of runs, as the report shows them."""

from pathlib import Path

from eval.report.inputs import short_names
from eval.report.text import excerpt, visible, words


def test_visible_keeps_ordinary_writing_as_it_is() -> None:
    ordinary = "naïve 日本語 العربية ‌नि‍क 👩‍🚀\n\ttab\u00a0space"
    assert visible(ordinary) == ordinary
    assert visible("a\ud800b\x1b[31m\rc") == "a\ufffdb[U+001B][31m[U+000D]c"


def test_a_long_text_is_cut_and_says_so() -> None:
    assert excerpt("x" * 50, 20) == "x" * 20 + "\n[cut here: 30 more characters]"


def test_runs_of_one_name_are_told_apart_by_their_folders() -> None:
    assert short_names([Path("out/a/eval"), Path("out/b/eval"), Path("other")]) == ["a/eval", "b/eval", "other"]
    assert short_names([Path("x/eval")]) == ["eval"]


def test_a_very_long_name_is_cut() -> None:
    assert words("graded_control") == "graded control"
    assert words("x" * 500) == "x" * 120 + "\N{HORIZONTAL ELLIPSIS}"
