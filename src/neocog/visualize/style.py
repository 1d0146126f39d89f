"""The house style: one set of colours, sizes and words for every figure.

Colours are those of Okabe and Ito (2008), which people with any of the common colour-vision deficiencies can
tell apart. A title states what the figure shows, not what kind of figure it is.
"""

from __future__ import annotations

import io
import textwrap
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import category, east_asian_width

from neocog._files import atomic_file, storing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure

BLUE, VERMILION, GREEN, SKY = "#0072B2", "#D55E00", "#009E73", "#56B4E9"
INK, MUTED, GRID, EMPTY = "#1f2328", "#5c636b", "#e3e6ea", "#eeeeee"

DPI = 150
TITLE, LABEL, TICK = 13.0, 10.0, 9.0  # font sizes in points

# Class names may be in any script; the first of these that is installed and has a character draws it.
FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "PingFang SC",
    "Hiragino Sans",
    "Noto Sans",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Emoji",
)


def new_figure(width: float, height: float, *, constrained: bool = True) -> Figure:
    """Return an empty white figure of `width` x `height` inches on an Agg canvas of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), DPI, facecolor="white", layout="constrained" if constrained else None)
    FigureCanvasAgg(figure)
    return figure


def headline(figure: Figure, finding: str) -> None:
    """Set the figure's title, at the left and wrapped to its width."""
    title = "\n".join(title_lines(finding, figure.get_figwidth()))
    figure.suptitle(title, x=0.0, ha="left", fontsize=TITLE, fontweight="bold", color=INK)


def title_lines(finding: str, width: float) -> list[str]:
    """Return the lines into which `headline` wraps a title above a figure of `width` inches."""
    return textwrap.wrap(finding, int(width * 72 / (TITLE * 0.62)))


def dress(axes: Axes, *, title: str = "", x: str = "", y: str = "") -> None:
    """Give `axes` the house's labels, a light grid, and no box."""
    axes.set_title(title, loc="left", fontsize=LABEL + 1, color=INK)
    axes.set_xlabel(x, fontsize=LABEL, color=INK)
    axes.set_ylabel(y, fontsize=LABEL, color=INK)
    axes.tick_params(labelsize=TICK, colors=MUTED, length=3)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#b5bac1")


def as_percent(axis: XAxis | YAxis) -> None:
    """Show the shares along a matplotlib axis as percent."""
    axis.set_major_formatter(lambda share, _: f"{100 * share:.4g}\N{NO-BREAK SPACE}%")


def save(figure: Figure, path: str | Path) -> Path:
    """Write `figure` to `path` in the format that its suffix names, and return the path.

    Raises:
        StorageError: the place cannot be written.
    """
    from matplotlib.text import Text

    path = Path(path)
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_fontfamily(_families())
    drawn = io.BytesIO()
    kind = path.suffix.lstrip(".").lower() or "png"
    made_by = {"Software": "neocog"} if kind == "png" else None
    figure.savefig(drawn, format=kind, dpi=DPI, bbox_inches="tight", pad_inches=0.12, metadata=made_by)
    write(path, drawn.getvalue())
    return path


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path`, making its folder where there is none.

    Raises:
        StorageError: the place cannot be written.
    """
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write(content)


def message_figure(message: str, path: str | Path) -> Path:
    """Write a small figure that holds only a sentence, for when there is nothing to draw."""
    figure = new_figure(6.4, 1.4)
    figure.text(0.5, 0.5, "\n".join(textwrap.wrap(message, 60)), ha="center", va="center", fontsize=TITLE, color=INK)
    return save(figure, path)


def percent(share: float, digits: int = 1) -> str:
    """Return a share as "97.8 %", with more digits where rounding would make a full 100 of less."""
    while share < 1 and digits < 4 and round(100 * share, digits) == 100:
        digits += 1
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def plain(text: str) -> str:
    """Return `text` as matplotlib can draw it: one line, no mathematics, "□" for what no font has."""
    one_line = " ".join(text.split())
    drawable = "".join(c if _has_glyph(c) else "□" for c in one_line if category(c) not in ("Cc", "Cf", "Mn"))
    return drawable.replace("$", r"\$")


def shorten(text: str, width: int) -> str:
    """Return `text` in at most `width` columns, its middle replaced by an ellipsis where it is longer.

    The middle goes because long names tend to differ at one of their ends. East Asian wide characters take
    two columns.
    """
    if _columns(text) <= width:
        return text
    head, tail = text[:1], ""
    while True:
        longer = (head, text[-len(tail) - 1] + tail) if len(tail) < len(head) else (text[: len(head) + 1], tail)
        if _columns("".join(longer)) >= width:
            return f"{head.rstrip()}…{tail.lstrip()}"
        head, tail = longer


def name_labels(classes: Sequence[str], width: int) -> list[str]:
    """Return the classes as labels of at most about `width` columns, numbered where they would look alike."""
    labels = [plain(shorten(" ".join(str(name).split()), width)) for name in classes]
    seen = Counter(labels)
    return [f"{number}: {label}" if seen[label] > 1 else label for number, label in enumerate(labels)]


def _columns(text: str) -> int:
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


@cache
def _families() -> list[str]:
    from matplotlib.font_manager import get_font_names

    installed = set(get_font_names())
    return [name for name in FONTS if name in installed]


@cache
def _characters() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    found: set[int] = set()
    for family in _families():
        found |= get_font(findfont(FontProperties(family=family))).get_charmap().keys()
    return frozenset(found)


def _has_glyph(character: str) -> bool:
    return character.isascii() or ord(character) in _characters()
