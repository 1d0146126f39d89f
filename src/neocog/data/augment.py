"""How training images vary: random crops, distortion, mirroring and colour, drawn from each image's own key.

Small images are varied in batches, as uint8 tensors on the training device. Of a photograph the crop is cut and
resized by Pillow as it is decoded (`neocog.data.streaming`), with the same `crop_boxes`; the rest happens here.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from neocog.data import distort, erase, policies
from neocog.data._fields import ABOVE_ZERO, Readers
from neocog.data.color import jitter, lighting
from neocog.data.crops import REFERENCE_SIDE, TRIES, Sides, mirror, resized_boxes, scaled_boxes, shift
from neocog.data.distort import Affine
from neocog.data.keys import normal, uniform
from neocog.data.operations import Round, operate
from neocog.data.preprocess import Preprocessing
from neocog.data.resampling import Interpolation, resize, resize_boxes

__all__ = ["Affine", "Augmentation", "Interpolation", "augment", "crop_boxes", "draw", "finish", "vary_cropped"]

# Columns of an image's draws. A column keeps its meaning whatever else is switched on, so that two runs that
# differ in one setting differ in nothing else. The policy's are last, because their number varies.
_FLIP, _TOP, _LEFT, _BRIGHTNESS, _CONTRAST, _SATURATION, _SHAPES = range(7)
_AFFINE = _SHAPES + 2 * TRIES
_SIDE = _AFFINE + distort.DRAWS
_POLICY = _SIDE + 1
# What is done after normalisation draws apart, in the process that normalises.
_LIGHTING = 1 << 20
_ERASE = _LIGHTING + 2
_NOISE = 1 << 21


class Augmentation(BaseModel):
    """Random changes of training images, in the order of the fields; the last two kinds come after normalisation.

    Attributes:
        crop: "random_resized" takes a box of random area, shape and place and resizes it to the input ("Going
            deeper with convolutions", Szegedy et al. 2015, section 6); "pad" surrounds the preprocessed image
            with `pad` black pixels and cuts the input's size at a random place (He et al. 2015, section 4.2);
            "scale" resizes the shorter side to a random one of `sides` and cuts the input's size at a random place
            (Krizhevsky et al. 2012, section 4.1; Simonyan and Zisserman 2014, section 3.1); "none" leaves the image as
            evaluation sees it.
        scale: for "random_resized": least and greatest area of the box, as shares of the image.
        ratio: for "random_resized": least and greatest width / height of the box.
        pad: for "pad": pixels on each side, at most 256.
        sides: for "scale": least and greatest length of the shorter side, in pixels for an input of 224; for another
            input in proportion.
        affine: distortions, such as those of LeCun et al. (1998).
        flip: probability of mirroring left and right.
        policy: "randaugment" (Cubuk et al. 2019), "trivialaugment" (Müller and Hutter 2021) or "autoaugment", the one
            found for ImageNet (Cubuk et al. 2018), with torchvision's operations and ranges; "none".
        policy_ops: for "randaugment": operations an image, at most 16.
        policy_magnitude: for "randaugment": strength of all operations, of 30.
        brightness: the image is multiplied by a factor in [1 - brightness, 1 + brightness].
        contrast: it is moved from its mean grey by such a factor.
        saturation: its colours are moved from grey by such a factor.
        lighting: deviation of the shares of ImageNet's principal colours that are added, 0.1 in the paper (Krizhevsky
            et al. 2012, section 4.1). To grey images their mean is added.
        erase: probability of painting a box over (Zhong et al. 2017).
        erase_area: least and greatest area of that box, as shares of the image.
        erase_fill: what it is painted with: normal noise a pixel, or the mean colour.

    A field that is for a crop, a policy or erasing counts where that is chosen; a `Recipe` refuses one that is set and
    never counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    READERS: ClassVar[Readers] = {
        "scale": ({"crop": ("random_resized",)},),
        "ratio": ({"crop": ("random_resized",)},),
        "pad": ({"crop": ("pad",)},),
        "sides": ({"crop": ("scale",)},),
        "policy_ops": ({"policy": ("randaugment",)},),
        "policy_magnitude": ({"policy": ("randaugment",)},),
        "erase_area": ({"erase": ABOVE_ZERO},),
        "erase_fill": ({"erase": ABOVE_ZERO},),
    }

    crop: Literal["none", "random_resized", "pad", "scale"] = "random_resized"
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    pad: int = Field(4, ge=0, le=256)
    sides: tuple[int, int] = (256, 256)
    affine: Affine = Affine()
    flip: float = Field(0.5, ge=0, le=1)
    policy: Literal["none", "randaugment", "trivialaugment", "autoaugment"] = "none"
    policy_ops: int = Field(2, ge=1, le=16)
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
        if not REFERENCE_SIDE <= self.sides[0] <= self.sides[1]:
            raise ValueError(f"sides must be two lengths from {REFERENCE_SIDE} on, least first, not {self.sides}")
        if not 0 < self.erase_area[0] <= self.erase_area[1] <= 1:
            raise ValueError(f"erase_area must be two shares of the area in (0, 1], least first, not {self.erase_area}")
        return self

    @property
    def finishes(self) -> bool:
        """Whether there is anything to do after normalisation, by `finish`."""
        return bool(self.lighting or self.erase)


def draw(keys: Tensor, augmentation: Augmentation) -> Tensor:
    """Return all that `augmentation` draws for images with these keys, but for what `finish` does.

    Args:
        keys: int64 `(N,)`, from `neocog.data.keys.hash_key`.
        augmentation: decides how many draws are needed.

    Returns:
        float64 `(N, draws)` in [0, 1), the argument of the other functions.
    """
    if augmentation.policy != "none":
        return uniform(keys, _POLICY + _rounds(augmentation) * policies.DRAWS)
    if augmentation.crop == "scale":
        return uniform(keys, _POLICY)
    if augmentation.affine.changes:
        return uniform(keys, _SIDE)
    return uniform(keys, _AFFINE if augmentation.crop == "random_resized" else _SHAPES)


