"""The operations of augmentation policies on batches, each with a strength of its own for each image.

What they do is what torchvision's `transforms.v2.functional` does to one uint8 tensor, with nearest neighbours and
black outside, as its policies use it. Images are sorted by operation, so that each operation is one pass over the
images that drew it, whatever their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neocog.data.color import grey, in_cache


class Operation(IntEnum):
    """What can be done to an image, and what its strength means; in brackets torchvision's name."""

    IDENTITY = 0
    """Nothing. (Identity)"""
    SHEAR_X = 1
    """Each row moves left by the strength times its distance from the top. (ShearX)"""
    SHEAR_Y = 2
    """Each column moves up by the strength times its distance from the left. (ShearY)"""
    TRANSLATE_X = 3
    """Moved to the right by so many pixels, rounded towards zero. (TranslateX)"""
    TRANSLATE_Y = 4
    """Moved down likewise. (TranslateY)"""
    ROTATE = 5
    """Turned about the middle by so many degrees, counterclockwise. (Rotate)"""
    BRIGHTNESS = 6
    """Multiplied by 1 + strength. (Brightness)"""
    COLOR = 7
    """Moved away from its grey by that factor. (Color)"""
    CONTRAST = 8
    """Moved away from its mean grey by that factor. (Contrast)"""
    SHARPNESS = 9
    """Moved away from itself, smoothed, by that factor; the outermost pixels stay. (Sharpness)"""
    POSTERIZE = 10
    """So many of the highest bits are kept, rounded towards zero. (Posterize)"""
    SOLARIZE = 11
    """Pixels from the strength times 255 on are inverted. (Solarize)"""
    AUTOCONTRAST = 12
    """Each channel is stretched to the range from 0 to 255. (AutoContrast)"""
    EQUALIZE = 13
    """Each channel's histogram is made as even as it can be. (Equalize)"""
    INVERT = 14
    """Black for white. (Invert)"""


class Round(NamedTuple):
    """One operation for each image of a batch.

    Attributes:
        operations: int64 `(N,)` on the CPU, of `Operation`.
        strengths: float64 `(N,)` on the CPU; unused where an operation takes none.
    """

    operations: Tensor
    strengths: Tensor


def operate(images: Tensor, rounds: Sequence[Round]) -> Tensor:
    """Change each image as its rounds say, one after the other.

    Args:
        images: uint8 `(N, C, H, W)` of one or three channels, on any device.
        rounds: what to do.

    Returns:
        uint8 `(N, C, H, W)`, contiguous.
    """
    place = torch.arange(len(images))  # where each image lies now
    for operations, strengths in rounds:
        ranked = operations.argsort(stable=True)
        images = images.index_select(0, place[ranked].to(images.device))
        place[ranked] = torch.arange(len(images))
        counts = torch.bincount(operations, minlength=len(Operation)).tolist()
        geometric = sum(counts[Operation.SHEAR_X : Operation.BRIGHTNESS])
        first = counts[Operation.IDENTITY]
        _, moved, *parts = torch.split(images, [first, geometric, *counts[Operation.BRIGHTNESS :]])
        ordered = strengths[ranked]
        if geometric:
            kinds = operations[ranked[first : first + geometric]]
            matrices = _matrices(kinds, ordered[first : first + geometric], *images.shape[2:])
            size = in_cache(moved)
            for some, each in zip(torch.split(moved, size), torch.split(matrices, size), strict=True):
                some.copy_(warp(some, each))
        first += geometric
        for operation, part in zip(tuple(Operation)[Operation.BRIGHTNESS :], parts, strict=True):
            if len(part):
                amounts = ordered[first : first + len(part)].to(images.device).view(-1, 1, 1, 1)
                size = in_cache(part)
                for some, each in zip(torch.split(part, size), torch.split(amounts, size), strict=True):
                    some.copy_(_PIXELWISE[operation](some, each))
                first += len(part)
    return images.index_select(0, place.to(images.device))


def _matrices(operations: Tensor, strengths: Tensor, height: int, width: int) -> Tensor:
    """Return where each image's pixels come from: float64 `(N, 2, 3)`, of (x, y, 1) from the middle to (x, y)."""
    amount = {kind: strengths * (operations == kind) for kind in tuple(Operation)[1:6]}
    angle = amount[Operation.ROTATE] * (math.pi / 180)
    shear_x, shear_y = amount[Operation.SHEAR_X], amount[Operation.SHEAR_Y]
    right, down = amount[Operation.TRANSLATE_X].trunc(), amount[Operation.TRANSLATE_Y].trunc()
    rows = (
        torch.stack([angle.cos(), shear_x - angle.sin(), shear_x * (height / 2) - right], 1),
        torch.stack([shear_y + angle.sin(), angle.cos(), shear_y * (width / 2) - down], 1),
    )
    return torch.stack(rows, 1)


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Take each pixel from the nearest one of where its image's matrix says, and black from outside.

    Args:
        images: uint8 `(N, C, H, W)`.
        matrices: `(N, 2, 3)`, of (x, y, 1) in pixels from the middle, to (x, y).

    Returns:
        float32 `(N, C, H, W)` of whole numbers.
    """
    height, width = images.shape[2:]
    half = matrices.new_tensor([[width / 2], [height / 2]])
    theta = (matrices.to(torch.float32) / half.to(torch.float32)).to(images.device)
    x = torch.linspace((1 - width) / 2, (width - 1) / 2, width, device=images.device)
    y = torch.linspace((1 - height) / 2, (height - 1) / 2, height, device=images.device)
    base = torch.stack([x.expand(height, -1), y.view(-1, 1).expand(-1, width), x.new_ones(height, width)], -1)
    grid = torch.matmul(base.view(1, -1, 3).expand(len(images), -1, -1), theta.transpose(1, 2))
    grid = grid.view(len(images), height, width, 2)
    return F.grid_sample(images.to(torch.float32), grid, mode="nearest", padding_mode="zeros", align_corners=False)


def _blend(images: Tensor, other: Tensor | None, amounts: Tensor) -> Tensor:
    """Return `other` plus 1 + `amounts` times the images' distance from it; None stands for black."""
    factors = 1 + amounts
    blended = images * factors.to(torch.float32)
    if other is not None:
        blended = torch.addcmul(blended, other, (1 - factors).to(torch.float32))
    return blended.clamp_(0, 255)


