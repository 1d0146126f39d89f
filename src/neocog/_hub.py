"""Asking the Hugging Face hub, or another host of weights, so that one out of reach is known within seconds.

The hub's client, and `datasets` which uses it, try for half a minute to reach one. So a single short question goes
ahead of what they are asked for. Every room may import this module; it imports nothing of neocog's.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

SECONDS = 3.0  # a hub that takes longer to say a word is not one to fetch from
REMEMBERED = 60.0  # seconds; not for good, because a notebook outlives a broken connection

_unreachable: dict[str, tuple[float, str]] = {}


def hub_refusal(ask: Callable[[], object] | None = None, timeout: float = SECONDS) -> str | None:
    """Return in one line why the hub cannot be had; None where it can.

    Args:
        ask: a question put through the hub's client that does not try again; None asks whether the hub is there at
            all, and takes any answer.
        timeout: seconds to wait for an answer.
    """
    from huggingface_hub import get_session

    address = hub_address()
    # The client's own session knows the person's proxies and certificates.
    return refusal(address, ask or (lambda: get_session().head(address, timeout=timeout)), timeout)


def refusal(address: str, ask: Callable[[], object], timeout: float = SECONDS) -> str | None:
    """Return in one line why the host at `address` cannot be had; None where it answers what `ask` asks.

    A host that could not be reached is not tried again for a minute, so that a job which needs several things of it
    waits once. Offline mode is meant for every host.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "offline mode is on (HF_HUB_OFFLINE)"
    since, reason = _unreachable.get(address, (0.0, ""))
    if reason and time.monotonic() - since < REMEMBERED:
        return reason
    error = _answer_within(timeout, ask)
    if error is None:
        return None
    if _status(error) is None and timeout >= SECONDS:  # who waits for less may be impatient
        _unreachable[address] = time.monotonic(), in_one_line(error)
    return in_one_line(error)


def hub_address() -> str:
    """Return the hub's address, which the environment may change after the client was imported and read it."""
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT") or str(constants.ENDPOINT)


def in_one_line(error: Exception) -> str:
    """Return what the hub or host, or the network in its stead, said."""
    if isinstance(error, HTTPError):
        return f"{urlsplit(error.url).hostname} answered {error.code}"
    if (status := _status(error)) is not None:
        return f"the hub answered {status}"
    reason = error.reason if isinstance(error, URLError) else error
    return str(reason).partition("\n")[0] or type(error).__name__


def _status(error: Exception) -> int | None:
    """Return the status of an answer that refuses; None where there was no answer."""
    if isinstance(error, HTTPError):
        return error.code
    return getattr(getattr(error, "response", None), "status_code", None)


def hub_errors() -> tuple[type[Exception], ...]:
    """Return what the hub's client raises where there is no network, no host, no answer, no file, or offline mode."""
    from huggingface_hub import errors

    # Its refusals are both; a broken connection is one of its HTTP library's, whose name changes between versions.
    return (OSError, *errors.HfHubHTTPError.__bases__)


def _answer_within(seconds: float, ask: Callable[[], object]) -> Exception | None:
    """Return what `ask` raised; None where it was answered in time.

    In a thread, because looking up a host's name knows no time limit.
    """
    answers: list[Exception | None] = []
    expected = hub_errors()

    def put() -> None:
        try:
            ask()
        except expected as error:
            answers.append(error)
        else:
            answers.append(None)

    asker = threading.Thread(target=put, daemon=True)
    asker.start()
    asker.join(seconds)
    return answers[0] if answers else TimeoutError(f"no answer within {seconds:g} s")
