"""`Listener`: who hears what a job has to say while it works."""

from __future__ import annotations

from collections.abc import Sequence


class Listener:
    """Hears a job's progress; every method does nothing here, and a subclass overrides what it cares for."""

    def notice(self, text: str) -> None:
        """Hear one line meant for the person: a choice that was made, a warning about the data."""

    def plan(self, lines: Sequence[tuple[str, str]]) -> None:
        """Hear what a training run is about to do, as labels and texts."""

    def begin(self, what: str, total: int, unit: str = "images") -> None:
        """Hear that a piece of work of `total` units starts."""

    def advance(self, done: int, **figures: float) -> None:
        """Hear that `done` units of the current piece are done, and figures such as the loss."""

    def end(self) -> None:
        """Hear that the current piece of work ended."""

    def epoch(self, row: dict[str, float]) -> None:
        """Hear the figures of a training epoch that ended: a row of metrics.csv."""
