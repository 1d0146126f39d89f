"""The report of a run: one HTML file that holds all it shows, needs no script, and asks no other machine."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from neocog.visualize import _html as html
from neocog.visualize.style import percent, write

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
FIGURES = {
    "curves": ("Training", "Loss, accuracy and learning rate by epoch."),
    "confusion": (
        "What is taken for what",
        "Confusion matrix: true classes in rows, predicted ones in columns.",
    ),
    "calibration": ("Can its confidence be trusted?", "Accuracy against confidence."),
    "mistakes": ("Worst mistakes", "The misclassified images with the highest confidence."),
}
METRICS = {
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "error": "error",
    "macro_f1": "macro F1",
    "mean_average_precision": "mean average precision",
    "calibration_error": "calibration error",
    "loss": "loss",
}


@dataclass(frozen=True, kw_only=True)
class ReportFacts:
    """What a report says: plain values, filled in by whoever made the run.

    Attributes:
        title: the page's heading, such as "resnet18 on photos".
        verdict: the finding in one sentence; `accuracy_verdict` words it.
        command: the command line that made the run.
        data: name or path of the data.
        splits: images of each class by split, `{"train": {"ants": 123, "bees": 121}, ...}`.
        model: the network's name.
        parameters: the network's parameters.
        macs: multiply-adds of one image at `input_shape`; None where they are not known.
        input_shape: (channels, height, width) that the network sees.
        weights: where the first weights came from.
        recipe: every resolved field, nested or by dotted names.
        epochs: epochs that were run.
        best_epoch: the epoch whose weights were kept; None where no validation chose one.
        seconds: how long training took.
        waiting: share of that time in which the network waited for data; None where nobody measured it.
        environment: versions and hardware, by name.
        shipped: which weights the model file holds.
        split: the split that `metrics` and `per_class` were measured on.
        metrics: shares and the loss by name; those that `METRICS` names are shown.
        per_class: one mapping a class: name, images, precision, recall, f1.
        figures: files by section: "curves", "confusion", "calibration", "mistakes", or a heading of your own.
        warnings: what is wrong or odd with the data or the run, one sentence each.
        run_directory: the run, for the command that resumes it.
        model_file: the model file, for the commands that use it.
        version: neocog's version.
        created: when the report was made.
    """

    title: str
    verdict: str
    command: str
    data: str
    splits: Mapping[str, Mapping[str, int]]
    model: str
    parameters: int
    recipe: Mapping[str, Any]
    epochs: int
    seconds: float
    run_directory: str | Path
    model_file: str | Path
    macs: int | None = None
    input_shape: tuple[int, int, int] | None = None
    weights: str = "fresh"
    best_epoch: int | None = None
    waiting: float | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    shipped: str = ""
    split: str = "test"
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    per_class: Sequence[Mapping[str, Any]] = ()
    figures: Mapping[str, str | Path] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    version: str = ""
    created: str = ""


def accuracy_verdict(top1: float, images: int, split: str, interval: tuple[float, float] | None = None) -> str:
    """Return "97.8 % of 360 test images right (95 % interval 95.7–98.9 %)"."""
    verdict = f"{percent(top1)} of {images:,} {split} images right"
    if interval is None:
        return verdict
    low, high = interval
    return f"{verdict} (95\N{NO-BREAK SPACE}% interval {100 * low:.1f}–{percent(high)})"


def write_report(path: str | Path, facts: ReportFacts) -> Path:
    """Write the report of a run as one HTML file that holds its figures and style.

    Every text is escaped, and the page's content policy lets a browser fetch and run nothing, so that no name
    of a class or file can do anything but be read. A figure that cannot be read is named in its place.

    Returns:
        The path written.

    Raises:
        StorageError: the place cannot be written.
    """
    path = Path(path)
    write(path, _page(facts).encode("utf-8"))
    return path


def _page(facts: ReportFacts) -> str:
    own = [name for name in facts.figures if name not in FIGURES]
    sections = [
        _Section("run", "What was run", _what_was_run(facts)),
        *_figure_sections(facts, ["curves", "confusion"]),
        _Section("classes", "Class by class", _class_table(facts)),
        *_figure_sections(facts, ["calibration", "mistakes", *own]),
        _Section("use", "How to use the model", _how_to_use(facts)),
    ]
    shown = [section for section in sections if section.content]
    links = "".join(f'<a href="#{section.anchor}">{html.text(section.title)}</a>' for section in shown)
    made = " · ".join(part for part in (f"neocog {facts.version}".strip(), facts.created) if part)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{html.text(facts.title)}</title>
<style>
{files("neocog.visualize").joinpath("report.css").read_text("utf-8")}</style>
</head>
<body>
<header>
<h1>{html.text(facts.title)}</h1>
<p class="verdict">{html.text(facts.verdict)}</p>
{_warnings(facts.warnings)}
{_metric_tiles(facts)}
<nav>{links}</nav>
</header>
<main>
{"".join(section.html() for section in shown)}</main>
<footer>{html.text(made)}</footer>
</body>
</html>
"""


