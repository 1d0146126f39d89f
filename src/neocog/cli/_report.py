"""How a measured report reads on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neocog.cli._output import Column, percent, print_table, printable, say

if TYPE_CHECKING:
    from neocog.inference.metrics import ClassificationReport, ClassScores

SHOWN_CLASSES = 20
SHOWN_PAIRS = 5


def headline(report: ClassificationReport) -> str:
    """Return the one figure to quote, with what it rests on."""
    if report.interval95 is None:
        return f"{percent(report.mean_average_precision)} mean average precision on {report.images:,} images"
    low, high = report.interval95
    return (
        f"{percent(report.top1)} of {report.images:,} images right (95 % interval {100 * low:.2f} to {percent(high)})"
    )


def print_report(report: ClassificationReport) -> None:
    """Print the figures, the classes (the worst where they are many) and the pairs most often confused."""
    for label, text in figures(report):
        say(f"{label:<18} {text}")
    say()
    print_classes(report)
    pairs = most_confused(report)
    if pairs:
        say()
        say("most confused")
        for right, given, times, images in pairs:
            say(f"  {printable(right)} taken for {printable(given)}: {times:,} of {images:,}")


def figures(report: ClassificationReport) -> list[tuple[str, str]]:
    """Return the report's numbers as labels and texts; what is not defined is left out."""
    lines = [("images", f"{report.images:,}")]
    if report.interval95 is not None:
        low, high = report.interval95
        lines.append(("top-1", f"{percent(report.top1)}  (95 % interval {100 * low:.2f} to {percent(high)})"))
    shares = [
        ("top-5", report.top5),
        ("error", report.error),
        ("mean avg precision", report.mean_average_precision),
        ("calibration error", report.calibration_error),
        ("macro F1", report.macro_f1),
    ]
    lines += [(label, percent(share)) for label, share in shares if share is not None]
    return [*lines, ("loss", f"{report.loss:.4f}")]


def print_classes(report: ClassificationReport) -> None:
    """Print a line for each class, in their order; where they are many, only the worst, worst first."""
    lines = list(report.per_class)
    if len(lines) > SHOWN_CLASSES:
        lines = sorted((line for line in lines if line.images), key=lambda line: line.f1 or 0)[:SHOWN_CLASSES]
        say(f"the {len(lines)} classes with the lowest F1, of {len(report.per_class)}")
    columns = [
        Column("class"),
        *(Column(title, numeric=True) for title in ("images", "precision", "recall", "F1")),
    ]
    if report.multi_label:
        columns.append(Column("average precision", numeric=True))
    print_table(columns, [class_row(line, report.multi_label) for line in lines])


def class_row(line: ClassScores, multi_label: bool) -> list[str]:
    """Return a class's line in the table."""
    shares = [line.precision, line.recall, line.f1] + [line.average_precision] * multi_label
    return [line.name, f"{line.images:,}", *(percent(share) for share in shares)]


def most_confused(report: ClassificationReport) -> list[tuple[str, str, int, int]]:
    """Return (right class, given class, times, images of the right class), the most frequent first."""
    if report.confusion is None:
        return []
    import numpy as np

    wrong = np.array(report.confusion)
    np.fill_diagonal(wrong, 0)
    order = (-wrong).argsort(axis=None, kind="stable")[:SHOWN_PAIRS]
    rows, columns = np.unravel_index(order, wrong.shape)
    return [
        (
            report.per_class[right].name,
            report.per_class[given].name,
            int(wrong[right, given]),
            report.per_class[right].images,
        )
        for right, given in zip(rows.tolist(), columns.tolist(), strict=True)
        if wrong[right, given]
    ]
