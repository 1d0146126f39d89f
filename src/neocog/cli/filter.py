"""`neocog filter`: a photograph through classical filters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neocog.cli._output import printable, say
from neocog.errors import UsageError

KINDS = ("sobel", "gabor", "log", "gaussian", "sharpen", "unsharp")


def complete_kind(incomplete: str) -> list[str]:
    """Return the kinds of filters whose names begin so, for the shell to complete."""
    return [kind for kind in KINDS if kind.startswith(incomplete)]


def filter_photo(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="An image file.")],
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help=f"{', '.join(KINDS[:-1])} or {KINDS[-1]}. Repeatable; a single one is drawn with its parts.",
            show_default="all",
            autocompletion=complete_kind,
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Picture to write.")] = Path("filtered.png"),
    size: Annotated[
        int, typer.Option(metavar="N", help="Pixels that the photograph's longer side is reduced to before.")
    ] = 448,
) -> None:
    """Draw a photograph and what classical filters make of it.

    Before the first layer of a network was learned, it was written down: edges (sobel), stripes of each direction
    (gabor), blobs (log, the Laplacian of Gaussian), blurs and sharpening. Each kernel is drawn beside its title. All
    are ordinary convolutions that nothing trains, in neocog.layers.filters.

    Examples:
      neocog filter photo.jpg
      neocog filter photo.jpg --kind gabor -o gabor.png
      neocog filter photo.jpg --kind sobel --kind log
    """
    if photo.exists() and out.exists() and photo.samefile(out):
        raise UsageError(f"--out {out} is the photograph, which the picture would replace; name another file")

    from neocog.jobs import filter_image

    filtered = filter_image(photo, kind or None, out=out, size=size)
    height, width = filtered.size
    say(f"{'figure':<8}{printable(str(filtered.figure))}")
    say(f"{'filters':<8}{', '.join(filtered.kinds)}, of {height}x{width} pixels")
