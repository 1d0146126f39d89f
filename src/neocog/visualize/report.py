"""The report of a run: one HTML file that holds everything, needs no script, and asks no other machine for anything."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from neocog.visualize.style import percent, write

MOST_ROWS = 20  # classes in an open table; the others fold away
IMAGE_TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
FIGURES = {
    "curves": ("Training", "Loss, accuracy and learning rate by epoch."),
    "confusion": ("What is taken for what", "Confusion matrix: true classes in rows, predicted ones in columns."),
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
        environment: versions and hardware, by name.
        shipped: which weights the model file holds.
        split: the split that `metrics` and `per_class` were measured on.
        metrics: shares and losses by name, those of `METRICS` first and in words.
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
    """Return "97.8 % of 360 test images right (95 % interval 95.7-98.9 %)"."""
    verdict = f"{percent(top1)} of {images:,} {split} images right"
    if interval is None:
        return verdict
    low, high = interval
    return f"{verdict} (95\N{NO-BREAK SPACE}% interval {100 * low:.1f}–{percent(high)})"


def write_report(path: str | Path, facts: ReportFacts) -> Path:
    """Write the report of a run as one HTML file that holds its figures and style.

    Every text is escaped, and the page's content policy lets a browser fetch and run nothing, so that no class name
    or file name can do anything but be read.

    Returns:
        The path written.

    Raises:
        StorageError: the place cannot be written.
    """
    sections = [
        ("run", "What was run", _what_was_run(facts)),
        *_figure_sections(facts, ["curves", "confusion"]),
        ("classes", "Class by class", _class_table(facts)),
        *_figure_sections(facts, ["calibration", "mistakes", *(name for name in facts.figures if name not in FIGURES)]),
        ("use", "How to use the model", _how_to_use(facts)),
    ]
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{anchor}">{_text(title)}</a>' for anchor, title, _ in sections)
    body = "".join(f'<section id="{a}"><h2>{_text(title)}</h2>{content}</section>\n' for a, title, content in sections)
    style = files("neocog.visualize").joinpath("report.css").read_text("utf-8")
    made = " · ".join(part for part in (f"neocog {facts.version}".strip(), facts.created) if part)
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{_text(facts.title)}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{_text(facts.title)}</h1>
<p class="verdict">{_text(facts.verdict)}</p>
{_warnings(facts.warnings)}{_metric_tiles(facts)}
<nav>{links}</nav>
</header>
<main>
{body}</main>
<footer>{_text(made)}</footer>
</body>
</html>
"""
    path = Path(path)
    write(path, page.encode("utf-8"))
    return path


def _text(value: object) -> str:
    """Return `value` as HTML text; what is no Unicode, such as odd bytes of a file name, becomes a question mark."""
    return escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{_text(warning)}</li>" for warning in warnings)
    return f'<aside class="warnings"><h2>Worth knowing</h2><ul>{items}</ul></aside>\n'


def _metric_tiles(facts: ReportFacts) -> str:
    ordered = [name for name in METRICS if name in facts.metrics]
    ordered += [name for name in facts.metrics if name not in METRICS]
    tiles = []
    for name in ordered:
        value = facts.metrics[name]
        if value is not None:
            shown = percent(value) if name != "loss" and 0 <= value <= 1 else f"{value:.4g}"
            tiles.append(f"<div><dt>{_text(METRICS.get(name, name))}</dt><dd>{_text(shown)}</dd></div>")
    return f'<dl class="tiles">{"".join(tiles)}</dl>' if tiles else ""


def _what_was_run(facts: ReportFacts) -> str:
    size = " × ".join(str(side) for side in facts.input_shape) if facts.input_shape else ""
    best = f"; best: {facts.best_epoch}" if facts.best_epoch is not None else ""
    rows = {
        "network": facts.model,
        "parameters": f"{facts.parameters:,}",
        "multiply-adds an image": f"{facts.macs:,}" if facts.macs is not None else "",
        "input (channels × height × width)": size,
        "first weights": facts.weights,
        "epochs": f"{facts.epochs}{best}",
        "training time": _duration(facts.seconds),
        "weights in the model file": facts.shipped,
    }
    return (
        f"<pre><code>{_text(facts.command)}</code></pre>"
        f"<h3>Data: {_text(facts.data)}</h3>{_data_table(facts.splits)}"
        f"<h3>Network and training</h3>{_pairs(rows)}"
        f"<h3>Recipe</h3>{_pairs(_flat(facts.recipe), compact=True)}"
        + (f"<h3>Environment</h3>{_pairs(_flat(facts.environment), compact=True)}" if facts.environment else "")
    )