def _brightness(images: Tensor, amounts: Tensor) -> Tensor:
    return _blend(images, None, amounts)


def _color(images: Tensor, amounts: Tensor) -> Tensor:
    return images if images.shape[1] == 1 else _blend(images, grey(images), amounts)


def _contrast(images: Tensor, amounts: Tensor) -> Tensor:
    return _blend(images, grey(images).mean((2, 3), keepdim=True), amounts)


def _sharpness(images: Tensor, amounts: Tensor) -> Tensor:
    """Blend with the mean of 3 x 3 pixels of which the middle one counts five times."""
    if min(images.shape[2:]) <= 2:
        return images
    pixels = images.to(torch.float32)
    across = pixels[..., :-2] + pixels[..., 1:-1] + pixels[..., 2:]
    inner = pixels[..., 1:-1, 1:-1]
    sums = (across[..., :-2, :] + across[..., 1:-1, :] + across[..., 2:, :]).add_(inner, alpha=4)
    smooth = sums.div_(13).round_()  # a thirteenth is never half way, so that any order of sums rounds alike
    inner.addcmul_(smooth.sub_(inner), (1 - (1 + amounts)).to(torch.float32))
    return pixels.clamp_(0, 255)


def _posterize(images: Tensor, amounts: Tensor) -> Tensor:
    dropped = 8 - amounts.to(torch.int32)
    return images & (0xFF >> dropped << dropped).to(torch.uint8)


def _solarize(images: Tensor, amounts: Tensor) -> Tensor:
    # A pixel is a whole number: it reaches a threshold where it reaches the next whole number above that.
    thresholds = (amounts * 255).to(torch.float32).ceil().clamp_(0, 255).to(torch.uint8)
    return images ^ (images >= thresholds).view(torch.uint8) * 255


def _autocontrast(images: Tensor, amounts: Tensor) -> Tensor:
    least = images.amin((2, 3), keepdim=True).to(torch.float32)
    most = images.amax((2, 3), keepdim=True).to(torch.float32)
    flat = least == most
    scale = torch.where(flat, 1.0, (most - least).mul_(1 / 255))
    return images.to(torch.float32).sub_(torch.where(flat, 0.0, least)).div_(scale).clamp_(0, 255)


def _equalize(images: Tensor, amounts: Tensor) -> Tensor:
    """Map each grey level to the share of pixels below it, with Pillow's rounding in whole numbers."""
    planes = images.flatten(0, 1).flatten(1).to(torch.int64)  # (N C, H W)
    counts = torch.zeros((len(planes), 256), dtype=torch.int32, device=planes.device)
    counts.scatter_add_(1, planes, counts.new_ones(1).expand_as(planes))
    # Quotients of whole numbers below 2^23 are rounded down rightly in float32, and faster than in integers.
    levels = counts.to(torch.float32)
    below = levels.cumsum(1)
    # The pixels of the greatest level that occurs are left out of what is shared among the 255 steps.
    last = levels.gather(1, below.argmax(1, keepdim=True))
    step = ((below[:, -1:] - last) / 255).floor_()
    table = below.sub_(levels).add_((step / 2).floor_()).div_(step.clamp(min=1)).floor_().clamp_(0, 255)
    unchanged = torch.arange(256, dtype=torch.float32, device=planes.device)
    table = torch.where(step > 0, table, unchanged).to(torch.uint8)
    return table.gather(1, planes).view(images.shape)


def _invert(images: Tensor, amounts: Tensor) -> Tensor:
    return ~images


_PIXELWISE: dict[Operation, Callable[[Tensor, Tensor], Tensor]] = {
    Operation.BRIGHTNESS: _brightness,
    Operation.COLOR: _color,
    Operation.CONTRAST: _contrast,
    Operation.SHARPNESS: _sharpness,
    Operation.POSTERIZE: _posterize,
    Operation.SOLARIZE: _solarize,
    Operation.AUTOCONTRAST: _autocontrast,
    Operation.EQUALIZE: _equalize,
    Operation.INVERT: _invert,
}
"""From uint8 images and strengths `(N, 1, 1, 1)` to values in [0, 255], which are cut to whole numbers."""
