"""metrics.csv: rows of numbers that survive a kill at any moment."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from neocog._files import append_text, write_text


class MetricsFile:
    """Rows of named numbers in a CSV file, whose columns grow when a new name comes.

    Args:
        path: the file; made with the first row.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, row: Mapping[str, float]) -> None:
        """Add a row and force it to the disk; raises `StorageError`, and the rows before stay."""
        columns = self._columns()
        grown = columns + [name for name in row if name not in columns]
        if grown != columns:
            self._rewrite(grown, [*self.read(), row])
        else:
            append_text(self.path, _line(row.get(name) for name in columns))

    def read(self) -> list[dict[str, float]]:
        """Return the rows; a name without a value in a row is left out of it, and so is a row cut short."""
        return read_metrics(self.path)

    def drop_after(self, step: int) -> None:
        """Drop the rows whose "step" is beyond `step`, and a last row that was cut short."""
        if self.path.exists():
            self._rewrite(self._columns(), [row for row in self.read() if row["step"] <= step])

    def _columns(self) -> list[str]:
        return _parse(self.path)[0]

    def _rewrite(self, columns: Sequence[str], rows: Iterable[Mapping[str, float]]) -> None:
        lines = [_line(row.get(name) for name in columns) for row in rows]
        write_text(self.path, "".join([_line(columns), *lines]))


def read_metrics(path: str | Path) -> list[dict[str, float]]:
    """Return the rows of a metrics.csv, without those cut short; none where there is no file."""
    columns, rows = _parse(Path(path))
    return [{name: float(cell) for name, cell in zip(columns, row, strict=True) if cell} for row in rows]


def _parse(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the columns and the whole rows of a CSV file; neither where there is none."""
    if not path.exists():
        return [], []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]  # a kill or a full disk may have cut the last line
    rows = list(csv.reader(io.StringIO(whole)))
    columns = rows[0] if rows else []
    return columns, [row for row in rows[1:] if len(row) == len(columns)]


def _line(cells: Iterable[object]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow("" if cell is None else _plain(cell) for cell in cells)
    return text.getvalue()


def _plain(cell: object) -> str:
    """Return a cell that reads back as the same number; whole ones such as steps without a point."""
    if isinstance(cell, str):
        return cell
    number = float(cell)  # type: ignore[arg-type]
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
