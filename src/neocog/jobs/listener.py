"""`Listener`: who hears what a job has to say while it works."""

from __future__ import annotations

from collections.abc import Callable, Sequence


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


class Diary(Listener):
    """Passes everything on to another listener, and writes what a person was told into a run's log."""

    def __init__(self, listener: Listener, write: Callable[[str], None]) -> None:
        self.listener, self.write = listener, write
        self.begin, self.advance, self.end = listener.begin, listener.advance, listener.end  # type: ignore[method-assign]

    def notice(self, text: str) -> None:
        """Pass on and write down."""
        self.listener.notice(text)
        self.write(text)

    def plan(self, lines: Sequence[tuple[str, str]]) -> None:
        """Pass on and write down."""
        self.listener.plan(lines)
        for label, text in lines:
            self.write(f"{label}: {text}")

    def epoch(self, row: dict[str, float]) -> None:
        """Pass on and write down."""
        self.listener.epoch(row)
        self.write(", ".join(f"{name} {value:.6g}" for name, value in row.items()))
