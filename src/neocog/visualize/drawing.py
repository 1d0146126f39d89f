"""Drawings of networks, as a lecture has them: stages and blocks as volumes, and what each kind of block is inside.

A drawing is SVG, written here with nothing else: texts are texts, names are escaped, the same network gives the same
bytes.
"""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Literal, get_args

from neocog.analysis.cost import count_cost
from neocog.analysis.graph import Anatomy, Graph, anatomy, folded
from neocog.analysis.record import Trace
from neocog.errors import UnknownNameError, UsageError
from neocog.visualize import style
from neocog.visualize._insets import Inset, Shelf, shelves
from neocog.visualize._overview import Overview
from neocog.visualize._palette import legend
from neocog.visualize._svg import Canvas, mix, text_width
from neocog.visualize._volumes import SMALL, span_name

DrawLevel = Literal["stage", "block"]
"""`stage` draws blocks that follow each other and are alike as one; `block` draws each."""

MARGIN, GAP, HEAD_HEIGHT, ASPECT = 28.0, 26.0, 98.0, 1.6
WIDTHS = (1800.0, 1400.0, 1100.0, 860.0)  # of the overview's rows, at most; the best is taken


def draw(trace: Trace, path: str | Path, level: DrawLevel = "stage") -> Path:
    """Draw a network as SVG and return the path.

    Its layers and blocks stand from left to right as boxes, whose height and depth follow the resolution and whose
    length follows the channels, each on a square-root scale. Each kind of block is drawn once from the inside.

    Args:
        trace: one forward pass of it.
        path: file to write; its suffix is .svg.
        level: "stage" draws like blocks that follow each other as one, "block" draws each.

    Raises:
        UsageError: an unknown level, a suffix of another format, or a network that computes nothing.
        StorageError: the place cannot be written.
    """
    path = Path(path)
    check(path, level)
    style.write(path, picture(trace, level).encode("utf-8"))
    return path


def check(path: Path, level: str) -> None:
    """Raise `UsageError` for a level or a file name that `draw` cannot take."""
    if level not in get_args(DrawLevel):
        raise UnknownNameError("level", level, get_args(DrawLevel))
    if path.suffix.lower() not in (".svg", "") or path.is_dir():
        raise UsageError(f"a drawing is SVG; name a file that ends in .svg, not {path}")


def picture(trace: Trace, level: DrawLevel = "stage") -> str:
    """Return the drawing of a network as an SVG document; see `draw`."""
    found = anatomy(trace)
    graph = folded(found.overview) if level == "stage" else found.overview
    if not graph.nodes:
        raise UsageError(f"{trace.network} returns its input as it is: there is nothing to draw")
    insets = [Inset(each, found.letters) for each in found.insides]
    overview, shelf, is_beside = _arrangement([Overview(graph, found.letters, width) for width in WIDTHS], insets)
    facts, note = _facts(trace), _scale_note(graph)
    entries = legend({node.work for each in (graph, *(i.graph for i in found.insides)) for node in each.nodes})
    head = max(
        text_width(trace.network, 22, bold=True),
        text_width(facts, 12),
        text_width(note, SMALL),
        sum(text_width(word, SMALL) + 34.0 for _, word in entries),
    )
    both = overview.width + GAP + shelf.width if is_beside else max(overview.width, shelf.width)
    width = max(both, head)
    canvas = Canvas()
    with canvas.moved(MARGIN, MARGIN):
        _draw_head(canvas, trace.network, facts, note, entries)
    top, left = MARGIN + HEAD_HEIGHT, MARGIN + (width - both) / 2
    if is_beside:
        corner = (left + overview.width + GAP, top)
        high = max(overview.height, shelf.height)
        with canvas.moved(left, top):
            overview.draw(canvas)
    else:
        corner = (MARGIN + (width - shelf.width) / 2, top + overview.height + GAP)
        high = overview.height + (GAP + shelf.height if insets else 0.0)
        with canvas.moved(MARGIN + (width - overview.width) / 2, top):
            overview.draw(canvas)
    for inset, (x, y) in zip(insets, shelf.places, strict=True):
        with canvas.moved(corner[0] + x, corner[1] + y):
            inset.draw(canvas)
    title, description = f"Architecture of {trace.network}", _description(facts, found, graph)
    return canvas.document(width + 2 * MARGIN, top + high + MARGIN, title=title, description=description)


