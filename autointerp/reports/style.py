"""The house style of pictures."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from markupsafe import escape
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from autointerp.reports.colours import INK, MUTED, PAPER, RULE
from autointerp.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

PNG_DPI = 160
# Where a point's label may stand, in points from it: the nearest first, on either side.
LABEL_PLACES = [
    (across, away if away > 0 else away - 6)
    for step in range(8)
    for across in (5, -5)
    for away in (5 + 10 * step, -5 - 10 * step)
]


@contextmanager
def house_style(name: str) -> Iterator[None]:
    """Draw inside in the house style; the same `name` gives the same bytes."""
    with matplotlib.rc_context(
        {
            "font.family": "DejaVu Sans",
            "font.size": 9.5,
            "text.color": INK,
            "text.parse_math": False,
            "axes.edgecolor": MUTED,
            "axes.labelcolor": INK,
            "axes.titlesize": 10.5,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.unicode_minus": True,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "grid.color": RULE,
            "grid.linewidth": 0.7,
            "legend.frameon": False,
            "figure.facecolor": PAPER,
            "axes.facecolor": "none",
            "svg.fonttype": "none",  # text stays text: it can be read, searched and restyled
            "svg.hashsalt": name,
            "figure.constrained_layout.h_pad": 0.08,
            "figure.constrained_layout.w_pad": 0.08,
        }
    ):
        # A source may be named in a script that the font lacks; browsers have others for an SVG.
        lacking = r"Glyph .* missing from font"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", lacking, UserWarning)
            yield


def drawable(text: str) -> str:
    """Return text of a corpus as a picture can show it: what its font lacks as `\\u{…}`."""
    font = _font()
    return "".join(
        character if font.get_char_index(ord(character)) else f"\\u{{{ord(character):x}}}"
        for character in visible(text)
    )


@cache
def _font() -> FT2Font:
    return get_font(findfont("DejaVu Sans"))


MARK_LETTERS = 7  # as wide as a legend's mark with the gaps round it
LETTER = 0.6  # width of a letter by its size
HEADLINE_LETTERS, HEADLINE_IN = 9.2, 0.22  # letters an inch of a headline, and a line's height
BENEATH_LETTERS, BENEATH_IN = 14.0, 0.16  # the same of what stands beneath


def sheet(width: float, height: float) -> Figure:
    """Return an empty picture of so many inches, laid out so that nothing overlaps."""
    return Figure(figsize=(width, height), layout="constrained")


def headline(figure: Figure, text: str, beneath: str = "") -> None:
    """Write the finding over the picture and what it rests on under that, each in as many lines
    as it takes."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(text, int(HEADLINE_LETTERS * width))
    under = textwrap.wrap(beneath, int(BENEATH_LETTERS * width), break_on_hyphens=False)
    more = HEADLINE_IN * max(0, len(lines) - 1) + BENEATH_IN * max(0, len(under) - 1)
    if more:
        figure.set_size_inches(width, height + more)
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=12.5, fontweight="bold")
    if under:
        figure.supxlabel("\n".join(under), x=0.01, ha="left", fontsize=8.5, color=MUTED)


def shortened(name: str, most: int) -> str:
    """Return a name of so many letters at most: both ends are kept, for names differ there."""
    if len(name) <= most:
        return name
    end = most // 2
    return f"{name[: most - end - 1]}…{name[-end:]}"


def two_lines(name: str, most: int) -> str:
    """Return a name in one line or two of so many letters at most, broken behind a sign where it
    has one; of a longer rest both ends are kept."""
    if len(name) <= most:
        return name
    signs = [place + 1 for place, letter in enumerate(name[:most]) if not letter.isalnum()]
    at = signs[-1] if signs else most
    return f"{name[:at]}\n{shortened(name[at:], most)}"


def legend_columns(names: Sequence[str], inches: float) -> int:
    """Return how many names of a legend go beside one another in so many inches."""
    letter = 9.5 * LETTER / 72  # of a legend of 9.5 points
    return max(1, int(inches / (letter * (max(map(len, names)) + MARK_LETTERS))))


def log_axis(axes: Axes, written: Callable[[float], str]) -> None:
    """Make the x axis logarithmic, ticks at 1, 2 and 5 (at 1 over many decades)."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    subs = (1.0,) if high / low > 300 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: written(x)))
    axes.xaxis.set_minor_locator(NullLocator())


def part_labels(figure: Figure, labels: Sequence[Annotation]) -> None:
    """Put the labels of points beside them where no two overlap, within the axes where it goes.

    The figure is laid out first, so call it last.
    """
    for label in labels:
        label.set_in_layout(False)
    figure.draw_without_rendering()
    placed: list[Bbox] = []
    for label in labels:
        axes = label.axes
        assert axes is not None
        for across, up in LABEL_PLACES:
            label.set_position((across, up))
            label.set_horizontalalignment("left" if across > 0 else "right")
            box = label.get_window_extent()
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
            if inside and not any(box.overlaps(other) for other in placed):
                break
        else:
            label.set_position(LABEL_PLACES[0])
            label.set_horizontalalignment("left")
        placed.append(label.get_window_extent())


def plain_axes(axes: Axes, grid: str = "y") -> None:
    axes.grid(axis=grid)  # type: ignore[arg-type]
    axes.tick_params(length=0)


def save(figure: Figure, path: Path, title: str = "", alt: str = "") -> str:
    """Write `path`.png, `path`.svg and `path`.pdf; return the SVG.

    `title` and `alt` become the SVG's own title and description, for those who do not see it.
    `savefig` would lay out and draw a picture twice for each file; this lays it out once, by the
    renderer that then draws it, so that texts are measured once too.
    """
    canvas = laid_out(figure)
    write_png(canvas, path.with_name(f"{path.name}.png"))
    write_pdf(figure, path.with_name(f"{path.name}.pdf"))
    svg = described(drawn_svg(figure), title, alt)
    path.with_name(f"{path.name}.svg").write_text(svg, encoding="utf-8")
    return svg


def laid_out(figure: Figure) -> FigureCanvasAgg:
    """Lay out a picture for good; return what draws it in pixels."""
    figure.set_dpi(PNG_DPI)
    canvas = FigureCanvasAgg(figure)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    return canvas


def drawn_svg(figure: Figure) -> str:
    """Return a picture as an SVG, as it is laid out; the same picture gives the same text."""
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    return buffer.getvalue()


def write_png(canvas: FigureCanvasAgg, path: Path) -> None:
    """Write a picture in pixels, as it is laid out."""
    # Half of the time of the usual level of compression, for a tenth more bytes.
    canvas.print_png(path, pil_kwargs={"compress_level": 3})


def write_pdf(figure: Figure, path: Path) -> None:
    """Write a picture for a paper, as it is laid out; the same picture gives the same bytes."""
    FigureCanvasPdf(figure).print_pdf(path, metadata={"CreationDate": None})


def described(svg: str, title: str, alt: str) -> str:
    """Return an SVG that says what it shows, to readers of a screen; `svg` itself without `alt`."""
    if not alt:
        return svg
    begin = svg.index("<svg")
    end = svg.index(">", begin)
    return (
        f'{svg[:end]} role="img" aria-labelledby="title description">'
        f'<title id="title">{escape(title)}</title>'
        f'<desc id="description">{escape(alt)}</desc>{svg[end + 1 :]}'
    )
