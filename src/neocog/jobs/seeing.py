"""`receptive_field`: from a network's name to what its layers see, in numbers and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from neocog.analysis.effective_field import EffectiveField, effective_field, mean_field
from neocog.analysis.receptive_field import Fields, ReceptiveField, receptive_fields
from neocog.analysis.trace import trace_forward
from neocog.analysis.units import Level
from neocog.catalog import IMAGENET_MEAN, IMAGENET_STD, find_weights, list_models
from neocog.data.preprocess import Preprocessing, normalise, open_image, resize_image, to_uint8
from neocog.errors import UnknownNameError, UsageError
from neocog.jobs._published import published_preprocessing
from neocog.jobs.listener import Listener
from neocog.jobs.subject import Subject, find_subject
from neocog.visualize import receptive_field as figures
from neocog.visualize.field_growth import growth

if TYPE_CHECKING:
    from PIL.Image import Image

LEVELS: tuple[Level, ...] = ("layer", "block", "stage")
FRESH = 4
"""Networks with fresh weights that a heat map is averaged over: a single one has habits of its own."""
SHARPER = 3
"""How many times finer than the network's input a photograph is drawn, where it is."""
MEAN = {3: IMAGENET_MEAN, 1: (0.5,)}
STD = {3: IMAGENET_STD, 1: (0.5,)}