def _arrangement(overviews: list[Overview], insets: list[Inset]) -> tuple[Overview, Shelf, bool]:
    """Return in which rows everything stands, and whether the insets do so beside the overview or below it.

    The picture is to suit a page or a slide, and to be small, since it is read at a larger size then.
    """
    best: tuple[float, Overview, Shelf, bool] | None = None
    for overview in overviews:
        for shelf in shelves(insets):
            for is_beside in (False, True) if insets else (False,):
                width = overview.width + GAP + shelf.width if is_beside else max(overview.width, shelf.width)
                high = max(overview.height, shelf.height) if is_beside else overview.height + GAP + shelf.height
                area = max(width, 900.0) * (max(high, 400.0) + HEAD_HEIGHT)
                cost = 0.5 * abs(log(width / (high + HEAD_HEIGHT) / ASPECT)) + log(area) + 0.25 * len(overview.rows)
                if best is None or cost < best[0] - 1e-9:
                    best = (cost, overview, shelf, is_beside)
    assert best is not None
    return best[1:]


def _draw_head(canvas: Canvas, name: str, facts: str, note: str, entries: list[tuple[str, str]]) -> None:
    """Write the name, what it costs, and what the colours and sizes mean."""
    canvas.text(0, 16, name, size=22, fill=style.INK, anchor="start", bold=True)
    canvas.text(0, 36, facts, size=12, fill=style.MUTED, anchor="start")
    x = 0.0
    for shade, word in entries:
        canvas.rect(x, 52, 12, 12, fill=mix(shade, "#ffffff", 0.25), line=mix(shade, style.INK, 0.3), radius=2)
        canvas.text(x + 18, 62, word, size=SMALL, fill=style.INK, anchor="start")
        x += text_width(word, SMALL) + 34.0
    canvas.text(0, 81, note, size=SMALL, fill=style.MUTED, anchor="start")


def _facts(trace: Trace) -> str:
    """Say what goes in and what the network costs."""
    cost = count_cost(trace)
    batch, *image = trace.inputs[0].shape
    parts = (
        f"input {' × '.join(map(str, image))}",
        f"{_counted(cost.parameters)} parameters",
        f"{_counted(cost.macs // batch)} multiply-adds (MACs)",
    )
    return " · ".join(parts)


def _counted(count: int) -> str:
    """Return a number with three digits and its unit, such as "25.6 M"."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= 0.9995 * size:
            whole = len(f"{count / size:.0f}")
            return f"{count / size:.{max(0, 3 - whole)}f} {unit}"
    return str(count)


def _scale_note(graph: Graph) -> str:
    maps = any(len(node.extent.sides) > 1 for node in graph.nodes)
    tokens = any(len(node.extent.sides) == 1 for node in graph.nodes)
    shapes = ["C × H × W for maps"] * maps + ["tokens × C for tokens"] * tokens
    grid = "Height and depth of a box follow the resolution, its length" if maps else "The length of a box follows"
    return f"Shapes are {', '.join(shapes)}. {grid} the channels, on a square-root scale." if shapes else ""


def _description(facts: str, found: Anatomy, graph: Graph) -> str:
    """Say the picture in words, for who cannot see it."""
    steps = []
    for node in graph.nodes:
        times = f"{node.count} times " if node.count > 1 else ""
        name = span_name(node)
        steps.append(f"{times}{node.does}{f' ({name})' if name else ''} giving {node.extent}")
    kinds = [f"{each.letter}: {each.kind} as in {each.path}" for each in found.insides]
    inside = f" Drawn from the inside: {'; '.join(kinds)}." if kinds else ""
    return f"{facts}. In order: {'; '.join(steps)}.{inside}"
