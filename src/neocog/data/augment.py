"""How training images vary: random crops, distortion, mirroring and colour, drawn from each image's own key.

Small images are varied in batches, as uint8 tensors on the training device. Of a photograph the crop is cut and
resized by Pillow as it is decoded (`neocog.data.streaming`), with the same `crop_boxes`; the rest happens here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neocog.data import crops, distort, erase, policies
from neocog.data.augmentation import Augmentation
from neocog.data.color import jitter, lighting
from neocog.data.crops import TRIES, Sides, mirror, resized_boxes, scaled_boxes
from neocog.data.distort import Affine
from neocog.data.hue import turn_hue
from neocog.data.keys import hash_key, normal, uniform
from neocog.data.operations import Round, operate
from neocog.data.preprocess import Preprocessing
from neocog.data.resampling import Interpolation, resize, resize_boxes

__all__ = ["Affine", "Augmentation", "Interpolation", "augment", "crop_boxes", "draw", "draw_in_epoch"]
__all__ += ["finish", "vary_cropped"]

# Columns of an image's draws. A column keeps its meaning whatever else is switched on, so that two runs that
# differ in one setting differ in nothing else. The policy's are last, because their number varies.
_FLIP, _TOP, _LEFT, _BRIGHTNESS, _CONTRAST, _SATURATION, _SHAPES = range(7)
_AFFINE = _SHAPES + 2 * TRIES
_SIDE = _AFFINE + distort.DRAWS
_POLICY = _SIDE + 1
# The hue's stands apart, since no number is free before the policy's: the last column where there is a hue to turn.
_HUE = 1 << 19
# What is done after normalisation draws apart, in the process that normalises.
_LIGHTING = 1 << 20
_ERASE = _LIGHTING + 2
_NOISE = 1 << 21


def draw(keys: Tensor, augmentation: Augmentation) -> Tensor:
    """Return all that `augmentation` draws for images with these keys, but for what `finish` does.

    Args:
        keys: int64 `(N,)`, from `neocog.data.keys.hash_key`.
        augmentation: decides how many draws are needed.

    Returns:
        float64 `(N, draws)` in [0, 1), the argument of the other functions.
    """
    if augmentation.policy != "none":
        count = _POLICY + _rounds(augmentation) * policies.DRAWS
    elif augmentation.crop == "scale":
        count = _POLICY
    elif augmentation.affine.changes:
        count = _SIDE
    else:
        count = _AFFINE if augmentation.crop == "random_resized" else _SHAPES
    draws = uniform(keys, count)
    return torch.cat([draws, uniform(keys, 1, _HUE)], 1) if augmentation.hue else draws


def draw_in_epoch(key: tuple[int, int], indices: Tensor, copies: int | Tensor, augmentation: Augmentation) -> Tensor:
    """Return all that `augmentation` draws for images in an epoch: as `draw`, and whose turn it is to be mirrored.

    Args:
        key: (seed, epoch).
        indices: int64 `(N,)`, of the images.
        copies: which view or repetition of its image each is: one for all, or int64 `(N,)`.
        augmentation: decides how many draws are needed.

    Returns:
        float64 `(N, draws)` in [0, 1), the argument of the other functions.
    """
    seed, epoch = key
    draws = draw(hash_key(seed, epoch, indices, copies), augmentation)
    if augmentation.alternate:
        first = uniform(hash_key(seed, 0, indices, copies), 1, _FLIP)[:, 0]
        # What (first + 1/2) mod 1 is, without the rounding of a sum above 1.
        draws[:, _FLIP] = torch.where(first < 0.5, first + 0.5, first - 0.5) if epoch % 2 else first
    return draws


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
    resized = resize(images, size, interpolation)
    if augmentation.crop == "none":
        return vary_cropped(
            resized.clone(memory_format=torch.contiguous_format) if resized is images else resized, draws, augmentation
        )
    images = resized
    places = draws[:, (_TOP, _LEFT)]
    shift = crops.shift_reflected if augmentation.border == "reflect" else crops.shift
    if augmentation.affine.changes:
        return vary_cropped(shift(images, places, augmentation.pad), draws, augmentation)
    images = shift(images, places, augmentation.pad, draws[:, _FLIP] < augmentation.flip)
    return _recolour(images, draws, augmentation)


def vary_cropped(images: Tensor, draws: Tensor, augmentation: Augmentation) -> Tensor:
    """Distort, mirror and recolour a batch of images that are cropped already; arguments as those of `augment`.

    `images` may be written to.
    """
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
            out=images,
        )
    if augmentation.hue:
        images = turn_hue(images, augmentation.hue * (2 * draws[:, -1] - 1))
    return images


def _rounds(augmentation: Augmentation) -> int:
    return {"randaugment": augmentation.policy_ops, "autoaugment": 2}.get(augmentation.policy, 1)


def _policy(draws: Tensor, augmentation: Augmentation, height: int, width: int) -> list[Round]:
    columns = draws[:, _POLICY : _POLICY + _rounds(augmentation) * policies.DRAWS]
    if augmentation.policy == "randaugment":
        ops, magnitude = augmentation.policy_ops, augmentation.policy_magnitude
        return policies.random_rounds(columns, height, width, ops, magnitude)
    if augmentation.policy == "trivialaugment":
        return policies.trivial_rounds(columns, height, width)
    return policies.auto_rounds(columns, height, width)
