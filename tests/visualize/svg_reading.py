"""What the tests of drawings look at: where the texts of an SVG stand, by the widths of a real font, and its lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
from PIL import ImageFont

SVG = "{http://www.w3.org/2000/svg}"
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Text:
    """One line of text and the box of its ink: left, top, right, bottom."""

    text: str
    box: Box


@dataclass
class Page:
    """A parsed drawing."""

    root: ElementTree.Element
    width: float
    height: float
    texts: list[Text]
    rectangles: list[Box]
    lines: list[list[tuple[float, float]]]


@cache
def _font(bold: bool) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, 100)


@cache
def measured(text: str, bold: bool) -> float:
    """Return the width of a text at a font size of one, in DejaVu Sans."""
    return _font(bold).getlength(text) / 100


def read(svg: str) -> Page:
    """Parse a drawing, with every coordinate that of the page."""
    root = ElementTree.fromstring(svg.encode("utf-8"))
    page = Page(root, float(root.attrib["width"]), float(root.attrib["height"]), [], [], [])
    _walk(root, 0.0, 0.0, page)
    return page


def _walk(element: ElementTree.Element, dx: float, dy: float, page: Page) -> None:
    moved = re.fullmatch(r"translate\((\S+) (\S+)\)", element.get("transform", "translate(0 0)"))
    assert moved, element.attrib
    dx, dy = dx + float(moved[1]), dy + float(moved[2])
    if element.tag == f"{SVG}text":
        size, x, y = (float(element.attrib[name]) for name in ("font-size", "x", "y"))
        wide = measured(element.text or "", element.get("font-weight") == "bold") * size
        left = x + dx - {"start": 0.0, "middle": wide / 2, "end": wide}[element.attrib["text-anchor"]]
        page.texts.append(Text(element.text or "", (left, y + dy - 0.76 * size, left + wide, y + dy + 0.24 * size)))
    elif element.tag == f"{SVG}rect" and "x" in element.attrib:
        x, y, wide, high = (float(element.attrib[name]) for name in ("x", "y", "width", "height"))
        page.rectangles.append((x + dx, y + dy, x + dx + wide, y + dy + high))
    elif element.tag == f"{SVG}path":
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", element.attrib["d"])]
        page.lines.append([(x + dx, y + dy) for x, y in zip(numbers[::2], numbers[1::2], strict=True)])
    for child in element:
        _walk(child, dx, dy, page)


def overlaps(page: Page, slack: float = 0.5) -> list[tuple[str, str]]:
    """Return the pairs of texts that overlap by more than `slack` pixels."""
    return [(one.text, other.text) for one, other in combinations(page.texts, 2) if _meet(one.box, other.box, slack)]


def cut_off(page: Page) -> list[str]:
    """Return the texts that do not lie on the page."""
    return [
        each.text
        for each in page.texts
        if each.box[0] < 0 or each.box[1] < 0 or each.box[2] > page.width or each.box[3] > page.height
    ]


def struck(page: Page, slack: float = 1.0) -> list[str]:
    """Return the texts that a line runs through."""
    found = []
    for way in page.lines:
        for (x0, y0), (x1, y1) in pairwise(way):
            box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
            found += [each.text for each in page.texts if _meet(each.box, box, slack)]
    return found


def split_by_edge(page: Page, slack: float = 1.0) -> list[str]:
    """Return the texts that lie partly inside and partly outside of a rectangle."""
    found = []
    for left, top, right, bottom in page.rectangles:
        for each in page.texts:
            a, b, c, d = each.box
            middle = ((a + c) / 2, (b + d) / 2)
            if left < middle[0] < right and top < middle[1] < bottom and (a < left - slack or c > right + slack):
                found.append(each.text)
    return found


def _meet(one: Box, other: Box, slack: float) -> bool:
    """Say whether the second, which may be a line, reaches more than `slack` into the first."""
    return (
        other[2] > one[0] + slack
        and other[0] < one[2] - slack
        and other[3] > one[1] + slack
        and other[1] < one[3] - slack
    )
