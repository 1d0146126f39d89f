"""Files of weights that lie at a plain address, as torchvision's do.

They go where torchvision itself keeps them, so that neither fetches what the other has. The first digits of a file's
SHA-256 stand in its name, such as `alexnet-owt-7be5be79.pth`.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit

from neocog._files import storing
from neocog._hub import SECONDS, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse

try:
    import fcntl
except ImportError:  # Windows: there, two processes that begin at once both fetch
    fcntl = None  # type: ignore[assignment]

CHUNK = 2**20  # bytes
SILENCE = 30.0  # seconds without a byte, after which a download counts as broken off


def checkpoints() -> Path:
    """Return the folder in which torch.hub keeps files, where the environment puts it, without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("TORCH_HOME") or f"{cache}/torch").expanduser() / "hub" / "checkpoints"


def digits_in_name(name: str) -> str:
    """Return the first digits of a file's SHA-256 that its name carries; empty where it carries none."""
    found = re.search(r"-([0-9a-f]{8,})\.", name)
    return found[1] if found else ""


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def url_refusal(url: str, timeout: float = SECONDS) -> str | None:
    """Ask for the headers of what is at `url`, and return why it cannot be had; None if it can."""
    parts = urlsplit(url)

    def ask() -> None:
        with _answer(url, method="HEAD", timeout=2 * timeout):  # so that who waits gives up first, and says so
            pass

    return refusal(f"{parts.scheme}://{parts.netloc}", ask, timeout)


def download(url: str, target: Path, sha256: str | None = None) -> None:
    """Fetch `url` into the file `target`, which afterwards is there whole, or not at all.

    What an interrupted download left is continued. Where two processes or threads want the same file, the second waits.

    Args:
        url: where the file lies.
        target: what it becomes; a file of that name stays, unless it has another digest than `sha256`.
        sha256: its whole digest; None where no more of it is known than stands in its name.

    Raises:
        StorageError: the place cannot be written, or is full.
        OSError: the host cannot be reached, refuses, breaks off, or sends a file of another digest.
    """
    part = target.with_name(target.name + ".part")
    with storing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(part):
        if target.exists() and (sha256 is None or digest(target) == sha256):  # another was quicker
            with suppress(OSError):
                part.unlink()
            return
        with storing(target):
            file = part.open("ab")
        with file:
            _continue(url, file)
        digits, found = sha256 or digits_in_name(target.name), digest(part)
        if not found.startswith(digits):
            part.unlink()
            more = "" if sha256 else "..."
            raise OSError(f"what came has the SHA-256 {found[: len(digits)]}{more}, not {digits}{more}")
        with storing(target):
            os.replace(part, target)


@contextmanager
def _one_at_a_time(part: Path) -> Iterator[None]:
    """Wait until nobody else is at work on the file `part`, and keep others from it until it has its name."""
    if fcntl is None:
        yield
        return
    while True:
        with storing(part):
            file = part.open("ab")
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(part, file):  # and not what another has given its name by now, or thrown away
                yield
                return


def _is_at(path: Path, file: IO[bytes]) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _continue(url: str, file: IO[bytes]) -> None:
    """Append to `file` what it lacks of `url`."""
    from huggingface_hub.utils.tqdm import tqdm  # the bar of the hub's downloads, which people may have turned off

    begun = file.tell()
    try:
        response = _answer(url, begun)
    except HTTPError as error:
        if error.code != 416 or not begun:  # nothing begins there: what was kept is no beginning of this file
            raise
        response = _answer(url)
    with response:
        if response.status != 206:
            file.truncate(0)
            begun = 0
        length = response.headers.get("Content-Length")
        total = begun + int(length) if length else None
        bar = {"total": total, "initial": begun, "unit": "B", "unit_scale": True, "desc": url.rpartition("/")[2]}
        with tqdm(**bar) as progress:  # type: ignore[no-untyped-call]
            while chunk := _read(response):
                with storing(file.name):
                    file.write(chunk)
                progress.update(len(chunk))
        with storing(file.name):
            file.flush()
    if total is not None and file.tell() != total:
        raise ConnectionError(f"it broke off after {file.tell()} of {total} bytes")


def _answer(url: str, begin: int = 0, *, method: str = "GET", timeout: float = SILENCE) -> HTTPResponse:
    from urllib.request import Request, urlopen

    headers = {"User-Agent": "neocog"} | ({"Range": f"bytes={begin}-"} if begin else {})
    with _as_os_error():
        response: HTTPResponse = urlopen(Request(url, headers=headers, method=method), timeout=timeout)
        return response


def _read(response: HTTPResponse) -> bytes:
    with _as_os_error():
        return response.read(CHUNK)


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Turn what is no HTTP into a broken connection, as which it is reported."""
    from http.client import HTTPException

    try:
        yield
    except HTTPException as error:
        raise ConnectionError(str(error) or type(error).__name__) from error
