"""`effective_field`: which pixels a layer listens to, measured by gradients.

A receptive field says which pixels can move an output; most of them hardly do. A pixel in the middle reaches the output
on very many paths and one in a corner on a single one, so that what counts in a deep network is a blob in the middle
whose side grows as the square root of the depth (Luo, Li, Urtasun and Zemel 2016, "Understanding the effective
receptive field in deep convolutional neural networks", arXiv:1701.04128).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite, isqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neocog.analysis.receptive_field import ReceptiveField
from neocog.errors import UsageError
from neocog.models._tap import tap

IMAGES_AT_ONCE = 8


@dataclass(frozen=True)
class EffectiveField:
    """What one position of a layer listens to.

    Attributes:
        layer: its name.
        shape: of its output, for a batch of one.
        position: an index for each dimension of the output; those of the batch and the channels are 0.
        heat: `(H, W)`, the share of each pixel of the image: not negative, 1 in all.
        centre: row and column that the squares lie around, in pixels: the middle of the position's receptive field, of
            its part that does not see everything; where that is not known, of the heat.
        side50: side of the smallest square around the centre that holds half of the heat, in pixels.
        side95: likewise for 95 %.
        images: how many the heat is the mean of.
    """

    layer: str
    shape: tuple[int, ...]
    position: tuple[int, ...]
    heat: NDArray[np.float64]
    centre: tuple[float, float]
    side50: float
    side95: float
    images: int


def effective_field(
    network: nn.Module,
    layer: str,
    images: Tensor,
    *,
    field: ReceptiveField | None = None,
    draws: int = 1,
    seed: int = 0,
) -> EffectiveField:
    """Measure what the middle position of a layer's output listens to.

        >>> effective_field(network, "layer3.0", torch.randn(16, 3, 224, 224)).side95

    The gradient of that position by the image is taken, its channels weighted by random signs (their plain sum would
    let channels that want opposite things cancel), and its size averaged over the images and their colours.

    Args:
        network: any module; it is run in evaluation mode and left as it was.
        layer: path of a module in it, which returns one tensor: maps, channels last or not, tokens, or a vector.
        images: `(N, C, H, W)`, on the network's device.
        field: the layer's receptive field, which tells exactly where the middle position lies and what it can see.
        draws: of random signs for each image.
        seed: of the signs.

    Raises:
        UnknownNameError: no such module; the message names the near ones.
        UsageError: the layer returns no tensor of numbers, or nothing in these images moves it.
    """
    total = torch.zeros(images.shape[-2:], dtype=torch.float64)
    signs = torch.Generator().manual_seed(seed)
    shape: tuple[int, ...] = ()
    position: tuple[int | None, ...] = ()
    with _differentiating(network), tap(network, [layer]) as seen:
        for some in torch.split(images, IMAGES_AT_ONCE):
            shown = some.detach().clone().requires_grad_()
            output = _output(network, shown, seen, layer)
            shape = (1, *output.shape[1:])
            position = middle_position(shape, field)
            chosen = output[(slice(None), *(slice(None) if place is None else place for place in position[1:]))]
            for draw in range(draws):
                sign = torch.randint(0, 2, chosen.shape, generator=signs).mul_(2).sub_(1).to(chosen)
                (gradient,) = torch.autograd.grad(
                    (chosen * sign).sum(), shown, retain_graph=draw + 1 < draws, allow_unused=True
                )  # fmt: skip
                if gradient is not None:
                    total += gradient.abs().sum((0, 1)).double().cpu()
    index = tuple(place or 0 for place in position)
    return _summary(layer, shape, index, total.numpy(), field, len(images))


def mean_field(fields: Iterable[EffectiveField]) -> EffectiveField:
    """Return the mean of fields of one position, such as those of several networks with fresh weights."""
    found = list(fields)
    first = found[0]
    heat = np.mean([each.heat for each in found], axis=0)
    sides = [smallest_square(heat, first.centre, share) for share in (0.5, 0.95)]
    count = sum(each.images for each in found)
    return EffectiveField(first.layer, first.shape, first.position, heat, first.centre, sides[0], sides[1], count)


def smallest_square(heat: NDArray[np.float64], centre: Sequence[float], share: float) -> float:
    """Return the side, in pixels, of the smallest square around `centre` that holds a share of the heat.

    The part of it that lies beyond the image holds nothing.

    Args:
        heat: `(H, W)`, not negative.
        centre: row and column, multiples of a half: a square around the middle of a pixel has an odd side, one around
            the border of two an even one.
        share: of the whole heat.
    """
    rows, columns = (np.abs(np.arange(length) - middle) for length, middle in zip(heat.shape, centre, strict=True))
    distance = np.maximum(rows[:, None], columns[None, :]).ravel()
    order = np.argsort(distance, kind="stable")
    held = np.cumsum(heat.ravel()[order])
    # Rounding in the sum must not ask for a pixel more.
    enough = int(np.searchsorted(held, share * held[-1] * (1 - 1e-12)))
    return float(2 * distance[order[min(enough, len(order) - 1)]] + 1)


def middle_position(shape: Sequence[int], field: ReceptiveField | None = None) -> tuple[int | None, ...]:
    """Return the index of a layer's middle output, None for each dimension of channels.

    Which dimensions are places in the image is known from the receptive field. Without one, or where all places see the
    same, it is guessed from the shape: maps `(N, C, H, W)`, or channels last where the first two sides are equal and
    the last differs; tokens `(N, L, C)`; vectors `(N, C)`. Of tokens it is the one in the middle of their grid, which
    may follow class tokens.
    """
    index: list[int | None] = [0, *[None] * (len(shape) - 1)]
    grid = () if field is None else tuple(dim for dim in field.grid if dim > 0)
    if field is not None and len(grid) == 1 and len(field.image) == 2:
        index[grid[0]] = _central_token(field, shape[grid[0]])
        return tuple(index)
    if not grid and len(shape) == 4:
        grid = (1, 2) if shape[1] == shape[2] != shape[3] else (2, 3)
    for dim in grid:
        index[dim] = shape[dim] // 2
    if not grid and len(shape) == 3:
        index[1] = _grid_middle(shape[1])
    return tuple(index)


def _central_token(field: ReceptiveField, count: int) -> int:
    """Return the token whose own patch lies nearest to the middle of the image."""
    nearest, least = _grid_middle(count), np.inf
    for token in range(count):
        ends = field.at(token, local=True)
        distance = max(
            abs((low + high) / 2 - (length - 1) / 2) if isfinite(low) and isfinite(high) else np.inf
            for (low, high), length in zip(ends, field.image, strict=True)
        )
        # Of an even grid four tokens are equally near; the last is the one after the middle, as for maps.
        if distance <= least and isfinite(distance):
            nearest, least = token, distance
    return nearest


def _grid_middle(count: int) -> int:
    """Return the token in the middle of a square grid that may follow up to eight others; else in the middle of all."""
    for extra in range(min(9, count)):
        side = isqrt(count - extra)
        if side * side == count - extra:
            return extra + (side // 2) * side + side // 2
    return count // 2


def _output(network: nn.Module, images: Tensor, seen: dict[str, Tensor], layer: str) -> Tensor:
    seen.clear()
    network(images)
    output: object = seen.get(layer)
    if output is None:
        raise UsageError(f"{layer} did not run: nothing of it can be measured")
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.ndim < 2:
        kind = type(output).__name__ if not isinstance(output, Tensor) else f"tensor of {output.dtype}"
        raise UsageError(f"{layer} returns a {kind}; name a layer that returns maps, tokens or a vector")
    if len(output) != len(images):
        raise UsageError(
            f"{layer} cuts images into pieces: {len(images)} became {len(output)}; name a layer that keeps them whole"
        )
    return output


def _summary(
    layer: str,
    shape: tuple[int, ...],
    position: tuple[int, ...],
    total: NDArray[np.float64],
    field: ReceptiveField | None,
    images: int,
) -> EffectiveField:
    mass = total.sum()
    if not mass > 0 or not isfinite(mass):
        what = "nothing in these images moves" if mass == 0 else "there are gradients that are not numbers at"
        raise UsageError(f"{what} the middle of {layer}; use other images or weights")
    heat = total / mass
    centre = _centre(heat, position, field)
    return EffectiveField(
        layer, shape, position, heat, centre,
        smallest_square(heat, centre, 0.5), smallest_square(heat, centre, 0.95), images,
    )  # fmt: skip


def _centre(heat: NDArray[np.float64], position: tuple[int, ...], field: ReceptiveField | None) -> tuple[float, float]:
    """Return the middle of what the position sees of the image, where it does not see all; else that of the heat."""
    ends = ((-np.inf, np.inf),) * 2 if field is None else field.at(*position, local=True)
    own = [float((heat.sum(1 - axis) * np.arange(heat.shape[axis])).sum()) for axis in range(2)]
    row, column = (
        (low + high) / 2 if isfinite(low) and isfinite(high) else round(2 * middle) / 2
        for (low, high), middle in zip(ends, own, strict=True)
    )
    return row, column


@contextmanager
def _differentiating(network: nn.Module) -> Iterator[None]:
    """Hold a network in evaluation mode with gradients for images alone, then give it back as it was."""
    modes = [(module, module.training) for module in network.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    # An activation that writes in place would turn the output of the layer before it into its own.
    writing = [module for module in network.modules() if getattr(module, "inplace", False) is True]
    network.eval()
    for parameter, _ in wanted:
        parameter.requires_grad_(False)
    for module in writing:
        module.inplace = False  # type: ignore[assignment]
    try:
        with torch.enable_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, wants in wanted:
            parameter.requires_grad_(wants)
        for module in writing:
            module.inplace = True  # type: ignore[assignment]
