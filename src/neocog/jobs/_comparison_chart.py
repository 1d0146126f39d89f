"""What a comparison says: its chart, the table under it, and the files of both."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from neocog._version import __version__
from neocog.jobs._accuracy import IMAGENET
from neocog.visualize.bubble_page import Column, Page, write_bubble_page
from neocog.visualize.bubbles import Bubble, Chart, bubble_chart, rounded

if TYPE_CHECKING:
    from neocog.jobs._compared import Row
    from neocog.jobs.comparison import Comparison

QUANTITIES = {"top1": "top-1", "top5": "top-5"}
AXES = {
    "macs": "MACs per image (multiply-adds, logarithmic)",
    "parameters": "parameters (logarithmic)",
    "throughput": "images per second (logarithmic)",
    "year": "year of the paper",
}
UNITS = {"macs": "MACs", "parameters": "parameters", "throughput": "images/s", "year": ""}


def write_comparison(found: Comparison, out: Path) -> tuple[Path, ...]:
    """Write the page `out` and its picture beside it, or where `out` is a picture only that."""
    chart = comparison_chart(found)
    if out.suffix.lower() != ".html":
        return (bubble_chart(chart, out),)
    picture = bubble_chart(chart, out.with_suffix(".png"))
    page = write_bubble_page(_page(found, chart), out)
    return page, picture


def comparison_chart(found: Comparison) -> Chart:
    """Return the chart of what has an accuracy."""
    drawn = [row for row in found.rows if not row.not_drawn]
    by = "macs" if found.x == "parameters" else "parameters"
    return Chart(
        title=_title(found),
        bubbles=tuple(_bubble(found, row, by) for row in drawn),
        x_label=AXES[found.x],
        y_label=f"{_claim(found)}, %",
        size_label=UNITS[by],
        notes=_notes(found),
        log=found.x != "year",
        whole=found.x == "year",
        more_is_better=found.x == "throughput",
    )


def _bubble(found: Comparison, row: Row, by: str) -> Bubble:
    x, size = row.at(found.x), row.macs if by == "macs" else row.parameters
    assert x is not None
    assert row.accuracy is not None
    return Bubble(
        label=row.label,
        group=row.family,
        x=x,
        y=row.accuracy,
        size=size,
        on_front=row.on_front,
        hollow=bool(row.passes),
        details=tuple(details(found, row)),
    )


def details(found: Comparison, row: Row) -> list[str]:
    """Return all that is known of a row, in lines."""
    lines = [row.label]
    if row.accuracy is not None:
        lines.append(f"{row.accuracy:.4g} % {QUANTITIES[found.y]}: {row.source}")
    lines.append(f"{rounded(row.macs)} MACs for one image of {_sides(row.image)}")
    if row.accuracy is not None and not row.not_drawn and row.usual and row.image != row.usual:
        lines.append(f"both at {_sides(row.image)}; {_sides(row.usual)} is usual")
    if row.images_per_second is not None and row.images_per_second_interval is not None:
        low, high = (rounded(rate) for rate in row.images_per_second_interval)
        lines.append(f"{rounded(row.images_per_second)} images/s (95 % interval {low} to {high})")
    lines.append(f"{rounded(row.parameters)} parameters")
    if row.year is not None:
        lines.append(f"{row.paper}, {row.year}")
    if row.passes:
        lines.append(f"{row.passes}: for this accuracy each image took so many passes, each of these MACs")
    if row.uncounted:
        lines.append(f"not counted: {', '.join(row.uncounted)}")
    if row.not_drawn:
        lines.append(f"not drawn: {row.not_drawn}")
    if row.on_front:
        lines.append("on the Pareto front")
    return lines


def _sides(image: Sequence[int]) -> str:
    return "x".join(map(str, image))


def _title(found: Comparison) -> str:
    """Return the finding: what the front spans."""
    front = found.front
    drawn = f"{len(found.rows) - len(found.not_drawn)} {'accuracies' if found.all_weights else 'networks'}"
    if not front:
        return f"None of these networks has {_claim(found)} to draw"
    if len(front) == 1:
        (row,) = front
        alone = f" alone is on the Pareto front of {drawn}" if len(found.rows) - len(found.not_drawn) > 1 else ""
        return f"{row.label}{alone}: {_words(found, row)}"
    few, many = front[0], front[-1]
    span = f"from {few.label} ({_words(found, few)}) to {many.label} ({_words(found, many)})"
    return f"{len(front)} of {drawn} are on the Pareto front, {span}"


def _words(found: Comparison, row: Row) -> str:
    x = row.at(found.x) or 0
    where = f"in {x:.0f}" if found.x == "year" else f"at {rounded(x)} {UNITS[found.x]}"
    return f"{row.accuracy:.1f} % {where}"


def _claim(found: Comparison) -> str:
    quantity = QUANTITIES[found.y]
    return f"published ImageNet {quantity}" if found.basis == IMAGENET else f"{quantity} on {found.basis}"


def _notes(found: Comparison) -> tuple[str, ...]:
    better = {"throughput": "faster", "year": "earlier", "parameters": "smaller"}.get(found.x, "cheaper")
    whose = "Each of the networks' trained weights with its" if found.all_weights else "Each network with its best"
    counted = "MACs and images per second" if found.x == "throughput" else "MACs"
    notes = [
        f"{whose} {QUANTITIES[found.y]} from one pass over each image, where one is known; {counted} at the image size "
        "of that test.",
        f"Pareto front: no network drawn is both {better} and more accurate.",
    ]
    if any(row.passes and not row.not_drawn for row in found.rows):
        notes.append("Hollow: an accuracy of several crops of each image, at so many times the MACs; not on the front.")
    if found.conditions:
        notes.append(f"Images per second: {found.conditions}.")
    if found.not_drawn:
        notes.append(f"Not drawn, for want of an accuracy to compare: {', '.join(r.label for r in found.not_drawn)}.")
    uncounted = sorted({name for row in found.rows for name in row.uncounted})
    if uncounted:
        notes.append(f"Operations without a rule, whose MACs are missing: {', '.join(uncounted)}.")
    return tuple(notes)


def _page(found: Comparison, chart: Chart) -> Page:
    measured = found.x == "throughput"
    columns = [
        Column("network"),
        Column(f"{QUANTITIES[found.y]}, %", numeric=True),
        Column("image", numeric=True),
        Column("MACs", numeric=True),
        Column("parameters", numeric=True),
        *[Column("images/s", numeric=True)] * measured,
        Column("year", numeric=True),
        Column("accuracy from"),
    ]
    command = shlex.join(["neocog", "compare", *found.patterns, *(["--x", found.x] if found.x != "macs" else [])])
    return Page(
        heading=f"neocog compare {' '.join(found.patterns)}",
        chart=chart,
        columns=tuple(columns),
        rows=tuple(_cells(found, row, measured) for row in found.rows),
        bubbles=tuple(_places(found.rows)),
        footer=f"{command} · neocog {__version__}",
    )


def _places(rows: Sequence[Row]) -> list[int | None]:
    """Return for each row the place of its bubble."""
    places: list[int | None] = []
    drawn = 0
    for row in rows:
        places.append(None if row.not_drawn else drawn)
        drawn += not row.not_drawn
    return places


def _cells(found: Comparison, row: Row, measured: bool) -> tuple[tuple[str, float | str], ...]:
    """Return a row of the table: what is read in each cell, and what to sort it by."""
    rate = row.images_per_second
    cells: list[tuple[str, float | str]] = [
        (row.label, row.label),
        ("–" if row.accuracy is None else f"{row.accuracy:.1f}", row.accuracy or 0),
        (_sides(row.image), row.image[-1]),
        (rounded(row.macs), row.macs),
        (rounded(row.parameters), row.parameters),
    ]
    if measured:
        cells.append(("–" if rate is None else rounded(rate), rate or 0))
    return (*cells, (str(row.year or "–"), row.year or 0), (row.origin, row.origin))
