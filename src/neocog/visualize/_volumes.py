"""Layers and blocks as boxes in perspective, with what is written below them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from math import sqrt

from neocog.analysis.graph import Node
from neocog.visualize import style
from neocog.visualize._palette import WHITE, colour
from neocog.visualize._svg import NBSP, Canvas, listed, mix, text_width, wrap

HEAD, SMALL, LINE = 11.0, 10.0, 14.0
MOST_SLABS = 6
LABEL_WIDTH = 150.0
MOST_COLUMNS = 48  # of a name
SLAB_GAP = 3.0
_SLANT = (0.36, -0.30)  # where the far edge of a box lies, for each pixel of its depth


@dataclass(frozen=True)
class Scale:
    """How many pixels a number of positions or channels takes: by its square root, so that 7 is seen beside 224."""

    most_side: int
    most_channels: int

    def side(self, positions: int) -> float:
        """Return the height of a box of so many positions."""
        return 14.0 + 104.0 * sqrt(min(positions, self.most_side) / self.most_side)

    def length(self, channels: int) -> float:
        """Return the length of a box of so many channels."""
        most = max(self.most_channels, 256)  # a few channels are not to look like many
        return 3.0 + 55.0 * sqrt(min(channels, most) / most)


@dataclass(frozen=True)
class Label:
    """One line below a volume; a chip has a ground of its own."""

    text: str
    size: float
    fill: str
    bold: bool = False
    chip: bool = False


@dataclass
class Volume:
    """What is drawn for one node: a stack of slabs above its labels, or a sign where branches meet."""

    node: Node
    slabs: int
    length: float
    high: float
    deep: tuple[float, float]
    labels: list[Label]
    is_stub: bool = False

    @property
    def width(self) -> float:
        """Width of the slabs, their depth included."""
        return self.slabs * self.length + SLAB_GAP * (self.slabs - 1) + self.deep[0]

    @property
    def is_sign(self) -> bool:
        """Whether branches meet here, or part, and there is nothing with a volume of its own."""
        return self.node.kind in ("add", "multiply") and not self.is_stub

    @property
    def label_width(self) -> float:
        """Width of the widest label."""
        return max((text_width(each.text, each.size, bold=each.bold) for each in self.labels), default=0.0)

    @property
    def tall(self) -> float:
        """Height of the slabs, their depth included."""
        return 24.0 if self.is_sign else self.high - self.deep[1]


def make_volume(node: Node, scale: Scale, letters: dict[int, str]) -> Volume:
    """Return what is drawn for a node; `letters` has the kinds of blocks by their calls."""
    sides = node.extent.sides or (1,)
    depth = scale.side(sides[-1] if len(sides) > 1 else 1)
    slabs = min(node.count, MOST_SLABS)
    widest = (96.0 - SLAB_GAP * (slabs - 1)) / slabs
    length = 5.0 if node.kind == "concat" else min(scale.length(node.extent.channels), widest)
    deep = (depth * _SLANT[0], depth * _SLANT[1])
    return Volume(node, slabs, length, scale.side(sides[0]), deep, _labels(node, letters))


def make_stub(volume: Volume) -> Volume:
    """Return what stands in a row for a volume of an earlier one."""
    name = span_name(volume.node) or (f"{sign_of(volume.node)} above" if volume.is_sign else volume.node.does)
    labels = [Label(line, SMALL, style.MUTED) for line in wrap(f"from{NBSP}{name}", SMALL, LABEL_WIDTH)]
    wide = max(text_width(each.text, SMALL) for each in labels) + 18.0
    return Volume(volume.node, 1, wide, LINE * len(labels) + 8.0, (0.0, 0.0), labels, is_stub=True)


def sign_of(node: Node) -> str:
    """Return what is written in the circle at which branches meet."""
    if len(node.does) <= 3:  # a sign, or "max", "min", "mix"
        return node.does
    return "+" if node.kind == "add" else "×"


def span_name(node: Node) -> str:
    """Return the name of a node's module, or of the first and the last of several."""
    paths = [path for path in node.paths or (node.path,) if path]
    if not paths:
        return ""
    first, last = paths[0].split("."), paths[-1].split(".")
    if first == last:
        return ".".join(first)
    same = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    return f"{'.'.join(first)} – {'.'.join(last[same:])}"


def tooltip(node: Node) -> str:
    """Return what is shown to whoever points at a node."""
    times = f"{node.count} × " if node.count > 1 else ""
    parts = [span_name(node), times + node.does, *node.before, *node.after, str(node.extent)]
    return ", ".join(part for part in parts if part)