@dataclass(frozen=True)
class Seeing:
    """What the layers of a network see.

    Attributes:
        subject: the network.
        fields: of all layers, blocks or stages, in the order in which their outputs are ready.
        level: of these.
        field: of the layer that was asked for.
        effective: what that layer listens to.
        figure: the picture that was drawn.
    """

    subject: Subject
    fields: Fields
    level: Level
    field: ReceptiveField | None = None
    effective: EffectiveField | None = None
    figure: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain types; what is infinite is "global"."""
        found: dict[str, Any] = {
            "network": self.subject.name,
            "input": list(self.subject.image),
            "level": self.level,
            "unknown": [{"operation": name, "layer": path} for name, path in self.fields.unknown],
            "rows": [plain_row(row) for row in self.fields.rows],
        }
        if self.field is not None and self.effective is not None:
            low, high = zip(*self.field.at(*self.effective.position), strict=True)
            found["layer"] = {
                **plain_row(self.field),
                "position": list(self.effective.position),
                "first_pixel": _finite(low),
                "last_pixel": _finite(high),
                "heat_centre": list(self.effective.centre),
                "heat_side50": self.effective.side50,
                "heat_side95": self.effective.side95,
                "heat_images": self.effective.images,
            }
        if self.figure is not None:
            found["figure"] = str(self.figure)
        return found


def receptive_field(
    spec: str,
    *,
    layer: str | None = None,
    on: str | Path | None = None,
    out: str | Path | None = None,
    image: Sequence[int] | None = None,
    size: int | None = None,
    weights: str | None = None,
    level: Level | None = None,
    samples: int = 32,
    listener: Listener | None = None,
) -> Seeing:
    """Compute what the layers of a network see; for one of them, measure what it listens to and draw both.

        >>> receptive_field("resnet18").fields.of("layer3.0").size
        (147.0, 147.0)
        >>> receptive_field("mobilenetv2_100", weights="default", layer="blocks.4", on="dog.jpg", out="dog.png").figure

    Without `layer`, `out` draws how the field grows. With it, the gradient's size is averaged over shifted and mirrored
    copies of the photograph, or without one over noise; a catalog network without weights is made four times, with
    fresh ones, and the mean taken.

    Args:
        spec: a catalog name, a model file, or `module:callable`; see `find_subject`.
        layer: path of a module.
        on: photograph to show to the network and to draw on.
        out: the picture to write; its suffix names the format.
        image: the shape of an input, `(C, H, W)`; by default the one that the network was made for.
        size: only its height and width.
        weights: of a catalog network, a tag or a file.
        level: of the rows: "layer", "block" or "stage"; None for layers in the table and blocks in the picture of
            growth, where layers within blocks would make a saw of the curve.
        samples: images that the gradient is averaged over.
        listener: who hears the progress.

    Raises:
        UnknownNameError: no such network, level or layer; the message names the near ones.
        UsageError: a photograph without a layer, a layer that has nothing to measure, an input that is too small.
        DataError: a photograph that cannot be read.
    """
    listener = listener or Listener()
    if level is not None and level not in LEVELS:
        raise UnknownNameError("level", level, LEVELS)
    if samples < FRESH:
        raise UsageError(f"a gradient is averaged over at least {FRESH} images, not {samples}")
    if on is not None and layer is None:
        raise UsageError("a photograph is drawn on for one layer; name it with --layer")
    fresh = weights is None and spec in list_models()
    real = layer is not None and not fresh
    subject = find_subject(spec, image=image, size=size, real=real, weights=weights)
    if layer is not None and len(subject.image) != 3:
        raise UsageError(f"what a layer listens to is measured on images (C, H, W), not on {subject.image}")
    trace = trace_forward(subject.network, subject.image, name=subject.name)
    fields = receptive_fields(trace, level or "layer")
    if layer is None:
        figure = None
        if out is not None:
            drawn = fields if level is not None else receptive_fields(trace, "block")
            figure = growth(drawn, out, image=subject.image, network=subject.name)
        return Seeing(subject, fields, level or "layer", figure=figure)
    layers = receptive_fields(trace) if level in ("block", "stage") else fields
    known = [row.name for row in layers.rows]
    if layer not in known and layer not in layers.lost:
        raise UnknownNameError("layer", layer, known, f"neocog receptive-field {spec}")
    field = layers.of(layer)
    preprocessing = _preprocessing(subject, weights, channels=3 if on is None else subject.image[0])
    photo = None if on is None else open_image(on, preprocessing.channels)
    images = _noise(samples, subject.image) if photo is None else _variants(photo, preprocessing, samples)
    parts = images.tensor_split(FRESH) if fresh else (images,)
    networks = _fresh(spec) if fresh else iter((subject.network,))
    listener.begin(f"measuring {layer}", len(parts), unit="networks")
    measured = []
    for network, part in zip(networks, parts, strict=False):
        measured.append(effective_field(network, layer, part, field=field))
        listener.advance(len(measured))
    listener.end()
    effective = mean_field(measured)
    figure = None
    if out is not None:
        shown = None if photo is None else _sharper(photo, preprocessing)
        name = f"{subject.name} with fresh weights" if fresh else subject.name
        figure = figures.draw(shown, field, effective, out, network=name)
    return Seeing(subject, fields, level or "layer", field, effective, figure)


def plain_row(row: ReceptiveField) -> dict[str, Any]:
    """Return a row in plain types; what is infinite is None."""
    return {
        "name": row.name,
        "kind": row.kind,
        "output": list(row.shape),
        "global": row.is_global,
        "size": _finite(row.size),
        "stride": _finite(row.stride),
        "padding": _finite(row.padding),
        "centre": _finite(row.centre),
        "smallest": _finite(row.smallest),
        "largest": _finite(row.largest),
        "local": _finite(row.local),
    }


def _finite(values: Sequence[float]) -> list[float | None]:
    return [value if isfinite(value) else None for value in values]


def _preprocessing(subject: Subject, weights: str | None, channels: int) -> Preprocessing:
    """Return how a photograph becomes this network's input: as its weights want it, else as ImageNet's do."""
    height, width = subject.image[-2:]
    if subject.preprocessing is not None:
        return subject.preprocessing.model_copy(update={"size": (height, width)})
    if weights is not None and subject.entry is not None and not Path(weights).suffix:
        published = published_preprocessing(find_weights(subject.entry.name, weights))
        return published.model_copy(update={"size": (height, width)})
    if channels not in MEAN:
        raise UsageError(
            f"{subject.name} takes images of {channels} channels; a photograph has 3, or 1 where it is grey"
        )
    return Preprocessing(size=(height, width), mean=MEAN[channels], std=STD[channels], channels=channels)


def _noise(count: int, shape: Sequence[int]) -> Tensor:
    """Return images of independent normal numbers."""
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


def _variants(photo: Image, preprocessing: Preprocessing, count: int) -> Tensor:
    """Return a photograph and shifted, half of them mirrored, copies of it, so that what lies where does not matter."""
    pixels = normalise(to_uint8(photo, preprocessing), preprocessing)
    height, width = pixels.shape[-2:]
    draws = torch.Generator().manual_seed(0)
    images = [pixels]
    for number in range(1, count):
        down, right = (int(torch.randint(side, (), generator=draws)) for side in (height, width))
        # What leaves on one side comes in again on the other.
        shifted = pixels.roll((down, right), (1, 2))
        images.append(shifted.flip(2) if number % 2 else shifted)
    return torch.stack(images)


def _fresh(spec: str) -> Iterator[nn.Module]:
    """Yield a catalog network with several sets of fresh weights."""
    for seed in range(FRESH):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = find_subject(spec, real=True).network
        yield network


def _sharper(photo: Image, preprocessing: Preprocessing) -> Image:
    """Return what the network is shown of a photograph, finer than the network sees it."""
    times = max(1.0, min(SHARPER, min(photo.size) / max(preprocessing.size)))
    height, width = (round(times * side) for side in preprocessing.size)
    return resize_image(photo, preprocessing.model_copy(update={"size": (height, width)}))