def _data_table(splits: Mapping[str, Mapping[str, int]]) -> str:
    classes = list(dict.fromkeys(name for counts in splits.values() for name in counts))
    rows = [[_text(name), *(f"{counts.get(name, 0):,}" for counts in splits.values())] for name in classes]
    total = [f"all {len(classes):,} classes", *(f"{sum(counts.values()):,}" for counts in splits.values())]
    return _table(["images", *map(_text, splits)], rows, foot=total)


def _class_table(facts: ReportFacts) -> str:
    if not facts.per_class:
        return ""
    ordered = sorted(facts.per_class, key=lambda row: (_share(row["f1"]), str(row["name"])))
    rows = [
        [
            _text(row["name"]),
            f"{row['images']:,}",
            *(_shown(row[name]) for name in ("precision", "recall")),
            f'<span class="bar" style="--share:{100 * max(_share(row["f1"]), 0):.1f}%"></span>{_shown(row["f1"])}',
        ]
        for row in ordered
    ]
    note = f"<p>Measured on the {_text(facts.split)} images; the hardest classes come first.</p>"
    return note + _table(["class", "images", "precision", "recall", "F1"], rows)


def _share(value: float | None) -> float:
    """Return a share to sort by; one that is undefined comes first."""
    return -1.0 if value is None or value != value else value


def _shown(value: float | None) -> str:
    return "–" if _share(value) < 0 else _text(percent(_share(value)))


def _figure_sections(facts: ReportFacts, names: Iterable[str]) -> list[tuple[str, str, str]]:
    sections = []
    for name in names:
        if name in facts.figures:
            title, caption = FIGURES.get(name, (name, name))
            anchor = name if name in FIGURES else f"figure-{len(sections)}"
            sections.append((anchor, title, _figure(Path(facts.figures[name]), caption)))
    return sections


def _figure(path: Path, caption: str) -> str:
    try:
        content = base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        return f"<p>This figure could not be read from {_text(path)}: {_text(error.strerror)}.</p>"
    kind = IMAGE_TYPES.get(path.suffix.lower(), "image/png")
    return f'<figure><img src="data:{kind};base64,{content}" alt="{_text(caption)}"></figure>'


def _how_to_use(facts: ReportFacts) -> str:
    model, run = shlex.quote(str(facts.model_file)), shlex.quote(str(facts.run_directory))
    commands = {
        "Name what is in new images": f"neocog predict {model} ./images --top 3 --csv predictions.csv",
        "Measure it on other labelled images": f"neocog evaluate {model} ./folder",
        "Go on with this run": f"neocog train --resume {run}",
    }
    blocks = "".join(f"<h3>{name}</h3><pre><code>{_text(line)}</code></pre>" for name, line in commands.items())
    python = f'import neocog\n\nfor prediction in neocog.predict({str(facts.model_file)!r}, ["./images"]):\n    print(prediction)'
    return f"{blocks}<h3>The same from Python</h3><pre><code>{_text(python)}</code></pre>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], foot: Sequence[str] = ()) -> str:
    """Return a table of cells that are HTML already; rows beyond the first 20 fold away."""
    heading = "<thead><tr>" + "".join(f'<th scope="col">{cell}</th>' for cell in head) + "</tr></thead>"

    def table(part: Sequence[Sequence[str]], last: Sequence[str]) -> str:
        lines = "".join(_row(cells) for cells in part)
        ending = f"<tfoot>{_row(last)}</tfoot>" if last else ""
        return f'<div class="scroll"><table>{heading}<tbody>{lines}</tbody>{ending}</table></div>'

    shown = table(rows[:MOST_ROWS], foot)
    if len(rows) <= MOST_ROWS:
        return shown
    return f"{shown}<details><summary>{len(rows) - MOST_ROWS:,} more</summary>{table(rows[MOST_ROWS:], ())}</details>"


def _row(cells: Sequence[str]) -> str:
    return f'<tr><th scope="row">{cells[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in cells[1:]) + "</tr>"


def _pairs(values: Mapping[str, Any], *, compact: bool = False) -> str:
    rows = "".join(
        f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in values.items() if value != ""
    )
    return f'<dl class="{"pairs compact" if compact else "pairs"}">{rows}</dl>'


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as text by dotted names."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, str):
            flat[prefix + name] = value or '""'
        elif value is None:
            flat[prefix + name] = "none"
        else:
            flat[prefix + name] = json.dumps(value, default=str, ensure_ascii=False)
    return flat


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
