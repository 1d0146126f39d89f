"""A lock on a directory that the system itself lifts when its process dies, by SIGKILL too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from neocog._files import storing
from neocog.errors import TrainingError

try:
    import fcntl
except ImportError:  # Windows: nothing keeps two processes apart there
    fcntl = None  # type: ignore[assignment]


class DirectoryLock:
    """Lets one process at a time work in `directory`.

    It is a POSIX record lock (`lockf`), because a `flock` lives on in forked children: after SIGKILL the data
    workers would hold it for as long as they need to notice, and the run could not be resumed at once.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / ".lock"
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            TrainingError: another process has it; the message says which.
            StorageError: the directory cannot be written.
        """
        with storing(self.path):
            file = self.path.open("a+", encoding="utf-8")
        try:
            if fcntl is not None:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise TrainingError(
                f"process {holder} is training into {self.path.parent}; wait until it ends, or choose another --out"
            ) from error
        with storing(self.path):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        self._file = file

    def release(self) -> None:
        """Let others have the directory."""
        if self._file is not None:
            self._file.close()
            self._file = None
