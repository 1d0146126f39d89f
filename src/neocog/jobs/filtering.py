"""`filter_image`: what classical filters make of a photograph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from neocog.data.preprocess import open_image
from neocog.errors import UnknownNameError, UsageError
from neocog.layers import filters as layers
from neocog.visualize import filters as figures
from neocog.visualize.filters import Panel

SIDE = 448
"""Pixels of the longer side that a photograph is reduced to: about as many as a panel is printed with."""
LEAST = 8  # pixels of a side
ORIENTATIONS = 6
WAVELENGTH = 6.0
SIGMA = 2.0
SCALES = (1.0, 2.0, 4.0)
BRIGHTNESS = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601


@dataclass(frozen=True)
class Filtered:
    """A photograph that was filtered.

    Attributes:
        kinds: of filters, in the order in which they are drawn.
        size: height and width at which it was filtered, in pixels.
        panels: what was drawn: the photograph, then what each filter made of it.
        figure: the picture.
    """

    kinds: tuple[str, ...]
    size: tuple[int, int]
    panels: tuple[Panel, ...]
    figure: Path


def filter_image(
    photo: str | Path | Image.Image,
    kinds: str | Sequence[str] | None = None,
    *,
    out: str | Path = "filtered.png",
    size: int = SIDE,
) -> Filtered:
    """Draw a photograph and what classical filters make of it.

        >>> filter_image("photo.jpg").figure  # all kinds
        >>> filter_image("photo.jpg", "gabor", out="gabor.png")  # one, with its parts

    Blurs and sharpening filters work on each colour. Edges and stripes are looked for in brightness: the sum of the
    three, weighted as the eye weights them.

    Args:
        photo: a path or a Pillow image.
        kinds: of `KINDS`; None for all. A single one is drawn with its parts: directions, scales, amounts.
        out: the picture to write; its suffix names the format.
        size: pixels that the longer side is reduced to before, where it has more.

    Raises:
        UnknownNameError: no such kind; the message names the near ones.
        UsageError: a size below 8 pixels, or a format that cannot be written.
        DataError: a photograph that cannot be read.
        StorageError: a place that cannot be written.
    """
    asked = [kinds] if isinstance(kinds, str) else list(KINDS if kinds is None else kinds)
    for kind in asked:
        if kind not in KINDS:
            raise UnknownNameError("filter", kind, KINDS, "neocog filter --help")
    if not asked:
        raise UsageError(f"name at least one kind of filter: {', '.join(KINDS)}")
    if size < LEAST:
        raise UsageError(f"a photograph is filtered at {LEAST} pixels or more a side, not {size}")
    figures.check(Path(out))
    image = open_image(photo)
    if max(image.size) > size:
        scale = size / max(image.size)
        image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS)
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255

    chosen = [kind for kind in KINDS if kind in asked]
    height, width = x.shape[2:]
    panels = [Panel("The photograph", f"{height} × {width} pixels", _picture(x))]
    with torch.inference_mode():
        for kind in chosen:
            panels += KINDS[kind].parts(x) if len(chosen) == 1 else KINDS[kind].whole(x)
    title = KINDS[chosen[0]].finding if len(chosen) == 1 else "What a first layer saw before it was learned"
    figure = figures.draw(panels, out, title=title, foot=_foot(panels))
    return Filtered(tuple(chosen), (height, width), tuple(panels), figure)


def _foot(panels: Sequence[Panel]) -> str:
    if any(panel.look == "signed" for panel in panels):
        return "Orange is a positive answer, blue a negative one, white none. The border is repeated beyond the image."
    return "The border is repeated beyond the image."


def _picture(x: Tensor) -> NDArray[np.float32]:
    pixels: NDArray[np.float32] = x[0].permute(1, 2, 0).numpy()
    return pixels


def _answers(layer: layers.FrozenFilter, x: Tensor) -> NDArray[np.float32]:
    """Return what a filter answers to the brightness of `x`: `(K, H, W)`, or `(H, W)` of one kernel."""
    brightness = torch.einsum("nchw,c->nhw", x, torch.tensor(BRIGHTNESS)).unsqueeze(1)
    answers: NDArray[np.float32] = layer(brightness)[0].numpy()
    return answers[0] if len(answers) == 1 else answers


def _kernel(layer: layers.FrozenFilter, number: int = 0) -> NDArray[np.float32]:
    kernel: NDArray[np.float32] = layer.kernels[number, 0].numpy()
    return kernel


def _shown(title: str, note: str, layer: layers.FrozenFilter, x: Tensor) -> Panel:
    return Panel(title, note, _picture(layer(x)), "photograph", _kernel(layer))


def _signed(title: str, note: str, layer: layers.FrozenFilter, x: Tensor) -> Panel:
    return Panel(title, note, _answers(layer, x), "signed", _kernel(layer))


def _sobel(x: Tensor) -> Iterator[Panel]:
    yield _signed("Sobel, x", "orange: brighter to the right", layers.SobelX(), x)
    yield _signed("Sobel, y", "orange: brighter below", layers.SobelY(), x)
    yield Panel("Sobel, both", "√(x² + y²): edges of all directions", _answers(layers.Sobel(), x), "strength")


def _gabor(x: Tensor) -> Iterator[Panel]:
    # A line and an edge at the same place: the length of both is how much there is of the direction.
    lines, edges = (_answers(layers.GaborBank(ORIENTATIONS, WAVELENGTH, phase=phase), x) for phase in (0, math.pi / 2))
    yield Panel("Gabor, strongest", f"hue: which of {ORIENTATIONS} directions", np.hypot(lines, edges), "directions")


def _gabor_parts(x: Tensor) -> Iterator[Panel]:
    bank = layers.GaborBank(ORIENTATIONS, WAVELENGTH)
    answers = _answers(bank, x)
    for number, angle in enumerate(bank.angles):
        note = f"stripes of {WAVELENGTH:g} pixels"
        yield Panel(f"Gabor, {angle:g}°", note, answers[number], "signed", _kernel(bank, number))
    yield from _gabor(x)


def _log(x: Tensor) -> Iterator[Panel]:
    yield from _logs(x, [SIGMA])


def _log_parts(x: Tensor) -> Iterator[Panel]:
    yield from _logs(x, SCALES)


def _logs(x: Tensor, scales: Sequence[float]) -> Iterator[Panel]:
    for sigma in scales:
        yield _signed(f"LoG, σ = {sigma:g}", "Laplacian of Gaussian", layers.LaplacianOfGaussian(sigma), x)


def _gaussian(x: Tensor) -> Iterator[Panel]:
    yield from _gaussians(x, [SIGMA])


def _gaussian_parts(x: Tensor) -> Iterator[Panel]:
    yield from _gaussians(x, SCALES)


def _gaussians(x: Tensor, scales: Sequence[float]) -> Iterator[Panel]:
    for sigma in scales:
        yield _shown(f"Gaussian, σ = {sigma:g}", "a mean around each pixel", layers.Gaussian(sigma), x)


def _sharpen(x: Tensor) -> Iterator[Panel]:
    yield _shown("Sharpened", "5 × itself − 4 neighbours", layers.Sharpen(), x)


def _unsharp(x: Tensor) -> Iterator[Panel]:
    yield from _unsharps(x, [(SIGMA, 1)])


def _unsharp_parts(x: Tensor) -> Iterator[Panel]:
    yield from _unsharps(x, [(1, 1), (2, 1), (4, 1), (2, 3), (8, 0.5)])


def _unsharps(x: Tensor, choices: Sequence[tuple[float, float]]) -> Iterator[Panel]:
    for sigma, amount in choices:
        note = f"plus {amount:g} × what a blur takes"
        yield _shown(f"Unsharp, σ = {sigma:g}", note, layers.Unsharp(sigma, amount), x)


@dataclass(frozen=True)
class _Kind:
    """A kind of filter: how it is drawn among others and by itself, and what it then shows."""

    whole: Callable[[Tensor], Iterator[Panel]]
    parts: Callable[[Tensor], Iterator[Panel]]
    finding: str


KINDS = {
    "sobel": _Kind(_sobel, _sobel, "Sobel filters answer where brightness changes"),
    "gabor": _Kind(_gabor, _gabor_parts, "Each Gabor filter answers to stripes of its own direction"),
    "log": _Kind(_log, _log_parts, "LoG finds edges and blobs of its own scale"),
    "gaussian": _Kind(_gaussian, _gaussian_parts, "A Gaussian takes away detail below its scale"),
    "sharpen": _Kind(_sharpen, _sharpen, "Sharpening adds what the neighbours lack"),
    "unsharp": _Kind(_unsharp, _unsharp_parts, "Unsharp masking adds what a blur takes away"),
}
"""The kinds of filters, by name."""
