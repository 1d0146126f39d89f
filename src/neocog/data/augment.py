"""How training images vary: random crops, distortion, mirroring and colour, drawn from each image's own key.

Small images are varied in batches, as uint8 tensors on the training device. Of a photograph the crop is cut and
resized by Pillow as it is decoded (`neocog.data.streaming`), with the same `crop_boxes`; the rest happens here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn.functional import pad

from neocog.data.distort import DRAWS, Affine, affine_matrices, distort
from neocog.data.keys import uniform

# Columns of an image's draws. A column keeps its meaning whatever else is switched on, so that two runs that
# differ in one setting differ in nothing else.
_FLIP, _TOP, _LEFT, _BRIGHTNESS, _CONTRAST, _SATURATION, _ATTEMPTS = range(7)
_TRIES = 10  # shapes that a random-resized crop tries before it falls back on the centre, as torchvision does
_AFFINE = _ATTEMPTS + 2 * _TRIES

_GREY = (0.299, 0.587, 0.114)  # luma of ITU-R 601, Pillow's grey

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


class Augmentation(BaseModel):
    """Random changes of training images, made before normalisation, in the order of the fields.

    Attributes:
        crop: "random_resized" takes a box of random area, shape and place and resizes it to the input ("Going
            deeper with convolutions", Szegedy et al. 2015, section 6); "pad" surrounds the preprocessed image
            with `pad` black pixels and cuts the input's size at a random place (He et al. 2015, section 4.2);
            "scale" resizes the shorter side to a random one of `sides` and cuts the input's size at a random place
            (Krizhevsky et al. 2012, section 4.1; Simonyan and Zisserman 2014, section 3.1); "none" leaves the image as
            evaluation sees it.
        scale: for "random_resized": least and greatest area of the box, as shares of the image.
        ratio: for "random_resized": least and greatest width / height of the box.
        pad: for "pad": pixels on each side.
        sides: for "scale": least and greatest length of the shorter side, in pixels for an input of 224; for another
            input in proportion.
        affine: distortions, such as those of LeCun et al. (1998).
        flip: probability of mirroring left and right.
        policy: "randaugment" (Cubuk et al. 2019), "trivialaugment" (Müller and Hutter 2021) or "autoaugment", the one
            found for ImageNet (Cubuk et al. 2018), with torchvision's operations and ranges; "none".
        policy_ops: for "randaugment": operations an image.
        policy_magnitude: for "randaugment": strength of all operations, of 30.
        brightness: the image is multiplied by a factor in [1 - brightness, 1 + brightness].
        contrast: it is moved from its mean grey by such a factor.
        saturation: its colours are moved from grey by such a factor.
        lighting: deviation of the shares of ImageNet's principal colours that are added (Krizhevsky et al. 2012,
            section 4.1).
        erase: probability of painting a box over, after normalisation (Zhong et al. 2017).
        erase_area: least and greatest area of that box, as shares of the image.
        erase_fill: what it is painted with: normal noise a pixel, or the mean colour.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    crop: Literal["none", "random_resized", "pad", "scale"] = "random_resized"
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    pad: int = Field(4, ge=0)
    sides: tuple[int, int] = (256, 256)
    affine: Affine = Affine()
    flip: float = Field(0.5, ge=0, le=1)
    policy: Literal["none", "randaugment", "trivialaugment", "autoaugment"] = "none"
    policy_ops: int = Field(2, ge=1)
    policy_magnitude: float = Field(9, ge=0, le=30)
    brightness: float = Field(0.0, ge=0, le=1)
    contrast: float = Field(0.0, ge=0, le=1)
    saturation: float = Field(0.0, ge=0, le=1)
    lighting: float = Field(0.0, ge=0)
    erase: float = Field(0.0, ge=0, le=1)
    erase_area: tuple[float, float] = (0.02, 1 / 3)
    erase_fill: Literal["noise", "mean"] = "noise"

    @model_validator(mode="after")
    def _check(self) -> Augmentation:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be two shares of the area in (0, 1], least first, not {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must be two numbers above 0, least first, not {self.ratio}")
        return self


def draw(keys: Tensor, augmentation: Augmentation) -> Tensor:
    """Return all that `augmentation` draws for images with these keys.

    Args:
        keys: int64 `(N,)`, from `neocog.data.keys.hash_key`.
        augmentation: decides how many draws are needed.

    Returns:
        float64 `(N, draws)` in [0, 1), the argument of the other functions.
    """
    if augmentation.affine.changes:
        return uniform(keys, _AFFINE + DRAWS)
    return uniform(keys, _AFFINE if augmentation.crop == "random_resized" else _ATTEMPTS)


def augment(images: Tensor, draws: Tensor, augmentation: Augmentation, interpolation: Interpolation) -> Tensor:
    """Crop, distort, mirror and recolour a batch of preprocessed images.

    Args:
        images: uint8 `(N, C, H, W)`, on any device.
        draws: float64 `(N, draws)` on the CPU, from `draw`.
        augmentation: what to do.
        interpolation: filter of "random_resized" crops.

    Returns:
        uint8 `(N, C, H, W)`, contiguous, on the device of `images`.
    """
    if augmentation.crop == "pad":
        images = _shift(images, draws, augmentation.pad)
    elif augmentation.crop == "random_resized":
        boxes = crop_boxes(draws.numpy(), images.shape[2], images.shape[3], augmentation)
        images = resize_boxes(images, boxes, interpolation)
    return vary_cropped(images, draws, augmentation)


def vary_cropped(images: Tensor, draws: Tensor, augmentation: Augmentation) -> Tensor:
    """Distort, mirror and recolour a batch of images that are cropped already; arguments as those of `augment`."""
    if augmentation.affine.changes:
        columns = draws[:, _AFFINE : _AFFINE + DRAWS]
        images = distort(images, affine_matrices(columns, augmentation.affine, *images.shape[2:]))
    if augmentation.flip:
        chosen = (draws[:, _FLIP] < augmentation.flip).to(images.device)
        places = torch.arange(len(images), device=images.device) + len(images) * chosen
        images = torch.cat([images, images.flip(-1)]).index_select(0, places)
    if augmentation.brightness or augmentation.contrast or augmentation.saturation:
        images = _jitter(images, draws, augmentation)
    return images


def crop_boxes(
    draws: npt.NDArray[np.float64], height: int, width: int, augmentation: Augmentation
) -> npt.NDArray[np.int64]:
    """Return a random-resized crop's box for each image of `height` x `width` pixels.

    The area is uniform, the logarithm of the ratio is uniform, and so is the place. After ten boxes that would
    not fit, the largest box of an allowed ratio is taken from the centre. This is the distribution of
    torchvision's `RandomResizedCrop`.

    Args:
        draws: `(N, draws)`, from `draw`.
        height: of the image, in pixels.
        width: of the image, in pixels.
        augmentation: gives `scale` and `ratio`.

    Returns:
        `(N, 4)`: top, left, height and width, in pixels, within the image.
    """
    (least_area, most_area), (least_ratio, most_ratio) = augmentation.scale, augmentation.ratio
    areas, ratios = draws[:, _ATTEMPTS:_AFFINE:2], draws[:, _ATTEMPTS + 1 : _AFFINE : 2]
    areas = height * width * (least_area + (most_area - least_area) * areas)
    ratios = np.exp(math.log(least_ratio) + math.log(most_ratio / least_ratio) * ratios)
    widths, heights = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)

    ratio = min(max(width / height, least_ratio), most_ratio)
    first, fallen = fits.argmax(1)[:, None], ~fits.any(1)
    wide = np.take_along_axis(widths, first, 1)[:, 0]
    tall = np.take_along_axis(heights, first, 1)[:, 0]
    wide[fallen] = max(1, min(width, round(height * ratio)))
    tall[fallen] = max(1, min(height, round(width / ratio)))
    top = np.where(fallen, (height - tall) // 2, np.floor(draws[:, _TOP] * (height - tall + 1)))
    left = np.where(fallen, (width - wide) // 2, np.floor(draws[:, _LEFT] * (width - wide + 1)))
    return np.stack([top, left, tall, wide], axis=1).astype(np.int64)


def resize_boxes(images: Tensor, boxes: npt.NDArray[np.int64], interpolation: Interpolation) -> Tensor:
    """Resize a box of each image to the images' own size, as Pillow does.

    Resampling is one matrix for the rows and one for the columns of each image, and so two batched matrix
    products for the batch. Like Pillow, the filter looks beyond the box where the image goes on, and the result
    of each product is rounded to eight bits.

    Args:
        images: uint8 `(N, C, H, W)`.
        boxes: `(N, 4)`, from `crop_boxes`.
        interpolation: the filter.
    """
    tops, lefts, heights, widths = torch.from_numpy(boxes).to(images.device, torch.float32).unbind(1)
    columns = _resampling(lefts, widths, images.shape[3], interpolation)
    rows = _resampling(tops, heights, images.shape[2], interpolation)
    widened = _stretch(images.to(torch.float32), columns)
    return _stretch(widened.transpose(2, 3), rows).transpose(2, 3).to(torch.uint8).contiguous()


def _stretch(images: Tensor, matrices: Tensor) -> Tensor:
    """Multiply each row of an image with the image's matrix, and round to whole numbers from 0 to 255.

    Halves are rounded up, not to even as `round` would: an exact half is common where an image is doubled.
    """
    rows = images.flatten(1, 2)
    return torch.bmm(rows, matrices).add_(0.5).floor_().clamp_(0, 255).view(images.shape)


def _resampling(starts: Tensor, lengths: Tensor, size: int, interpolation: Interpolation) -> Tensor:
    """Return matrices `(N, size, size)` whose column i holds the weights of the pixels that make pixel i.

    They stretch `lengths` pixels from `starts` to `size` pixels. A box is never longer than the image that it is
    resized to, so that the filters need no widening.
    """
    pixels = torch.arange(size, dtype=torch.float32, device=starts.device)
    centres = starts.view(-1, 1, 1) + (pixels + 0.5) * lengths.view(-1, 1, 1) / size - 0.5
    weights = _FILTERS[interpolation](pixels.view(-1, 1) - centres)
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


def _shift(images: Tensor, draws: Tensor, border: int) -> Tensor:
    """Pad `(N, C, H, W)` with zeros on all sides and cut the original size from a random place.

    Every row of the result is a run of W bytes in the padded batch: one gather of rows, at any of their
    starting points, shifts both ways at once.
    """
    count, channels, height, width = images.shape
    padded = pad(images, (border, border, border, border))
    top, left = (draws[:, (_TOP, _LEFT)] * (2 * border + 1)).floor().to(torch.int64).unbind(1)
    stride = padded.shape[3]
    plane = padded.shape[2] * stride
    starts = (top * stride + left).view(-1, 1, 1)
    starts = starts + torch.arange(count * channels).view(count, channels, 1) * plane
    starts = starts + torch.arange(height) * stride
    runs = padded.as_strided((padded.numel() - width + 1, width), (1, 1))
    return runs.index_select(0, starts.view(-1).to(images.device)).view(images.shape)


def _jitter(images: Tensor, draws: Tensor, augmentation: Augmentation) -> Tensor:
    """Change brightness, then contrast, then saturation, each by its own factor for each image."""

    def factors(column: int, strength: float) -> Tensor:
        spread = 1 + strength * (2 * draws[:, column] - 1)
        return spread.to(images.device, torch.float32).view(-1, 1, 1, 1)

    pixels = images.to(torch.float32)
    if augmentation.brightness:
        pixels = (pixels * factors(_BRIGHTNESS, augmentation.brightness)).clamp_(0, 255)
    if augmentation.contrast:
        mean = _grey(pixels).mean((2, 3), keepdim=True)
        pixels = torch.lerp(mean, pixels, factors(_CONTRAST, augmentation.contrast)).clamp_(0, 255)
    if augmentation.saturation:
        grey = _grey(pixels)
        pixels = torch.lerp(grey, pixels, factors(_SATURATION, augmentation.saturation)).clamp_(0, 255)
    return pixels.round_().to(torch.uint8)


def _grey(pixels: Tensor) -> Tensor:
    """Return the luma `(N, 1, H, W)` of RGB images; grey images are their own."""
    if pixels.shape[1] == 1:
        return pixels
    weights = torch.tensor(_GREY, device=pixels.device).view(1, 3, 1, 1)
    return (pixels * weights).sum(1, keepdim=True)
