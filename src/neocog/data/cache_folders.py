"""The folders of caches: where they are, what they are called, whether they can be written, and removing them."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from neocog.data.cache_parts import is_part_of_cache
from neocog.errors import StorageError

ADVICE = "name another folder in NEOCOG_CACHE; a new run can go without: `--set cache=false`"

_LONGEST = 100  # bytes of a data set's name in the name of its folder; file systems take 255 in all
_NAME = re.compile(r".+-\d+-(rgb|grey)-[0-9a-f]{8}", re.DOTALL)


def cache_root() -> Path:
    """Return the folder of all caches: NEOCOG_CACHE, or one in the user's own cache.

    Raises:
        StorageError: it lies in a home folder that there is not.
    """
    own = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "neocog" / "photographs"
    root = Path(os.environ.get("NEOCOG_CACHE") or own)
    try:
        return root.expanduser()
    except RuntimeError as error:
        raise StorageError(f"there is no folder {root}: no such home; {ADVICE}") from error


def folder_name(name: str, side: int, channels: int, digest: str) -> str:
    """Return the name of a cache's folder.

    Args:
        name: of the data set; a long one is cut.
        side: shorter side of the photographs in pixels.
        channels: 3 for RGB, 1 for grey.
        digest: of what tells this cache from others of that name, 8 hexadecimal digits.
    """
    while len(os.fsencode(name)) > _LONGEST:
        name = name[:-1]
    return f"{name}-{side}-{'rgb' if channels == 3 else 'grey'}-{digest}"


@contextmanager
def caching(folder: Path) -> Iterator[None]:
    """Turn what the system refuses in a cache's folder into a `StorageError` of one line that says the way out."""
    try:
        yield
    except OSError as error:  # a StorageError is one too
        cause = error.__cause__ if isinstance(error, StorageError) else error
        if not isinstance(cause, OSError):
            raise
        reason = os.strerror(cause.errno) if cause.errno else str(cause)
        more = "free some space, or " if cause.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise StorageError(f"cannot write {folder}: {reason.lower()}; {more}{ADVICE}") from cause


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where it is not there.

    Raises:
        StorageError: it cannot be made.
    """
    with caching(folder):
        folder.mkdir(parents=True, exist_ok=True)


def require_writable(folder: Path) -> None:
    """Make a folder where it is not there, and try to write into it.

    Raises:
        StorageError: it cannot be made or written.
    """
    make_folder(folder)
    with caching(folder), tempfile.TemporaryFile(prefix=".neocog-", suffix=".tmp", dir=folder) as file:
        file.write(b"\0")
        file.flush()


def existing(folder: Path) -> Path:
    """Return the nearest folder above that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if os.path.exists(place))


def remove_caches(root: Path | None = None) -> int:
    """Delete all caches, and return how many bytes they took. What else lies in that folder stays.

    Args:
        root: the folder of all caches; None for `cache_root()`.

    Raises:
        StorageError: they cannot be deleted.
    """
    root = root or cache_root()
    try:
        taken = [_remove(folder) for folder in sorted(root.iterdir()) if _is_cache(folder)]
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StorageError(f"cannot remove the caches in {root}: {(error.strerror or str(error)).lower()}") from error
    if taken:
        with suppress(OSError):  # there is something else in it, or it is not ours to remove
            root.rmdir()
    return sum(taken)


def _is_cache(folder: Path) -> bool:
    """Return whether a folder is named like a cache, and holds nothing but what a cache holds."""
    if not _NAME.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
        return False
    return all(is_part_of_cache(path) for path in folder.iterdir())


def _remove(folder: Path) -> int:
    """Delete a cache, and return how many bytes it took."""
    taken = 0
    for path in sorted(folder.iterdir()):  # of a part the index first: without it the part is not there
        with suppress(FileNotFoundError):  # another process was quicker
            size = path.stat().st_size
            path.unlink()
            taken += size
    with suppress(OSError):  # a build has begun anew meanwhile
        folder.rmdir()
    return taken
