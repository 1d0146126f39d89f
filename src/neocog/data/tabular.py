"""Images listed in a CSV file such as `metadata.csv`.

The columns are found by their names:

- the file, relative to the CSV's folder: `file_name`, `filename`, `file`, `path` or `image`;
- its class: `label`, `class`, `class_name`, `category` or `target`;
- or its classes, any number of them, separated by ";", "|" or ",": `labels`, `classes`, `categories` or `tags`;
- or one column for each class, of zeros and ones; if every image has exactly one, it is a single label;
- optionally `split`, with train, val and test.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from neocog.data.files import Skipped, file_problem
from neocog.data.rows import image_structs, label_indices, listed, make_rows, sort_classes, split_of
from neocog.data.table import Split, Tables
from neocog.errors import DataError

_FILE = ("file_name", "filename", "file", "path", "image")
_ONE = ("label", "class", "class_name", "category", "target")
_SEVERAL = ("labels", "classes", "categories", "tags")
_MARKS = {"": False, "0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
_SEPARATOR = re.compile(r"[;|,]")


def read_csv(paths: dict[str, Path], name: str) -> Tables:
    """Read images and classes listed in CSV files.

    Args:
        paths: the file of each split, or one file as "all", which may have a `split` column.
        name: of the source.

    Raises:
        DataError: a file is not UTF-8 or not a table, columns or image files are missing, an image is listed
            twice, or a row has no class. The message gives the line.
    """
    listings = {split: _Listing(path) for split, path in paths.items()}
    kinds = {listing.multi_label for listing in listings.values()}
    if len(kinds) > 1:
        raise DataError(f"{name}: some of its CSV files have one label an image and some several; make them agree")
    multi_label = kinds.pop()
    classes = sort_classes(name for listing in listings.values() for names in listing.names for name in names)
    tables, skipped = Tables(name, {}), Skipped()
    for split, listing in listings.items():
        for part, rows in listing.by_split(split).items():
            rows = [row for row in rows if not _set_aside(listing.files[row], skipped)]
            _add(tables, part, listing, rows, classes, multi_label)
    if not tables.splits:
        raise DataError(f"{name}: none of the images listed can be used; check a few of them by hand")
    tables.warnings += skipped.warnings(name)
    return tables


class _Listing:
    """One CSV file: the image files it names, their classes and their splits."""

    def __init__(self, path: Path) -> None:
        self.path = path
        header, self.rows = _rows_of(path)
        self.columns = {column: place for place, column in reversed(list(enumerate(header)))}
        file_column = self._find(_FILE)
        if file_column is None:
            raise DataError(f"{path}: no column of image files; call one of its columns ({listed(header)}) file_name")
        self.names, self.multi_label = self._classes(header, file_column)
        self.files = self._existing(file_column)

    def by_split(self, split: str) -> dict[str, list[int]]:
        """Return the rows of each split, by the `split` column if this is the file of all of them."""
        place = self.columns.get("split")
        if split != "all" or place is None:
            return {split: list(range(len(self.rows)))}
        parts: dict[str, list[int]] = {}
        for row, (line, cells) in enumerate(self.rows):
            part = split_of(cells[place])
            if part is None:
                raise DataError(f"{self.path}, line {line}: split {cells[place]!r} is none of train, val and test")
            parts.setdefault(part, []).append(row)
        return parts

    def _find(self, names: Sequence[str]) -> int | None:
        return next((self.columns[name] for name in names if name in self.columns), None)

    def _classes(self, header: list[str], file_column: int) -> tuple[list[list[str]], bool]:
        """Return the class names of every row, and whether a row may have several."""
        one, several = self._find(_ONE), self._find(_SEVERAL)
        if one is not None:
            for line, cells in self.rows:
                if not cells[one]:
                    raise DataError(f"{self.path}, line {line}: no {header[one]}; fill it in or remove the line")
            return [[cells[one]] for _, cells in self.rows], False
        if several is not None:
            split_cells = ([part.strip() for part in _SEPARATOR.split(cells[several])] for _, cells in self.rows)
            return [sorted({part for part in parts if part}) for parts in split_cells], True
        places = [place for place, name in enumerate(header) if place != file_column and name != "split"]
        marked = [place for place in places if all(cells[place].lower() in _MARKS for _, cells in self.rows)]
        if len(marked) < 2:
            raise DataError(
                f"{self.path}: no column of labels; call one of its columns ({listed(header)}) label, "
                "or labels if an image may have several"
            )
        names = [[header[place] for place in marked if _MARKS[cells[place].lower()]] for _, cells in self.rows]
        return names, any(len(each) != 1 for each in names)

    def _existing(self, place: int) -> list[str]:
        """Return the path of every row's file, after checking that each is there, and there once."""
        files = [os.path.join(self.path.parent, cells[place]) for _, cells in self.rows]
        missing = [row for row, file in enumerate(files) if not os.path.isfile(file)]
        if missing:
            line, cells = self.rows[missing[0]]
            raise DataError(
                f"{self.path}: {len(missing)} of {len(files)} image files are missing, such as {cells[place]!r} "
                f"in line {line}; names are relative to {self.path.parent}"
            )
        twice = [file for file, count in Counter(files).items() if count > 1]
        if twice:
            lines = [str(line) for (line, _), file in zip(self.rows, files, strict=True) if file == twice[0]]
            raise DataError(
                f"{self.path}: {len(twice)} image files are listed more than once, such as "
                f"{os.path.relpath(twice[0], self.path.parent)!r} in lines {', '.join(lines)}; "
                "keep one line each"
            )
        return files


def _rows_of(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header in lower case where it is a known name, and the cells of each row with its line."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=first.count))
            header = [_column_name(cell) for cell in next(reader, [])]
            rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error}); save it as one") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from error
    for line, cells in rows:
        if len(cells) != len(header):
            raise DataError(f"{path}, line {line}: {len(cells)} values for {len(header)} columns; correct the line")
    if not rows:
        raise DataError(f"{path}: it lists no images; give it a header and one line for each image")
    return header, rows


def _column_name(cell: str) -> str:
    """Return a column's name; the names that mean something here are matched in any case."""
    name = cell.strip()
    known = {*_FILE, *_ONE, *_SEVERAL, "split"}
    return name.lower() if name.lower() in known else name


def _set_aside(path: str, skipped: Skipped) -> bool:
    problem = file_problem(path)
    if problem:
        skipped.add(problem, path)
    return problem is not None


def _add(
    tables: Tables,
    split: str,
    listing: _Listing,
    rows: list[int],
    classes: tuple[str, ...],
    multi_label: bool,
) -> None:
    """Add the given rows of a listing to `tables` as a split."""
    if not rows:
        return
    labels = label_indices([listing.names[row] for row in rows], classes, multi_label)
    paths = [listing.files[row] for row in rows]
    name = tables.name if split == "all" else f"{tables.name}/{split}"
    table = make_rows(image_structs(paths), labels, classes, multi_label)
    tables.splits[split] = Split(table, classes, name, multi_label)
    tables.keys[split] = [Path(os.path.relpath(path, listing.path.parent)).as_posix() for path in paths]
