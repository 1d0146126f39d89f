"""Pieces of SVG: a canvas of shapes and texts, and how wide a text is.

Whatever text comes in is escaped here. Widths are those of DejaVu Sans, and nearly those of Verdana; the other
sans-serif fonts that may stand in for them are narrower, so that what fits here fits everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from unicodedata import category, east_asian_width
from xml.sax.saxutils import escape, quoteattr

Point = tuple[float, float]

FONT = "DejaVu Sans, Verdana, sans-serif"
NBSP = "\N{NO-BREAK SPACE}"
BOLD = 1.14  # how much wider bold letters are, on the average of those that are used most

# Characters by their width in hundredths of the font's size.
_WIDTHS = {
    28: "ijl'", 30: "IJ", 32: " ,.·\u00a0", 34: "/:;\\|", 36: "f-", 39: "()[]t", 41: "r!", 46: '"', 50: "*_`–",
    53: "sz?", 56: "cL", 58: "Fk", 60: "vxyP", 62: "TYaoe", 64: "ESbdghnpqu$0123456789{}", 68: "KAVBRXZ", 71: "CU",
    76: "HNDG", 79: "&OQ", 84: "w#+<=>^~×→−÷", 88: "M", 97: "m%", 100: "W@…√",
}  # fmt: skip
_WIDTH = {char: width / 100 for width, chars in _WIDTHS.items() for char in chars}


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of one line in pixels, at a font size in pixels."""
    ems = sum(_WIDTH.get(char, 1.0 if east_asian_width(char) in "WF" else 0.8) for char in text)
    return ems * size * (BOLD if bold else 1.0)


def wrap(text: str, size: float, width: float, *, bold: bool = False) -> list[str]:
    """Return a text in lines of at most `width` pixels.

    It is broken at spaces but not at non-breaking ones, and words that are too long where their parts meet. A dot
    between items goes where a line ends.
    """
    lines: list[str] = []
    for word in text.split(" "):
        pieces = _pieces(word, size, width, bold)
        joined = f"{lines[-1]} {pieces[0]}" if lines else pieces[0]
        if lines and text_width(joined, size, bold=bold) <= width:
            lines[-1] = joined
        else:
            lines.append(pieces[0])
        lines += pieces[1:]
    return [line.strip(f"·{NBSP}") for line in lines] or [""]


def listed(items: Iterable[str]) -> str:
    """Return items with a dot between them, to be wrapped between items only."""
    return " ".join(f"·{NBSP}{unbroken(item)}" if number else unbroken(item) for number, item in enumerate(items))


def unbroken(text: str) -> str:
    """Return a text that is not wrapped at its spaces."""
    return text.replace(" ", NBSP)


def _pieces(word: str, size: float, width: float, bold: bool) -> list[str]:
    """Break a word that is too long: after a dot, dash or underscore, before a capital, or anywhere."""
    pieces = [word]
    while text_width(pieces[-1], size, bold=bold) > width and len(pieces[-1]) > 1:
        last = pieces.pop()
        fits = max(
            1, next(n for n in range(len(last), 0, -1) if n == 1 or text_width(last[:n], size, bold=bold) <= width)
        )
        natural = [
            place
            for place in range(1, fits + 1)
            if last[place - 1] in f"._-/–{NBSP}" or (last[place - 1].islower() and last[place : place + 1].isupper())
        ]
        place = natural[-1] if natural and natural[-1] > fits // 3 else fits
        pieces += [last[:place], last[place:]]
    return pieces


def clean(text: str) -> str:
    """Return `text` on one line without what XML cannot hold, such as control characters and halves of surrogates."""
    return "".join(char if category(char) not in ("Cc", "Cs", "Cn", "Co") else "�" for char in " ".join(text.split()))


