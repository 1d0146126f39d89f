"""The pictures of what is inside a block: layers as boxes, from top to bottom, sums and gates as signs between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from neocog.analysis.graph import Inside, Node
from neocog.visualize import style
from neocog.visualize._layered import Box, lay_out
from neocog.visualize._palette import WHITE, colour
from neocog.visualize._routes import strokes
from neocog.visualize._svg import NBSP, Canvas, listed, mix, text_width, wrap
from neocog.visualize._volumes import HEAD, MOST_COLUMNS, SMALL, draw_sign, sign_of

LINE, PAD, MARGIN = 13.0, 6.0, 14.0
TITLE = 13.0
_MOST_TEXT = 190.0
_SIGNS = ("add", "multiply")


@dataclass(frozen=True)
class _Line:
    text: str
    size: float
    fill: str
    bold: bool = False

    @property
    def width(self) -> float:
        return text_width(self.text, self.size, bold=self.bold)


class Inset:
    """The picture of one kind of block, measured and ready to be drawn."""

    def __init__(self, inside: Inside, letters: dict[int, str]) -> None:
        self.inside = inside
        self.letters = letters
        nodes = inside.graph.nodes
        self.lines = [self._lines(node) for node in nodes]
        self.layout = lay_out([self._box(*each) for each in zip(nodes, self.lines, strict=True)], inside.graph.edges)
        self.kind = style.shorten(inside.kind, MOST_COLUMNS)
        title = text_width(self.kind, TITLE, bold=True) + 30.0
        self.width = max(self.layout.width, title, 190.0) + 2 * MARGIN
        self.remarks = [line for text in _remarks(inside) for line in wrap(text, SMALL, self.width - 2 * MARGIN)]
        self.head = 34.0 + LINE * len(self.remarks) + 8.0
        self.height = self.head + self.layout.height + MARGIN

    def draw(self, canvas: Canvas) -> None:
        """Draw it with its upper left corner at the origin."""
        inside = self.inside
        with canvas.group(f"{inside.kind}, as in {inside.path}", "inset"):
            canvas.rect(0, 0, self.width, self.height, fill=WHITE, line="#cdd2d8", radius=8)
            wide = text_width(inside.letter, TITLE, bold=True) + 12.0
            canvas.rect(MARGIN, 11, wide, 19, fill=style.INK, radius=5)
            canvas.text(MARGIN + wide / 2, 25, inside.letter, size=TITLE, fill=WHITE, bold=True)
            canvas.text(MARGIN + wide + 8, 25, self.kind, size=TITLE, fill=style.INK, bold=True, anchor="start")
            for place, line in enumerate(self.remarks):
                canvas.text(MARGIN, 45 + LINE * place, line, size=SMALL, fill=style.MUTED, anchor="start")
            with canvas.moved((self.width - self.layout.width) / 2, self.head):
                self._draw_graph(canvas)

    def _draw_graph(self, canvas: Canvas) -> None:
        for way in strokes(self.layout.routes):
            canvas.arrow(way, colour=style.MUTED)
        for x, y in self.layout.dots:
            canvas.circle(x, y, 2.4, fill=style.MUTED)
        for number, node in enumerate(self.inside.graph.nodes):
            x, y = self.layout.x[number], self.layout.y[number]
            with canvas.group(f"{node.path or self.inside.path}: {node.does}, {node.extent}", f"node {node.kind}"):
                if node.kind in _SIGNS:
                    self._draw_sign(canvas, number, x, y)
                else:
                    self._draw_box(canvas, number, x, y)

    def _draw_sign(self, canvas: Canvas, number: int, x: float, y: float) -> None:
        node = self.inside.graph.nodes[number]
        draw_sign(canvas, x, y, sign_of(node))
        for place, line in enumerate(self.lines[number]):
            canvas.text(x + 9, y + 24 + LINE * place, line.text, size=line.size, fill=line.fill, anchor="start")

    def _draw_box(self, canvas: Canvas, number: int, x: float, y: float) -> None:
        node, lines = self.inside.graph.nodes[number], self.lines[number]
        left, right = self.layout.outlines[number]
        high = LINE * len(lines) + 2 * PAD
        shade = style.INK if node.kind == "concat" else colour(node.work)
        fill, edge = mix(shade, WHITE, 0.80), mix(shade, style.INK, 0.15)
        if node.kind in ("input", "output"):
            fill, edge = "#f5f6f8", "#b5bac1"
        canvas.rect(left, y - high / 2, right - left, high, fill=fill, line=edge, radius=high / 2 if high < 30 else 6)
        middle = (left + right) / 2
        for place, line in enumerate(lines):
            base = y - high / 2 + PAD + LINE * (place + 1) - 3.0
            canvas.text(middle, base, line.text, size=line.size, fill=line.fill, bold=line.bold)

    def _lines(self, node: Node) -> list[_Line]:
        """Return what is written in a node, or beside a sign."""
        lines: list[_Line] = []

        def say(text: str, size: float, fill: str, *, bold: bool = False) -> None:
            lines.extend(_Line(line, size, fill, bold) for line in wrap(text, size, _MOST_TEXT, bold=bold))

        if node.kind in _SIGNS:
            say(listed([*node.after, str(node.extent)]), SMALL, style.MUTED)
            return lines
        if node.kind == "output":
            say("output", SMALL, style.INK)
            return lines
        if node.kind == "input":
            extents = Counter(map(str, node.extents or (node.extent,)))
            sizes = [f"{count} of {size}" if count > 1 else size for size, count in extents.items()]
            each = ", each" if node.count > 1 else ""
            say(f"{node.does}{each} {next(iter(extents))}" if len(sizes) == 1 else node.does, SMALL, style.INK)
            for size in sizes if 1 < len(sizes) < 4 else ():
                say(size, SMALL, style.INK)
            return lines
        letter = f"{self.letters[node.call]}{NBSP}{NBSP}" if node.call in self.letters else ""
        after = node.after
        if node.kind == "norm":
            say(listed([node.does, *after]), HEAD, style.INK, bold=True)
            after = ()
        else:
            say(letter + style.shorten(node.does, MOST_COLUMNS), HEAD, style.INK, bold=True)
        if node.before:
            say(f"first{NBSP}{listed(node.before)}", SMALL, style.INK)
        if after:
            say(listed(after), SMALL, style.INK)
        name = style.shorten(node.path.removeprefix(self.inside.path).lstrip("."), MOST_COLUMNS)
        say(listed(part for part in (name, str(node.extent)) if part), SMALL, style.MUTED)
        return lines

    def _box(self, node: Node, lines: Sequence[_Line]) -> Box:
        wide = max((line.width for line in lines), default=0.0)
        if node.kind in _SIGNS:
            return Box(12, 14 + wide, 12, 16 + LINE * len(lines), 11, 11, 11, is_round=True)
        half = wide / 2 + 12.0
        high = (LINE * len(lines) + 2 * PAD) / 2
        stretches = node.kind in ("concat", "input", "split")
        return Box(half, half, high, high, half, high, high, stretches=stretches)


def _remarks(inside: Inside) -> list[str]:
    """Return what is said about a kind below its name."""
    remarks = [f"drawn: {style.shorten(inside.path, 2 * MOST_COLUMNS)}" if inside.path else ""]
    others = len(inside.members) - 1
    if others and inside.differ:
        words = inside.differ if len(inside.differ) < 2 else (*inside.differ[:-2], " and ".join(inside.differ[-2:]))
        remarks.append(f"{others} more, which differ{'s' * (others == 1)} in {', '.join(words)}")
    elif others:
        remarks.append(f"{others} more like it")
    return [remark for remark in remarks if remark]


@dataclass(frozen=True)
class Shelf:
    """Insets in rows.

    Attributes:
        places: of the upper left corners.
        width: of the whole.
        height: of the whole.
    """

    places: tuple[tuple[float, float], ...]
    width: float
    height: float


def shelves(insets: Sequence[Inset], gap: float = 22.0) -> list[Shelf]:
    """Return the ways to put insets into rows, each wider than the one before it."""
    found: dict[float, Shelf] = {}
    for last in range(len(insets)):
        width = sum(inset.width + gap for inset in insets[: last + 1]) - gap
        places: list[tuple[float, float]] = []
        x = y = row_height = used = 0.0
        for inset in insets:
            if x > 0 and x + inset.width > width + 0.1:
                x, y, row_height = 0.0, y + row_height + gap, 0.0
            places.append((x, y))
            x += inset.width + gap
            used = max(used, x - gap)
            row_height = max(row_height, inset.height)
        found.setdefault(used, Shelf(tuple(places), used, y + row_height))
    return list(found.values()) or [Shelf((), 0.0, 0.0)]
