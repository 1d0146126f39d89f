"""What goes to standard error while a job works: bars on a terminal, plain lines where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from neocog.cli._output import duration, is_main_process, percent, printable
from neocog.jobs.listener import Listener

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SECONDS_BETWEEN_LINES = 30.0

# The figures of an epoch that are shown, where a row has them: the column's title, and how it is written.
_EPOCH_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "train_loss": ("train loss", lambda x: f"{x:.4f}"),
    "val_loss": ("val loss", lambda x: f"{x:.4f}"),
    "val_top1": ("val top-1", percent),
    "val_mean_average_precision": ("val mAP", percent),
    "lr": ("rate", lambda x: f"{x:.2e}"),
    "images_per_second": ("images/s", lambda x: f"{x:.1f}" if x < 1000 else f"{x:.0f}"),
    "waiting": ("waiting", lambda x: percent(x, 1)),
    "seconds": ("time", duration),
}


class LineListener(Listener):
    """Prints plain lines: notices, one line an epoch, and for anything long a line every half a minute."""

    def __init__(self) -> None:
        self._what, self._total, self._unit = "", 0, ""
        self._began = self._spoke = 0.0
        self._wrote_heading = False

    def notice(self, text: str) -> None:
        self._print(f"note: {text}")

    def plan(self, lines: Sequence[tuple[str, str]]) -> None:
        width = max((len(label) for label, _ in lines), default=0)
        for label, text in lines:
            self._print(f"{label:<{width}}  {text}")
        self._print("")

    def begin(self, what: str, total: int, unit: str = "images") -> None:
        self._what, self._total, self._unit = what, total, unit
        self._began = self._spoke = time.monotonic()

    def advance(self, done: int, **figures: float) -> None:
        now = time.monotonic()
        if now - self._spoke < SECONDS_BETWEEN_LINES or done >= self._total:
            return
        self._spoke = now
        rate = done / (now - self._began)
        left = f", {duration((self._total - done) / rate)} left" if rate else ""
        shown = "".join(f", {text}" for text in show_figures(figures))
        self._print(f"{self._what}: {done:,} of {self._total:,} {self._unit}, {rate:.1f} {self._unit}/s{left}{shown}")

    def epoch(self, row: dict[str, float]) -> None:
        shown = [name for name in _EPOCH_COLUMNS if name in row]
        if not self._wrote_heading:
            self._wrote_heading = True
            self._print("epoch" + "".join(f"  {_EPOCH_COLUMNS[name][0]:>10}" for name in shown))
        cells = [_EPOCH_COLUMNS[name][1](row[name]) for name in shown]
        self._print(f"{row.get('epoch', 0):5.0f}" + "".join(f"  {cell:>10}" for cell in cells))

    def close(self) -> None:
        """Leave the screen as a person expects it; called once the job is over, however it ended."""

    def _print(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)


class BarListener(LineListener):
    """Draws a bar with speed and time left for the piece of work in hand; the lines stand above it."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def begin(self, what: str, total: int, unit: str = "images") -> None:
        super().begin(what, total, unit)
        self.close()
        self._bar = make_bar(unit)
        self._task = self._bar.add_task(what, total=total, rate="", figures="")
        self._bar.start()

    def advance(self, done: int, **figures: float) -> None:
        if self._bar is None or self._task is None:
            return
        rate = done / max(time.monotonic() - self._began, 1e-9)
        self._bar.update(self._task, completed=done, rate=f"{rate:.1f}", figures=" ".join(show_figures(figures)))

    def end(self) -> None:
        self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None


def show_figures(figures: dict[str, float]) -> list[str]:
    """Return figures as short texts: top-1 as per cent, losses with three decimals."""
    return [
        f"top-1 {percent(value, 1)}" if name == "top1" else f"{name} {value:.3f}" for name, value in figures.items()
    ]


def make_bar(unit: str) -> Progress:
    """Return a bar that vanishes when its work is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} " + unit + "/s", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        console=Console(stderr=True, markup=False, highlight=False, emoji=False),
        refresh_per_second=4,
        transient=True,
        redirect_stdout=False,
        expand=True,
    )


@contextmanager
def listening() -> Iterator[Listener]:
    """Give the listener that suits standard error, and tidy up when the job is over."""
    if not is_main_process():
        yield Listener()
        return
    listener = BarListener() if sys.stderr.isatty() else LineListener()
    try:
        yield listener
    finally:
        listener.close()
