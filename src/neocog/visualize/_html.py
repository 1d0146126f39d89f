"""Pieces of HTML for the report.

What comes from outside passes through `text`; the cells and headings of a table are HTML already.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from neocog.visualize.style import DPI

MOST_ROWS = 20  # of an open table; the others fold away
IMAGE_TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


def text(value: object) -> str:
    """Return `value` as HTML text; what is no Unicode, such as odd bytes of a file name, becomes "?"."""
    return escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def code(lines: str) -> str:
    """Return command lines or a program as a block."""
    return f"<pre><code>{text(lines)}</code></pre>"


def figure(path: Path, caption: str) -> str:
    """Return the image file at `path` embedded, or a sentence where it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"<p>This figure could not be read from {text(path)}: {text(error.strerror)}.</p>"
    encoded = base64.b64encode(content).decode("ascii")
    # A PNG's header states its width. Shown at the size it was drawn for, all figures' letters are as large.
    pixels = int.from_bytes(content[16:20], "big") if content.startswith(b"\x89PNG") else 0
    width = f' width="{96 * pixels // DPI}"' if pixels else ""
    kind = IMAGE_TYPES.get(path.suffix.lower(), "image/png")
    return f'<figure><img src="data:{kind};base64,{encoded}"{width} alt="{text(caption)}"></figure>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], foot: Sequence[str] = ()) -> str:
    """Return a table of cells, the first of each row its name; rows beyond the first 20 fold away."""
    shown = _plain_table(head, rows[:MOST_ROWS], foot)
    rest = rows[MOST_ROWS:]
    if not rest:
        return shown
    return f"{shown}<details><summary>{len(rest):,} more</summary>{_plain_table(head, rest, ())}</details>"


def pairs(values: Mapping[str, str], *, compact: bool = False) -> str:
    """Return names with their values, those without a value left out."""
    kind = "pairs compact" if compact else "pairs"
    rows = (f"<div><dt>{text(n)}</dt><dd>{text(value)}</dd></div>" for n, value in values.items() if value)
    return f'<dl class="{kind}">{"".join(rows)}</dl>'


def settings(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as words by dotted names."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= settings(value, f"{prefix}{name}.")
        elif value is None:
            flat[prefix + name] = "none"
        else:
            flat[prefix + name] = _words(value)
    return flat


def duration(seconds: float) -> str:
    """Return a length of time in words, such as "4 min 12 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _plain_table(head: Sequence[str], rows: Sequence[Sequence[str]], foot: Sequence[str]) -> str:
    heading = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(_row(cells) for cells in rows)
    ending = f"<tfoot>{_row(foot)}</tfoot>" if foot else ""
    inside = f"<thead><tr>{heading}</tr></thead><tbody>{body}</tbody>{ending}"
    return f'<div class="scroll"><table>{inside}</table></div>'


def _row(cells: Sequence[str]) -> str:
    rest = "".join(f"<td>{cell}</td>" for cell in cells[1:])
    return f'<tr><th scope="row">{cells[0]}</th>{rest}</tr>'


def _words(value: Any) -> str:
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(_words(item) for item in value) or "none"
    return json.dumps(value, default=str, ensure_ascii=False)
