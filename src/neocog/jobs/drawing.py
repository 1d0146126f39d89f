"""`draw`: from a network's name to a picture of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neocog.jobs.subject import Subject, trace_subject
from neocog.visualize import drawing
from neocog.visualize.drawing import DrawLevel


@dataclass(frozen=True)
class Drawing:
    """A picture of a network.

    Attributes:
        subject: the network.
        figure: the SVG file.
        note: why the network had to be run with real numbers; empty where it had not.
    """

    subject: Subject
    figure: Path
    note: str = ""


def draw(
    spec: str,
    *,
    out: str | Path | None = None,
    level: DrawLevel = "stage",
    image: Sequence[int] | None = None,
    size: int | None = None,
) -> Drawing:
    """Draw a network as SVG: its layers and blocks as volumes, and what each kind of block is inside.

    Args:
        spec: a name of the catalog, a model file, or `module:callable`; see `find_subject`.
        out: file to write; by default `<name>.svg` in the current directory.
        level: "stage" draws like blocks that follow each other as one, "block" draws each.
        image: the shape of an input, `(C, H, W)`; by default the one that the network was made for.
        size: only the height and width of it.

    Raises:
        UnknownNameError: no such network or level; the message names the near ones.
        UsageError: a file name of another format, or a network that cannot be run on such an input.
        StorageError: the place cannot be written.
    """
    path = Path(out) if out is not None else Path(file_name(spec))
    drawing.check(path, level)
    subject, trace = trace_subject(spec, image=image, size=size)
    return Drawing(subject, drawing.draw(trace, path, level), trace.fallback)


def file_name(spec: str) -> str:
    """Return what a drawing of `spec` is called where nobody says."""
    name = spec.partition(":")[2] or Path(spec).name.removesuffix(".safetensors")
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name).strip('.') or 'network'}.svg"
