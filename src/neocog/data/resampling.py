"""Resizing of batches as Pillow resizes one image, on any device: a box of each image to a common size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


def resize_boxes(
    images: Tensor,
    boxes: npt.NDArray[np.float64],
    interpolation: Interpolation,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Resize a box of each image to one size, as Pillow does.

    Resampling is one matrix for the rows and one for the columns of each image, and so two batched matrix
    products for the batch. Like Pillow, the filter looks beyond the box where the image goes on, it widens where a
    box shrinks, and the result of each product is rounded to eight bits.

    Args:
        images: uint8 `(N, C, H, W)`.
        boxes: `(N, 4)`, or `(1, 4)` for all: top, left, height and width in pixels and fractions, within the image.
        interpolation: the filter.
        size: height and width of the result; None for that of the images.

    Returns:
        uint8 `(N, C, h, w)`, contiguous.
    """
    tops, lefts, heights, widths = torch.from_numpy(boxes).to(images.device, torch.float32).unbind(1)
    height, width = size or (images.shape[2], images.shape[3])
    columns = _resampling(lefts, widths, images.shape[3], width, interpolation)
    rows = _resampling(tops, heights, images.shape[2], height, interpolation)
    widened = _stretch(images.to(torch.float32), columns)
    return _stretch(widened.transpose(2, 3), rows).transpose(2, 3).to(torch.uint8).contiguous()


def resize(images: Tensor, size: tuple[int, int], interpolation: Interpolation) -> Tensor:
    """Resize whole images uint8 `(N, C, H, W)` to `size`, height and width, as Pillow does."""
    if (images.shape[2], images.shape[3]) == size:
        return images
    return resize_boxes(images, np.array([[0.0, 0.0, *images.shape[2:]]]), interpolation, size)


def _stretch(images: Tensor, matrices: Tensor) -> Tensor:
    """Multiply each row of an image with the image's matrix, and round to whole numbers from 0 to 255.

    Halves are rounded up, not to even as `round` would: an exact half is common where an image is doubled.
    """
    rows = images.flatten(1, 2)
    product = rows @ matrices[0] if len(matrices) == 1 else torch.bmm(rows, matrices)
    return product.add_(0.5).floor_().clamp_(0, 255).view(*images.shape[:3], -1)


def _resampling(starts: Tensor, lengths: Tensor, before: int, after: int, interpolation: Interpolation) -> Tensor:
    """Return matrices `(N, before, after)` whose column i holds the weights of the pixels that make pixel i.

    They stretch `lengths` pixels from `starts` to `after` pixels.
    """
    starts, lengths = starts.view(-1, 1, 1), lengths.view(-1, 1, 1)
    centres = starts + (torch.arange(after, dtype=torch.float32, device=starts.device) + 0.5) * lengths / after - 0.5
    distances = torch.arange(before, dtype=torch.float32, device=starts.device).view(-1, 1) - centres
    if interpolation != "nearest":
        distances = distances / (lengths / after).clamp(min=1)
    weights = _FILTERS[interpolation](distances)
    return weights.div_(weights.sum(1, keepdim=True))


def _nearest(x: Tensor) -> Tensor:
    return ((x > -0.5) & (x <= 0.5)).to(x.dtype)


def _bilinear(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp_(min=0)


def _bicubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution (1981, equation 4) with a = -1/2."""
    x = x.abs().clamp_(max=2)
    return torch.where(x < 1, (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2)


def _lanczos(x: Tensor) -> Tensor:
    return torch.sinc(x) * torch.sinc(x / 3) * (x.abs() < 3)


_FILTERS: dict[Interpolation, Callable[[Tensor], Tensor]] = {
    "nearest": _nearest,
    "bilinear": _bilinear,
    "bicubic": _bicubic,
    "lanczos": _lanczos,
}
"""Pillow's filters: the weight of a pixel at a distance."""
