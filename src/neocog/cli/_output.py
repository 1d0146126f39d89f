"""What goes to standard output: lines and tables for a person, one JSON document for a program."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class Column(NamedTuple):
    """A table's column; numbers stand flush right."""

    title: str
    numeric: bool = False


def is_main_process() -> bool:
    """Return whether this process is the one that speaks: under `torchrun` only the first does."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str = "") -> None:
    """Print one line."""
    if is_main_process():
        print(text)


def print_json(value: Any) -> None:
    """Print `value` as one JSON document; what is not finite becomes null, which JSON can say."""
    if is_main_process():
        print(json.dumps(_finite(value), indent=2))


def print_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as CSV under the names of the first one's values, with exact numbers.

    Sizes, such as (3, 224, 224), become "3x224x224"; other values that are several stand with spaces between them.
    """
    if not is_main_process():
        return
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _in_one_cell(value) for name, value in row.items()})


def _in_one_cell(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    return ("x" if all(isinstance(each, int) for each in value) else " ").join(map(str, value))


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: fitted to the terminal, or where there is none in aligned columns of full width."""
    if not is_main_process():
        return
    cleaned = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_fitted(columns, cleaned)
        return
    lines = [[column.title for column in columns], *cleaned]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        cells = [
            cell.rjust(width) if column.numeric else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        print("  ".join(cells).rstrip())


def printable(text: str) -> str:
    """Return `text` with control characters escaped, since a file's name may hold any."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or not char.isascii() else repr(char)[1:-1] for char in text)


def percent(share: float | None, digits: int = 2) -> str:
    """Return a share as per cent, such as "96.08 %"; a dash for what is not defined."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def counted(count: float, digits: int = 3) -> str:
    """Return a large number with three digits and its unit, such as "25.6M" or "4.09G"."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            scaled = count / size
            return f"{scaled:.{max(0, digits - len(str(int(scaled))))}f}{unit}"
    return f"{count:g}"


def byte_count(size: float) -> str:
    """Return a number of bytes as people say it, such as "12.8 MB"; a kB is a thousand bytes."""
    for unit, amount in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= amount:
            scaled = size / amount
            return f"{scaled:.{max(0, 3 - len(str(int(scaled))))}f} {unit}"
    return f"{size:g} B"


def duration(seconds: float) -> str:
    """Return a time in words, such as "48 s", "2 min 31 s" or "1 h 05 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _print_fitted(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column.title, justify="right" if column.numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(markup=False, highlight=False, emoji=False).print(table)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value if isinstance(value, str | int | None) else str(value)
