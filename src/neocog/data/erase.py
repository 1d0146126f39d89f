"""Painting a random box of an image over, after normalisation (Zhong et al. 2017, "Random erasing")."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from neocog.data.keys import normal

TRIES = 10  # boxes that are tried before an image is left alone, as timm does
DRAWS = 3 + 2 * TRIES
"""Numbers that one image takes: whether, top, left, and an area and a ratio for each try."""

_RATIO = (0.3, 1 / 0.3)  # least and greatest height / width, in the paper and in timm


def erased_boxes(draws: Tensor, height: int, width: int, probability: float, area: tuple[float, float]) -> Tensor:
    """Return which box of each image is painted over.

    The area is uniform, so is the logarithm of the ratio, and so is the place; a box as long or as wide as the image is
    drawn again. This is the distribution of timm's `RandomErasing`.

    Args:
        draws: `(N, DRAWS)` in [0, 1).
        height: of the image, pixels.
        width: of the image, pixels.
        probability: of erasing at all.
        area: least and greatest area, as shares of the image's.

    Returns:
        int64 `(N, 4)`: top, left, height and width; zeros where there is nothing to erase.
    """
    values = draws.numpy()
    areas = height * width * (area[0] + (area[1] - area[0]) * values[:, 3::2])
    ratios = np.exp(math.log(_RATIO[0]) + math.log(_RATIO[1] / _RATIO[0]) * values[:, 4::2])
    talls, wides = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))
    fits = (talls < height) & (wides < width)
    first = fits.argmax(1)[:, None]
    done = fits.any(1) & (values[:, 0] < probability)
    tall = np.take_along_axis(talls, first, 1)[:, 0] * done
    wide = np.take_along_axis(wides, first, 1)[:, 0] * done
    top, left = np.floor(values[:, 1] * (height - tall + 1)), np.floor(values[:, 2] * (width - wide + 1))
    return torch.from_numpy(np.stack([top * done, left * done, tall, wide], 1).astype(np.int64))


def erase(images: Tensor, boxes: Tensor, fill: Literal["noise", "mean"], keys: Tensor, step: int) -> Tensor:
    """Paint a box of each image over, in place.

    Args:
        images: float32 `(N, C, H, W)`, normalised: their mean colour is 0.
        boxes: int64 `(N, 4)`, from `erased_boxes`.
        fill: "noise" gives each pixel of each channel a standard normal number, "mean" 0.
        keys: int64 `(N,)`: of the noise.
        step: where the noise begins among the numbers of a key.

    Returns:
        `images`.
    """
    chosen = boxes[:, 2].nonzero().view(-1)
    if not len(chosen):
        return images
    device = images.device
    channels, height, width = images.shape[1:]
    top, left, tall, wide = boxes[chosen].to(device).unbind(1)
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    inside_rows = (rows >= top[:, None]) & (rows < (top + tall)[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
    which, row, column = (inside_rows[:, :, None] & inside_columns[:, None, :]).nonzero().unbind(1)
    chosen = chosen.to(device)
    pixels = images.permute(0, 2, 3, 1)
    place = (chosen[which], row, column)
    if fill == "mean":
        pixels[place] = 0.0
        return images
    pairs = -(-channels // 2)
    steps = (row * width + column).mul_(pairs).add_(step).view(-1, 1) + torch.arange(pairs, device=device)
    noise = normal(keys.to(device)[place[0]].view(-1, 1), steps)
    pixels[place] = noise.flatten(1)[:, :channels].to(images.dtype)
    return images
