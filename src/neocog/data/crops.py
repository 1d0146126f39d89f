"""Random places of images: boxes of random shape or scale, and shifts of a padded batch."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neocog.data.color import one_by_one
from neocog.errors import UsageError

Draws = npt.NDArray[np.float64]
Sides = int | npt.NDArray[np.int64] | npt.NDArray[np.float64]

TRIES = 10
"""Shapes that a random-resized crop tries before it falls back on the centre, as torchvision does."""

REFERENCE_SIDE = 224
"""The input's side for which papers state how long the shorter side of the image is before the crop."""


def resized_boxes(
    shapes: Draws,
    places: Draws,
    height: Sides,
    width: Sides,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> npt.NDArray[np.float64]:
    """Return a random-resized crop's box for each image.

    The area is uniform, the logarithm of the ratio is uniform, and so is the place. After ten boxes that would
    not fit, the largest box of an allowed ratio is taken from the centre. This is the distribution of
    torchvision's `RandomResizedCrop`.

    Args:
        shapes: `(N, 2 * TRIES)` in [0, 1): an area and a ratio for each try.
        places: `(N, 2)` in [0, 1): from the top and from the left.
        height: of the images, in pixels: one number, or `(N,)`.
        width: likewise.
        scale: least and greatest area, as shares of the image's.
        ratio: least and greatest width / height.

    Returns:
        `(N, 4)`: top, left, height and width, whole numbers of pixels, within the image.
    """
    height, width = (np.broadcast_to(np.asarray(side, np.float64), len(places)) for side in (height, width))
    least, most = ratio
    areas = (height * width)[:, None] * (scale[0] + (scale[1] - scale[0]) * shapes[:, ::2])
    ratios = np.exp(math.log(least) + math.log(most / least) * shapes[:, 1::2])
    widths, heights = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))
    fits = (widths > 0) & (widths <= width[:, None]) & (heights > 0) & (heights <= height[:, None])

    first, fallen = fits.argmax(1)[:, None], ~fits.any(1)
    central = np.clip(width / height, least, most)
    widest, tallest = (
        np.clip(np.rint(side), 1, most) for side, most in ((height * central, width), (width / central, height))
    )
    wide = np.where(fallen, widest, np.take_along_axis(widths, first, 1)[:, 0])
    tall = np.where(fallen, tallest, np.take_along_axis(heights, first, 1)[:, 0])
    top = np.where(fallen, (height - tall) // 2, np.floor(places[:, 0] * (height - tall + 1)))
    left = np.where(fallen, (width - wide) // 2, np.floor(places[:, 1] * (width - wide + 1)))
    return np.stack([top, left, tall, wide], axis=1)


def scaled_boxes(
    draws: Draws, places: Draws, height: Sides, width: Sides, size: tuple[int, int], sides: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Return the boxes that scale jittering crops (Simonyan and Zisserman 2014, section 3.1).

    The image is resized so that its shorter side is a whole number S of pixels, uniform in `sides`, and the longer
    one follows, rounded down; then `size` is cut at a random place. That equals resizing, to `size`, the part of the
    original that the cut comes from, which is what is returned: nothing is resized that is then thrown away.

    Args:
        draws: `(N,)` in [0, 1), for S.
        places: `(N, 2)` in [0, 1): from the top and from the left.
        height: of the images, in pixels: one number, or `(N,)`.
        width: likewise.
        size: height and width of the input.
        sides: least and greatest S, for an input of 224; for another input in proportion to its shorter side. An
            image that would still be smaller than the input is resized until it covers it.

    Returns:
        `(N, 4)`: top, left, height and width, in pixels and fractions of pixels, within the image.
    """
    height, width = (np.broadcast_to(np.asarray(side, np.float64), len(places)) for side in (height, width))
    tall, wide = size
    least, most = (round(side * min(size) / REFERENCE_SIDE) for side in sides)
    shorter = least + np.floor(draws * (most - least + 1))
    factor = np.maximum(shorter / np.minimum(height, width), np.maximum(tall / height, wide / width))
    # A share of 1e-9 saves products that should be whole numbers from being rounded down.
    heights = np.maximum(np.floor(height * factor * (1 + 1e-9)), tall)
    widths = np.maximum(np.floor(width * factor * (1 + 1e-9)), wide)
    top = np.floor(places[:, 0] * (heights - tall + 1))
    left = np.floor(places[:, 1] * (widths - wide + 1))
    down, across = height / heights, width / widths
    return np.stack([top * down, left * across, tall * down, wide * across], axis=1)


def shift(images: Tensor, places: Tensor, border: int, mirrored: Tensor | None = None) -> Tensor:
    """Pad a batch with zeros on all sides, cut its size at a random place, and mirror some of the results.

    Every row of the result is a run of W bytes in the padded batch: one gather of rows, at any of their starting
    points, shifts both ways at once, and puts back into order what was sorted for mirroring.

    Args:
        images: uint8 `(N, C, H, W)`.
        places: float64 `(N, 2)` in [0, 1) on the CPU: from the top and from the left.
        border: pixels on each side.
        mirrored: bool `(N,)` on the CPU: which results to mirror left and right; None for none.

    Returns:
        uint8 `(N, C, H, W)`, contiguous.
    """
    count, channels, height, width = images.shape
    top, left = (places * (2 * border + 1)).floor().to(torch.int64).unbind(1)
    where = torch.arange(count)
    turned = 0
    if mirrored is not None and (turned := int(mirrored.sum())):
        # Mirrored before they are cut, so that half of the batch is passed over and not all of it.
        order = mirrored.to(torch.int8).argsort(stable=True)
        where[order] = torch.arange(count)
        left = torch.where(mirrored, 2 * border - left, left)
        images = images.index_select(0, order.to(images.device))
    # One border separates a row from the next, and one a plane from the next: both sides share it.
    stride, depth = width + border, height + border
    lead = border * stride + border
    flat = images.new_zeros(lead + count * channels * depth * stride + lead)
    inner = flat[lead : lead + count * channels * depth * stride].view(count, channels, depth, stride)
    plain = count - turned
    inner[:plain, :, :height, :width] = images[:plain]
    if turned:
        inner[plain:, :, :height, :width] = images[plain:].flip(-1)
    starts = (top * stride + left).view(-1, 1, 1) + (where * (channels * depth * stride)).view(-1, 1, 1)
    starts = starts + (torch.arange(channels) * (depth * stride)).view(-1, 1)
    starts = starts + torch.arange(height) * stride
    return _runs(flat, starts, images)


def shift_reflected(images: Tensor, places: Tensor, border: int, mirrored: Tensor | None = None) -> Tensor:
    """As `shift`, with the image reflected on all sides in place of zeros: NumPy's `pad(mode="reflect")`.

    The row at the edge is not repeated: beyond rows 0, 1, 2 lie 1, 2. Above and below, a row of the result is another
    row of the image, so that only columns are added. Those cost most, being bytes apart; a batch sorted by where each
    image is cut has those that see a column side by side, and a column is made for no others.

    Arguments and result are those of `shift`.

    Raises:
        UsageError: the border is not narrower than the image.
    """
    count, channels, height, width = images.shape
    check_reflection(border, (height, width))
    top, left = (places * (2 * border + 1)).floor().to(torch.int64).unbind(1)
    # Those to be mirrored come last; cut from the right to the left, and then from the left to the right.
    rank, plain = 2 * border - left, count
    if mirrored is not None:
        left = torch.where(mirrored, 2 * border - left, left)
        rank, plain = torch.where(mirrored, 2 * border + 1 + left, rank), count - int(mirrored.sum())
    order = rank.argsort(stable=True)
    where = torch.empty_like(order)
    where[order] = torch.arange(count)
    below = [0, *rank.bincount(minlength=4 * border + 2).cumsum(0).tolist()]  # images of a smaller rank than each

    stride = width + 2 * border
    flat = images.new_empty(count * channels * height * stride)
    inner = flat.view(count, channels, height, stride)
    images = images.index_select(0, order.to(images.device))
    inner[:plain, ..., border : border + width] = images[:plain]
    if plain < count:
        inner[plain:, ..., border : border + width] = images[plain:].flip(-1)
    for beyond in range(1, border + 1):
        first, last = border, border + width - 1
        left_out = inner[below[border + beyond] : below[3 * border + 2 - beyond]]
        left_out[..., first - beyond] = left_out[..., first + beyond]
        for right_out in (inner[: below[border + 1 - beyond]], inner[below[3 * border + 1 + beyond] :]):
            right_out[..., last + beyond] = right_out[..., last - beyond]

    lines = torch.arange(-border, height + border).abs()
    lines = torch.minimum(lines, 2 * (height - 1) - lines) * stride
    starts = (lines.unfold(0, height, 1)[top] + left.view(-1, 1)).view(count, 1, height)
    starts = starts + (where.view(-1, 1, 1) * channels + torch.arange(channels).view(-1, 1)) * (height * stride)
    return _runs(flat, starts, images)


def check_reflection(border: int, size: tuple[int, int]) -> None:
    """Raise `UsageError` where an image of `size` (height, width) has too few pixels to be reflected over `border`."""
    if border >= min(size):
        height, width = size
        raise UsageError(
            f"a border of {border} pixels cannot be reflected from an image of {height}x{width}, which has "
            f"{min(size) - 1} beside the one at its edge; choose {min(size) - 1} pixels or fewer"
        )


def _runs(flat: Tensor, starts: Tensor, like: Tensor) -> Tensor:
    """Return a batch of the shape of `like` `(N, C, H, W)` whose rows are the W bytes of `flat` from `starts` on."""
    width = like.shape[-1]
    runs = flat.as_strided((flat.numel() - width + 1, width), (1, 1))
    return runs.index_select(0, starts.reshape(-1).to(flat.device)).view(like.shape)


def mirror(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirror, in place, the images `(N, C, H, W)` left and right that are chosen, bool `(N,)` on the CPU."""
    places = chosen.nonzero().view(-1).to(images.device)
    if one_by_one(images):
        for place in places.tolist():
            images[place] = images[place].flip(-1)
        return images
    return images.index_copy_(0, places, images.index_select(0, places).flip(-1))
