"""Curves in a terminal: a few rows of blocks, no colour."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

COLUMNS, ROWS = 64, 6
BLOCKS = " ▁▂▃▄▅▆▇█"
PLAIN = "    " + "#" * 5  # where the terminal's encoding has no blocks


def chart(
    values: Sequence[float],
    *,
    until: float,
    peak: float | None = None,
    logarithmic: bool = False,
    rows: int = ROWS,
) -> list[str]:
    """Return a chart of `values`, one a column, as lines of text.

    Args:
        values: finite numbers; above 0 where `logarithmic`.
        until: what the last column is at, such as the last epoch; the first is at 0.
        peak: what the top is at, where a value between two columns is greater than all; None for the greatest.
        logarithmic: draw their logarithms.
        rows: lines of the chart itself; two more follow, the axis and its ends.
    """
    scale = math.log if logarithmic else float
    low, high = min(values), max(values) if peak is None else peak
    bottom = scale(low) if logarithmic else min(0.0, low)
    span = scale(high) - bottom
    if logarithmic:
        bottom, span = bottom - 0.15 * span, 1.15 * span  # so that the least, too, is seen to be above nothing
    eighths = [round(8 * rows * (scale(value) - bottom) / span) if span > 0 else 4 * rows for value in values]
    blocks = BLOCKS if _has(BLOCKS) else PLAIN
    labels = {rows - 1: short(low if logarithmic or low < 0 else 0)} | {0: short(high)}
    width = max(len(label) for label in labels.values())
    lines = []
    for row in range(rows):
        floor = 8 * (rows - 1 - row)
        cells = "".join(blocks[max(0, min(8, eighth - floor))] for eighth in eighths)
        lines.append(f"{labels.get(row, ''):>{width}} |{cells}".rstrip())
    end = f"epoch {until:g}"
    lines.append(f"{'':{width}} +{'-' * len(values)}")
    lines.append(f"{'':{width}}  0{end:>{len(values) - 1}}")
    return lines


def short(value: float) -> str:
    """Return a number in at most three digits."""
    return f"{value:.3g}"


def _has(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