def _labels(node: Node, letters: dict[int, str]) -> list[Label]:
    """Return what stands below a node."""
    labels: list[Label] = []

    def say(text: str, size: float, fill: str, *, bold: bool = False) -> None:
        labels.extend(Label(line, size, fill, bold) for line in wrap(text, size, LABEL_WIDTH, bold=bold))

    if node.kind in ("add", "multiply"):
        say(listed(node.after), SMALL, style.INK) if node.after else None
    else:
        times = f"{node.count}{NBSP}×{NBSP}" if node.count > 1 else ""
        say(times + style.shorten(node.does, MOST_COLUMNS), HEAD, style.INK, bold=True)
        if node.before:
            say(f"first{NBSP}{listed(node.before)}", SMALL, style.INK)
        if node.after:
            say(listed(node.after), SMALL, style.INK)
    if name := span_name(node):
        say(style.shorten(name, MOST_COLUMNS), SMALL, style.MUTED)
    say(str(node.extent), SMALL, style.INK)
    if kinds := _kinds(node, letters):
        labels.append(Label(kinds, HEAD, style.INK, bold=True, chip=True))
    return labels


def _kinds(node: Node, letters: dict[int, str]) -> str:
    """Return the kinds of a node's blocks in order, such as "A + 2 B"."""
    given = [letters[call] for call in node.calls or (node.call,) if call in letters]
    runs = [(letter, len(list(run))) for letter, run in groupby(given)]
    if len(runs) == 1:
        return runs[0][0]
    if len(runs) > 3:
        return ", ".join(f"{given.count(letter)} {letter}" for letter in dict.fromkeys(given))
    return " + ".join(f"{count} {letter}" if count > 1 else letter for letter, count in runs)


def draw_volume(canvas: Canvas, volume: Volume, x: float, y: float) -> None:
    """Draw a volume's slabs, or what it has in their place, with its middle at (x, y)."""
    if volume.is_sign:
        draw_sign(canvas, x, y, sign_of(volume.node))
    elif volume.is_stub:
        wide, high = volume.width, volume.tall
        canvas.rect(x - wide / 2, y - high / 2, wide, high, fill=WHITE, line="#b5bac1", radius=high / 2)
    else:
        for slab in range(volume.slabs):
            left = x - volume.width / 2 + slab * (volume.length + SLAB_GAP)
            _draw_slab(canvas, left, y - volume.deep[1] / 2, volume)


def draw_labels(canvas: Canvas, volume: Volume, x: float, y: float, low: float) -> None:
    """Write what belongs to a volume whose middle is at (x, y): below `low`, or beside a sign, or in a stub."""
    anchor = "start" if volume.is_sign else "middle"
    if volume.is_sign:
        x, first = x + 10.0, y + 24.0
    elif volume.is_stub:
        first = y - volume.tall / 2 + LINE
    else:
        first = low + LINE + 2.0
    for place, label in enumerate(volume.labels):
        base = first + LINE * place
        if label.chip:
            wide = text_width(label.text, label.size, bold=True) + 12.0
            canvas.rect(x - wide / 2, base - 10.0, wide, 14.0, fill=style.GRID, radius=7)
        canvas.text(x, base, label.text, size=label.size, fill=label.fill, bold=label.bold, anchor=anchor)


def _draw_slab(canvas: Canvas, x: float, y: float, volume: Volume) -> None:
    """Draw a box; `y` is the middle of its front."""
    dx, dy = volume.deep
    shade = style.INK if volume.node.kind == "concat" else colour(volume.node.work)
    top, bottom, right = y - volume.high / 2, y + volume.high / 2, x + volume.length
    edge = mix(shade, style.INK, 0.35)
    if volume.node.kind == "input":
        shade, edge = "#c9ced4", style.MUTED
    canvas.polygon(
        [(x, top), (right, top), (right + dx, top + dy), (x + dx, top + dy)], fill=mix(shade, WHITE, 0.62), line=edge
    )
    canvas.polygon(
        [(right, top), (right + dx, top + dy), (right + dx, bottom + dy), (right, bottom)],
        fill=mix(shade, WHITE, 0.38),
        line=edge,
    )
    canvas.polygon([(x, top), (right, top), (right, bottom), (x, bottom)], fill=mix(shade, WHITE, 0.12), line=edge)
    if len(volume.node.extent.sides) == 1:  # tokens: a row of vectors, of which some are shown
        rows = min(volume.node.extent.sides[0], 12)
        for row in range(1, rows):
            level = top + volume.high * row / rows
            canvas.line(
                [(x, level), (right, level), (right + dx, level + dy)], colour=mix(shade, WHITE, 0.7), width=0.8
            )


def draw_sign(canvas: Canvas, x: float, y: float, sign: str) -> None:
    """Draw a circle with a sign in it, at which branches meet."""
    canvas.circle(x, y, 11.0, fill=WHITE, line=style.INK, width=1.4)
    arm = 5.0
    if sign == "+":
        canvas.line([(x - arm, y), (x + arm, y)], colour=style.INK, width=1.6)
        canvas.line([(x, y - arm), (x, y + arm)], colour=style.INK, width=1.6)
    elif sign == "×":
        arm = 4.0
        canvas.line([(x - arm, y - arm), (x + arm, y + arm)], colour=style.INK, width=1.6)
        canvas.line([(x - arm, y + arm), (x + arm, y - arm)], colour=style.INK, width=1.6)
    else:
        size = HEAD if len(sign) == 1 else 9.0
        canvas.text(x, y + size / 3, sign, size=size, fill=style.INK, bold=True)
