"""Image files on disk: finding them, telling sound ones from others cheaply, and naming those for prediction.

Content decides what a file is, never its name: a JPEG called `.png` is an image, and a page of text called
`.jpg` is not.
"""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from neocog.data.preprocess import FORMATS
from neocog.errors import DataError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k"),
)
"""What names of image files usually end in."""

_EDGE = 64  # bytes of the file's start and end that are looked at
_FOREIGN = "they are no images"
_JUNK = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass
class Skipped:
    """Files that were left out of a data set, by reason, in the order they were met."""

    by_reason: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, path: str) -> None:
        """Note that `path` was left out."""
        self.by_reason.setdefault(reason, []).append(path)

    def extend(self, others: Skipped) -> None:
        """Note all that `others` noted."""
        for reason, paths in others.by_reason.items():
            self.by_reason.setdefault(reason, []).extend(paths)

    @property
    def spoilt(self) -> str | None:
        """The first file that was meant to be an image, by its name or its beginning, and cannot be used."""
        for reason, paths in self.by_reason.items():
            for path in paths:
                if reason != _FOREIGN or os.path.splitext(path)[1].lower() in SUFFIXES:
                    return path
        return None

    def warnings(self, name: str) -> list[str]:
        """Return one line for each reason: how many files, and the first of them."""
        return [
            f"{name}: {len(paths)} {'file' if len(paths) == 1 else 'files'} left out because {reason}, "
            f"{'namely' if len(paths) == 1 else 'the first'} {paths[0]}"
            for reason, paths in self.by_reason.items()
        ]


def walk(directory: str | Path) -> Iterator[str]:
    """Yield the path of every file below `directory`, depth first, sorted by name.

    Symbolic links are followed; a directory that is met again, by a cycle of links, is not entered twice.
    Hidden files and what operating systems leave behind are passed over.

    Raises:
        DataError: a directory may not be read.
    """
    yield from _walk(os.fspath(directory), set())


def list_directory(directory: str | Path) -> list[os.DirEntry[str]]:
    """Return the visible entries of a directory, sorted by name.

    Raises:
        DataError: it may not be read.
    """
    try:
        with os.scandir(directory) as entries:
            visible = [e for e in entries if not e.name.startswith(".") and e.name.lower() not in _JUNK]
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{directory}: the folder cannot be read ({reason}); check its permissions") from error
    return sorted(visible, key=lambda entry: entry.name)


def sound_images(directory: str | Path, skipped: Skipped) -> list[str]:
    """Return the image files below `directory`, sorted; empty, damaged and other files go to `skipped`."""
    paths = []
    for path in walk(directory):
        problem = file_problem(path)
        if problem:
            skipped.add(problem, path)
        else:
            paths.append(path)
    return paths


def file_problem(path: str) -> str | None:
    """Return why the file at `path` cannot be an image, or None where it looks sound.

    Reads the file's first and last 64 bytes. Where the format has an end mark that is not there, the file
    is decoded to decide, so that bytes appended by a camera do no harm. Damage between the two is found
    when the image is used.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(_EDGE)
            file.seek(max(0, size - _EDGE))
            return problem_of(head, file.read(_EDGE), size, lambda: open(path, "rb"))
    except OSError as error:
        return f"they cannot be read ({(error.strerror or str(error)).lower()})"


def problem_of(head: bytes, tail: bytes, size: int, reopen: Callable[[], BinaryIO]) -> str | None:
    """Judge an encoded image of `size` bytes by its first and last bytes; see `file_problem`."""
    if size == 0:
        return "they are empty"
    kind = _kind(head)
    if kind is None:
        return _FOREIGN
    if _ends(kind, head, tail, size):
        return None
    with reopen() as stream:
        return None if _decodes(stream) else "they are damaged"


def list_images(inputs: Sequence[str | Path]) -> list[Path]:
    """Return the images that `inputs` name, for prediction, each once, in the order given.

    Args:
        inputs: files, folders (searched to the bottom, sorted by name), patterns such as "holiday/*.jpg" or
            "**/*.png", and "-", which reads one name a line from standard input. Files need not exist or be
            sound: whoever opens them reports that.

    Raises:
        DataError: nothing at all was found, or none of the files named exists.
    """
    found: dict[Path, None] = {}
    for name in _named(inputs):
        if os.path.isdir(name):
            found |= dict.fromkeys(Path(path) for path in walk(name) if _may_be_image(path))
        elif glob.has_magic(name) and not os.path.lexists(name):
            matches = sorted(glob.glob(name, recursive=True)) or [name]
            found |= dict.fromkeys(Path(match) for match in matches if not os.path.isdir(match))
        else:
            found[Path(name)] = None
    if not found:
        places = ", ".join(str(each) for each in inputs) or "nothing"
        raise DataError(f"{places}: no images there; name image files, folders of them, or patterns")
    if not any(path.exists() for path in found):
        first = next(iter(found))
        more = f", nor any of {len(found) - 1} more" if len(found) > 1 else ""
        raise DataError(f"{first}: there is no such file or folder{more}; check the path")
    return list(found)


def _named(inputs: Sequence[str | Path]) -> Iterator[str]:
    for each in inputs:
        if str(each) == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield os.path.expanduser(each)


def _may_be_image(path: str) -> bool:
    """Whether to try a file found in a folder: it is called like an image, or begins like one."""
    if os.path.splitext(path)[1].lower() in SUFFIXES:
        return True
    try:
        with open(path, "rb", buffering=0) as file:
            return _kind(file.read(_EDGE)) is not None
    except OSError:
        return False


def _walk(directory: str, entered: set[tuple[int, int]]) -> Iterator[str]:
    status = os.stat(directory)
    if (status.st_dev, status.st_ino) in entered:
        return
    entered.add((status.st_dev, status.st_ino))
    for entry in list_directory(directory):
        if entry.is_dir():
            yield from _walk(entry.path, entered)
        else:
            yield entry.path


def _kind(head: bytes) -> str | None:
    """Return the format that a file begins like, or None."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "bmp"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "tiff"
    if head[4:8] == b"ftyp" and b"avif" in head[8:32]:
        return "avif"
    if head.startswith((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")):
        return "jpeg2000"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "ppm"
    return None


def _ends(kind: str, head: bytes, tail: bytes, size: int) -> bool:
    """Whether a file ends as its format should; True for formats whose end has no mark."""
    if kind == "jpeg":
        return b"\xff\xd9" in tail
    if kind == "png":
        return b"IEND" in tail
    if kind == "gif":
        return b";" in tail
    if kind == "webp":
        return int.from_bytes(head[4:8], "little") + 8 <= size
    if kind == "bmp":
        return int.from_bytes(head[2:6], "little") <= size
    return True


def _decodes(stream: BinaryIO) -> bool:
    """Whether Pillow can read an image to its end, at the smallest scale that the format offers."""
    try:
        with Image.open(io.BytesIO(stream.read()), formats=FORMATS) as image:
            image.draft("L", (1, 1))
            image.load()
    except (OSError, SyntaxError, ValueError, LookupError, RuntimeError, Image.DecompressionBombError):
        return False
    return True