@dataclass(frozen=True)
class _Section:
    anchor: str
    title: str
    content: str

    def html(self) -> str:
        heading = f"<h2>{html.text(self.title)}</h2>"
        return f'<section id="{self.anchor}">{heading}{self.content}</section>\n'


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{html.text(warning)}</li>" for warning in warnings)
    return f'<aside class="warnings"><h2>Worth knowing</h2><ul>{items}</ul></aside>'


def _metric_tiles(facts: ReportFacts) -> str:
    tiles = ""
    for name, label in METRICS.items():
        value = facts.metrics.get(name)
        if value is not None and value == value:  # a metric that is not a number was not defined
            words = f"{value:.4g}" if name == "loss" else percent(value)
            tiles += f"<div><dt>{label}</dt><dd>{words}</dd></div>"
    return f'<dl class="tiles">{tiles}</dl>' if tiles else ""


def _what_was_run(facts: ReportFacts) -> str:
    best = f"{facts.epochs}; the best was epoch {facts.best_epoch}"
    network = {
        "network": facts.model,
        "parameters": f"{facts.parameters:,}",
        "multiply-adds an image": f"{facts.macs:,}" if facts.macs is not None else "",
        "input (channels × height × width)": " × ".join(map(str, facts.input_shape or ())),
        "first weights": facts.weights,
        "epochs": best if facts.best_epoch is not None else str(facts.epochs),
        "training time": html.duration(facts.seconds),
        "of that waiting for data": "" if facts.waiting is None else percent(facts.waiting),
        "weights in the model file": facts.shipped,
    }
    parts = [
        html.code(facts.command),
        f"<h3>Data: {html.text(facts.data)}</h3>{_data_table(facts.splits)}",
        f"<h3>Network and training</h3>{html.pairs(network)}",
        f"<h3>Recipe</h3>{html.pairs(html.settings(facts.recipe), compact=True)}",
    ]
    if facts.environment:
        parts.append(f"<h3>Environment</h3>{html.pairs(html.settings(facts.environment), compact=True)}")
    return "".join(parts)


def _data_table(splits: Mapping[str, Mapping[str, int]]) -> str:
    counts = list(splits.values())
    classes = list(dict.fromkeys(name for by_class in counts for name in by_class))
    rows = [[html.text(name), *(f"{by_class.get(name, 0):,}" for by_class in counts)] for name in classes]
    total = [f"{len(classes):,} classes", *(f"{sum(by_class.values()):,}" for by_class in counts)]
    return html.table(["images", *(html.text(split) for split in splits)], rows, foot=total)


def _class_table(facts: ReportFacts) -> str:
    if not facts.per_class:
        return ""
    rows = []
    for row in sorted(facts.per_class, key=lambda row: (_share(row["f1"]), str(row["name"]))):
        bar = f'<span class="bar" style="--share:{100 * max(_share(row["f1"]), 0):.1f}%"></span>'
        shares = [_words(row["precision"]), _words(row["recall"]), bar + _words(row["f1"])]
        rows.append([html.text(row["name"]), f"{row['images']:,}", *shares])
    note = f"<p>Measured on the {html.text(facts.split)} images; the hardest classes come first.</p>"
    return note + html.table(["class", "images", "precision", "recall", "F1"], rows)


def _share(value: float | None) -> float:
    """Return a share to sort by: below all others where it is not defined."""
    return -1.0 if value is None or value != value else value


def _words(value: float | None) -> str:
    share = _share(value)
    return percent(share) if share >= 0 else "–"


def _figure_sections(facts: ReportFacts, names: Iterable[str]) -> list[_Section]:
    sections: list[_Section] = []
    for name in names:
        if name in facts.figures:
            title, caption = FIGURES.get(name, (name, name))
            anchor = name if name in FIGURES else f"figure-{len(sections)}"
            sections.append(_Section(anchor, title, html.figure(Path(facts.figures[name]), caption)))
    return sections


def _how_to_use(facts: ReportFacts) -> str:
    model, run = shlex.quote(str(facts.model_file)), shlex.quote(str(facts.run_directory))
    call = f'neocog.predict({str(facts.model_file)!r}, ["./images"])'
    blocks = {
        "Name what is in new images": f"neocog predict {model} ./images --top 3 --csv predictions.csv",
        "Measure it on other labelled images": f"neocog evaluate {model} ./folder",
        "Go on with this run, where it was broken off": f"neocog train --resume {run}",
        "From Python": f"import neocog\n\nfor prediction in {call}:\n    print(prediction)",
    }
    return "".join(f"<h3>{title}</h3>{html.code(lines)}" for title, lines in blocks.items())