def augment(
    images: Tensor,
    draws: Tensor,
    augmentation: Augmentation,
    interpolation: Interpolation,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Crop, distort, mirror and recolour a batch of preprocessed images.

    Args:
        images: uint8 `(N, C, H, W)`, on any device.
        draws: float64 `(N, draws)` on the CPU, from `draw`.
        augmentation: what to do.
        interpolation: filter of all resizing.
        size: height and width of the result; None for those of the images.

    Returns:
        uint8 `(N, C, h, w)`, contiguous, on the device of `images`.
    """
    size = size or (images.shape[2], images.shape[3])
    if augmentation.crop in ("random_resized", "scale"):
        boxes = crop_boxes(draws.numpy(), images.shape[2], images.shape[3], augmentation, size)
        return vary_cropped(resize_boxes(images, boxes, interpolation, size), draws, augmentation)
    images = resize(images, size, interpolation)
    if augmentation.crop == "none":
        return vary_cropped(images, draws, augmentation)
    places = draws[:, (_TOP, _LEFT)]
    if augmentation.affine.changes:
        return vary_cropped(shift(images, places, augmentation.pad), draws, augmentation)
    images = shift(images, places, augmentation.pad, draws[:, _FLIP] < augmentation.flip)
    return _recolour(images, draws, augmentation)


def vary_cropped(images: Tensor, draws: Tensor, augmentation: Augmentation) -> Tensor:
    """Distort, mirror and recolour a batch of images that are cropped already; arguments as those of `augment`."""
    if augmentation.affine.changes:
        columns = draws[:, _AFFINE : _AFFINE + distort.DRAWS]
        matrices = distort.affine_matrices(columns, augmentation.affine, *images.shape[2:])
        images = distort.distort(images, matrices)
    if augmentation.flip:
        images = mirror(images, draws[:, _FLIP] < augmentation.flip)
    return _recolour(images, draws, augmentation)


def crop_boxes(
    draws: npt.NDArray[np.float64],
    height: Sides,
    width: Sides,
    augmentation: Augmentation,
    size: tuple[int, int] | None = None,
) -> npt.NDArray[np.float64]:
    """Return the box of each image that becomes the input, for the crops that resize.

    Args:
        draws: `(N, draws)`, from `draw`.
        height: of the images, in pixels: one number, or `(N,)`.
        width: likewise.
        augmentation: `crop` is "random_resized" or "scale".
        size: height and width of the input; "scale" must know them.

    Returns:
        `(N, 4)`: top, left, height and width, in pixels, within the image; whole numbers for "random_resized".
    """
    places = draws[:, (_TOP, _LEFT)]
    if augmentation.crop == "scale" and size is not None:
        return scaled_boxes(draws[:, _SIDE], places, height, width, size, augmentation.sides)
    shapes = draws[:, _SHAPES:_AFFINE]
    return resized_boxes(shapes, places, height, width, augmentation.scale, augmentation.ratio)


def finish(images: Tensor, keys: Tensor, augmentation: Augmentation, preprocessing: Preprocessing) -> Tensor:
    """Do, in place, what is done after normalisation: lighting and erasing.

    Args:
        images: float32 `(N, C, H, W)`, normalised, on any device.
        keys: int64 `(N,)` on the CPU: those of `draw`.
        augmentation: what to do.
        preprocessing: how the images were normalised.

    Returns:
        `images`.
    """
    if augmentation.lighting:
        steps = torch.arange(_LIGHTING, _LIGHTING + 2)
        shares = normal(keys.view(-1, 1), steps).flatten(1)[:, :3] * augmentation.lighting
        colours = lighting(shares) / torch.tensor(preprocessing.std, dtype=torch.float32)
        if images.shape[1] == 1:  # a grey image becomes as much lighter as its colours would on average
            colours = colours.mean(1, keepdim=True)
        images += colours.to(images.device).view(*colours.shape, 1, 1)
    if augmentation.erase:
        draws = uniform(keys, erase.DRAWS, _ERASE)
        height, width = images.shape[2:]
        boxes = erase.erased_boxes(draws, height, width, augmentation.erase, augmentation.erase_area)
        erase.erase(images, boxes, augmentation.erase_fill, keys, _NOISE)
    return images


def _recolour(images: Tensor, draws: Tensor, augmentation: Augmentation) -> Tensor:
    if augmentation.policy != "none":
        images = operate(images, _policy(draws, augmentation, *images.shape[2:]))

    def factors(column: int, strength: float) -> Tensor | None:
        return 1 + strength * (2 * draws[:, column] - 1) if strength else None

    if augmentation.brightness or augmentation.contrast or augmentation.saturation:
        images = jitter(
            images,
            factors(_BRIGHTNESS, augmentation.brightness),
            factors(_CONTRAST, augmentation.contrast),
            factors(_SATURATION, augmentation.saturation),
        )
    return images


def _rounds(augmentation: Augmentation) -> int:
    return {"randaugment": augmentation.policy_ops, "autoaugment": 2}.get(augmentation.policy, 1)


def _policy(draws: Tensor, augmentation: Augmentation, height: int, width: int) -> list[Round]:
    columns = draws[:, _POLICY:]
    if augmentation.policy == "randaugment":
        ops, magnitude = augmentation.policy_ops, augmentation.policy_magnitude
        return policies.random_rounds(columns, height, width, ops, magnitude)
    if augmentation.policy == "trivialaugment":
        return policies.trivial_rounds(columns, height, width)
    return policies.auto_rounds(columns, height, width)
