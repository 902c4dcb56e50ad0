"""A figure as files, and as SVG that can stand inside the page: no links, no clashing ids, the page's own colours."""

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from eval.report.figures import Drawing
from eval.report.style import INK, PAPER, STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_COLOURS = 64
_IDS = re.compile(r'(\bid="|\bhref="#|url\(#)')


def save(drawing: Drawing, directory: Path) -> list[str]:
    """Writes `<stem>.svg` and `<stem>.png`; the same numbers give the same bytes."""
    return save_figure(drawing.figure, directory, drawing.stem)


def save_figure(figure: "Figure", directory: Path, stem: str) -> list[str]:
    """Writes `<stem>.svg` and `<stem>.png` and returns their names."""
    text = io.StringIO()
    _save(figure, text, "svg", _NO_METADATA)
    (directory / f"{stem}.svg").write_text(text.getvalue(), encoding="utf-8")
    _save_small_png(figure, directory / f"{stem}.png")
    return [f"{stem}.svg", f"{stem}.png"]


def svg_text(drawing: Drawing) -> str:
    """The figure as a stand-alone SVG file."""
    text = io.StringIO()
    _save(drawing.figure, text, "svg", _NO_METADATA)
    return text.getvalue()


def inline_svg(drawing: Drawing) -> str:
    """The figure as an `<svg>` element of the page, coloured by the page's custom properties."""
    text = svg_text(drawing)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style\b.*?</style>", "", text, flags=re.DOTALL)  # it would apply to the whole page
    head, rest = text.split(">", maxsplit=1)
    box = re.search(r'viewBox="[\d. ]+"', head)
    assert box is not None, "matplotlib gives every SVG a viewBox"
    rest = rest.replace("xlink:href", "href")
    rest = _IDS.sub(rf"\g<1>{drawing.stem}-", rest)
    rest = rest.replace(INK, "var(--ink)").replace(PAPER, "var(--paper)").replace("'DejaVu Sans'", "var(--font)")
    return f'<svg {box[0]} role="img" aria-labelledby="{drawing.stem}-caption">{rest}'


def _save_small_png(figure: "Figure", path: Path) -> None:
    """With a palette: a drawing has few colours, and its file is then a third as large."""
    from PIL import Image

    drawn = io.BytesIO()
    _save(figure, drawn, "png", {"Software": None})
    drawn.seek(0)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(_COLOURS, Image.Quantize.FASTOCTREE).save(path, "PNG", optimize=True)


def _save(figure: "Figure", target: Path | io.StringIO | io.BytesIO, form: str, metadata: dict[str, None]) -> None:
    import matplotlib

    with matplotlib.rc_context(STYLE):  # fonts and ids are chosen when a figure is saved, not when it is drawn
        figure.savefig(target, format=form, metadata=metadata)
