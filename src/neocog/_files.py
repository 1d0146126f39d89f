"""Writing files so that a kill, a full disk or a power cut leaves the old file or the new one, never a half.

The content goes to a temporary file in the same folder, is forced to the disk, and takes the name in one
step. Every room may import this module; it imports nothing of neocog's but the errors.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from neocog.errors import StorageError

_TEMPORARY = ".neocog-{}.tmp"

_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space or choose another place"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose a place that you may write to"),
    errno.ENOENT: "its folder does not exist; create it first",
}


@contextmanager
def storing(path: str | Path) -> Iterator[None]:
    """Turn what the system refuses while `path` is written into a `StorageError` of one line."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        advice = _ADVICE.get(error.errno or 0, "choose another place")
        raise StorageError(f"cannot write {path}: {reason.lower()}; {advice}") from error


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the name `path` only when the block ends well.

    What cannot be replaced, such as a pipe or `/dev/stdout`, is written directly. A link stays a link.

    Raises:
        StorageError: the disk is full or the place cannot be written; whatever stood at `path` is unchanged.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(_TEMPORARY.format(secrets.token_hex(8)))
    with storing(path):
        if target.exists() and not target.is_file():
            with target.open("wb") as file:
                yield file
            return
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:  # also for Ctrl-C; where the file took its name there is nothing left to remove
            temporary.unlink(missing_ok=True)
        _force_to_disk(target.parent)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` atomically as UTF-8; file names that are not Unicode keep their bytes."""
    with atomic_file(path) as file:
        file.write(text.encode("utf-8", "surrogateescape"))


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` atomically as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def append_text(path: str | Path, text: str) -> None:
    """Add `text` to the end of `path` and force it to the disk; on failure the file is as long as before."""
    with storing(path), open(path, "ab", buffering=0) as file:
        length = file.tell()
        content = text.encode("utf-8", "surrogateescape")
        try:
            written = file.write(content)
            if written != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(length)
            raise


def is_temporary(path: Path) -> bool:
    """Return whether `path` is named like a file that `atomic_file` was still writing."""
    start, end = _TEMPORARY.split("{}")
    return path.name.startswith(start) and path.name.endswith(end)


def remove_temporaries(folder: Path) -> None:
    """Remove what a killed process left half-written in `folder`; call it only where nobody else writes."""
    with storing(folder):
        for path in folder.iterdir():
            if is_temporary(path):
                path.unlink(missing_ok=True)


def _force_to_disk(folder: Path) -> None:
    """Make a new name in `folder` survive a power cut."""
    if os.name == "nt":  # Windows opens no folder for that
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
