"""A bubble chart as a page: one HTML file with the chart, what each bubble is, and the table under it.

The page asks no other machine for anything, and its content policy lets a browser run only the script that it was
written with, which shows a bubble's details where it is pointed at or reached by keys, and sorts the table.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from neocog.visualize._bubble_layout import lay_out
from neocog.visualize._bubble_svg import svg
from neocog.visualize._html import text
from neocog.visualize.bubbles import Chart
from neocog.visualize.style import write

Cell = tuple[str, float | str]
"""What is read in a cell of the table, and what it is sorted by."""


@dataclass(frozen=True)
class Column:
    """A column of the table; numbers stand flush right."""

    title: str
    numeric: bool = False


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a page shows.

    Attributes:
        heading: above the chart's title.
        chart: the chart.
        columns: of the table; the first holds the names.
        rows: of cells, one a column.
        bubbles: for each row the place of its bubble in the chart; None where it has none.
        footer: the last line.
    """

    heading: str
    chart: Chart
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    bubbles: tuple[int | None, ...]
    footer: str = ""


def write_bubble_page(page: Page, path: str | Path) -> Path:
    """Write a page as one HTML file.

    Returns:
        The path written.

    Raises:
        StorageError: the place cannot be written.
    """
    path = Path(path)
    write(path, _html(page).encode("utf-8"))
    return path


def _html(page: Page) -> str:
    script = _resource("bubbles.js")
    allowed = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    notes = "".join(f"<p>{text(note)}</p>" for note in page.chart.notes)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{text(page.heading)}</title>
<style>
{_resource("report.css")}{_resource("bubbles.css")}</style>
</head>
<body>
<header>
<h1>{text(page.heading)}</h1>
<p class="verdict">{text(page.chart.title)}</p>
</header>
<main>
{_chart(page)}
<div class="notes">{notes}</div>
<h2>In numbers</h2>
{_table(page)}
</main>
<footer>{text(page.footer)}</footer>
<script>{script}</script>
</body>
</html>
"""


def _resource(name: str) -> str:
    return files("neocog.visualize").joinpath(name).read_text("utf-8")


def _chart(page: Page) -> str:
    if not page.chart.bubbles:
        return ""
    anchors = {bubble: _anchor(row) for row, bubble in enumerate(page.bubbles) if bubble is not None}
    drawing = svg(page.chart, lay_out(page.chart), [anchors[place] for place in range(len(page.chart.bubbles))])
    return f'<figure class="plot">{drawing}<div id="tip" role="status" aria-hidden="true" hidden></div></figure>'


def _anchor(row: int) -> str:
    return f"row-{row + 1}"


def _table(page: Page) -> str:
    heads = "".join(
        f'<th scope="col"{" data-numeric=1" if column.numeric else ""}>{text(column.title)}</th>'
        for column in page.columns
    )
    body = "\n".join(_row(page, place) for place in range(len(page.rows)))
    return (
        '<div class="scroll"><table class="compared">'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(page: Page, place: int) -> str:
    (name, by), *cells = page.rows[place]
    bubble = page.bubbles[place]
    on_front = bubble is not None and page.chart.bubbles[bubble].on_front
    kind = "undrawn" if bubble is None else "front" if on_front else ""
    said = '<span class="aside"> (on the Pareto front)</span>' if on_front else ""
    rest = "".join(f'<td data-by="{text(by)}">{text(words)}</td>' for words, by in cells)
    head = f'<th scope="row" data-by="{text(by)}">{text(name)}{said}</th>'
    return f'<tr id="{_anchor(place)}" class="{kind}">{head}{rest}</tr>'