def mix(colour: str, other: str, share: float) -> str:
    """Return a colour `share` of the way to another; both as "#rrggbb"."""
    pairs = ((int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def number(value: float) -> str:
    """Return a coordinate with one decimal at most."""
    return f"{round(value, 1) + 0.0:g}" if abs(value) < 100000 else f"{value:.0f}"


def points(given: Sequence[Point]) -> str:
    """Return points as SVG writes them."""
    return " ".join(f"{number(x)},{number(y)}" for x, y in given)


class Canvas:
    """Collects what is drawn; the size is told at the end."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def rect(
        self, x: float, y: float, width: float, height: float, *, fill: str, line: str = "none", radius: float = 0.0
    ) -> None:
        """Draw a rectangle."""
        box = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
        rounded = f' rx="{number(radius)}"' if radius else ""
        self.parts.append(f'<rect {box}{rounded} fill="{fill}" stroke="{line}"/>')

    def polygon(self, corners: Sequence[Point], *, fill: str, line: str) -> None:
        """Draw a filled polygon."""
        self.parts.append(
            f'<polygon points="{points(corners)}" fill="{fill}" stroke="{line}" stroke-linejoin="round"/>'
        )

    def circle(self, x: float, y: float, radius: float, *, fill: str, line: str = "none", width: float = 1.0) -> None:
        """Draw a circle."""
        at = f'cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"'
        self.parts.append(f'<circle {at} fill="{fill}" stroke="{line}" stroke-width="{number(width)}"/>')

    def line(self, way: Sequence[Point], *, colour: str, width: float = 1.0, dashed: bool = False) -> None:
        """Draw a line through points, with sharp corners and without an arrowhead."""
        dash = ' stroke-dasharray="3 3"' if dashed else ""
        self.parts.append(
            f'<polyline points="{points(way)}" fill="none" stroke="{colour}" stroke-width="{number(width)}"{dash}/>'
        )

    def arrow(self, way: Sequence[Point], *, colour: str, width: float = 1.4, radius: float = 6.0) -> None:
        """Draw a line through points with rounded corners, and an arrowhead at its end."""
        (x0, y0), (x1, y1) = way[-2], way[-1]
        length = max(abs(x1 - x0) + abs(y1 - y0), 1e-6)
        dx, dy = (x1 - x0) / length, (y1 - y0) / length
        tip, head = way[-1], 7.0
        base = (x1 - dx * head, y1 - dy * head)
        steps = [f"M{points([way[0]])}"]
        for before, corner, after in zip(way, way[1:], way[2:], strict=False):
            room = min(radius, _length(before, corner) / 2, _length(corner, after) / 2)
            enter, leave = _towards(corner, before, room), _towards(corner, after, room)
            steps.append(f"L{points([enter])}Q{points([corner])} {points([leave])}")
        steps.append(f"L{points([base])}")
        self.parts.append(f'<path d="{"".join(steps)}" fill="none" stroke="{colour}" stroke-width="{number(width)}"/>')
        wide = 3.2
        corners = [tip, (base[0] - dy * wide, base[1] + dx * wide), (base[0] + dy * wide, base[1] - dx * wide)]
        self.parts.append(f'<polygon points="{points(corners)}" fill="{colour}"/>')

    def text(
        self, x: float, y: float, text: str, *, size: float, fill: str, anchor: str = "middle", bold: bool = False
    ) -> None:
        """Write one line; `y` is that of its baseline."""
        weight = ' font-weight="bold"' if bold else ""
        place = f'x="{number(x)}" y="{number(y)}" font-size="{number(size)}" text-anchor="{anchor}"'
        self.parts.append(f'<text {place} fill="{fill}"{weight}>{escape(clean(text))}</text>')

    @contextmanager
    def group(self, title: str, kind: str) -> Iterator[None]:
        """Draw what follows as one thing, with a title that browsers show to whoever points at it."""
        self.parts.append(f"<g class={quoteattr(kind)}><title>{escape(clean(title))}</title>")
        yield
        self.parts.append("</g>")

    @contextmanager
    def moved(self, x: float, y: float) -> Iterator[None]:
        """Draw what follows with its origin at (x, y)."""
        self.parts.append(f'<g transform="translate({number(x)} {number(y)})">')
        yield
        self.parts.append("</g>")

    def document(self, width: float, height: float, *, title: str, description: str) -> str:
        """Return the whole as an SVG document on a white ground."""
        size = f'width="{number(width)}" height="{number(height)}" viewBox="0 0 {number(width)} {number(height)}"'
        lines = [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family={quoteattr(FONT)} '
            'aria-labelledby="neocog-title neocog-description">',
            f'<title id="neocog-title">{escape(clean(title))}</title>',
            f'<desc id="neocog-description">{escape(clean(description))}</desc>',
            f'<rect width="{number(width)}" height="{number(height)}" fill="#ffffff"/>',
            *self.parts,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"


def _length(one: Point, other: Point) -> float:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _towards(start: Point, end: Point, distance: float) -> Point:
    length = max(((start[0] - end[0]) ** 2 + (start[1] - end[1]) ** 2) ** 0.5, 1e-6)
    return (start[0] + (end[0] - start[0]) * distance / length, start[1] + (end[1] - start[1]) * distance / length)
