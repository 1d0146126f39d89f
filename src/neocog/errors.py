"""The exceptions that neocog raises, and how a wrong name is answered.

Every message is one line that says what is wrong, where, and what to do. The command line prints it and exits
with the class's `exit_code`; a Python caller can catch the precise type. This module imports nothing of
neocog's, and every room may import it.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class NeocogError(Exception):
    """Anything that neocog refuses or gives up on, with a message meant for a person."""

    exit_code = 1


class UsageError(NeocogError, ValueError):
    """An option, a name or a combination that cannot be meant."""

    exit_code = 2


class UnknownNameError(UsageError, LookupError):
    """A name that is not there; the message names the near ones.

    Args:
        kind: what was looked for, such as "model" or "recipe".
        name: what was given.
        known: the names that exist.
        where: what lists them all, such as "neocog models".
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str = "") -> None:
        self.kind, self.name, self.near = kind, name, near_names(name, known)
        hint = f"did you mean {' or '.join(self.near)}?" if self.near else ""
        listing = f"`{where}` lists them all" if where else ""
        super().__init__("; ".join(part for part in (f"unknown {kind} {name!r}", hint, listing) if part))


class DataError(NeocogError, ValueError):
    """Images, labels or tables that cannot be used as they are."""

    exit_code = 3


class WeightsError(NeocogError, ValueError):
    """A model file or a weights file that is damaged, foreign, or of another network."""

    exit_code = 4


class TrainingError(NeocogError, RuntimeError):
    """Training that cannot go on: a loss that is not finite, a run that cannot be resumed."""

    exit_code = 5


class StorageError(NeocogError, OSError):
    """A disk that is full or a place that cannot be written."""

    exit_code = 6


def near_names(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` names of `known` that `name` was probably meant to be, nearest first."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    wanted = name.lower()
    close = get_close_matches(wanted, by_lower, n=count, cutoff=0.6)
    close += [lower for lower in by_lower if lower.startswith(wanted) and lower not in close]
    return [by_lower[lower] for lower in close[:count]]
