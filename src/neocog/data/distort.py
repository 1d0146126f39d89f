"""Affine distortions of training images, in batches: turned, moved, scaled, squeezed, sheared (LeCun et al. 1998)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

DRAWS = 6
"""Numbers that one image's distortion takes: one for each field, and two for the translation."""


class Affine(BaseModel):
    """How far an image may be distorted; each amount is drawn uniformly, and 0 leaves it out.

    LeCun et al. 1998, section III.A: "planar affine transformations" of handwritten digits, namely translation,
    scaling, squeezing and horizontal shearing. What comes in from outside the image is black.

    Attributes:
        rotate: degrees, either way.
        translate: share of the side, each way, horizontally and vertically by its own draw.
        scale: s stands for a factor between 1 / (1 + s) and 1 + s, uniform in its logarithm.
        squeeze: likewise the factor by which the width grows while the height shrinks, or the reverse.
        shear: how far a row moves sideways for each row of distance from the middle, either way.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    rotate: float = Field(0.0, ge=0, le=180)
    translate: float = Field(0.0, ge=0, lt=1)
    scale: float = Field(0.0, ge=0)
    squeeze: float = Field(0.0, ge=0)
    shear: float = Field(0.0, ge=0)

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.rotate or self.translate or self.scale or self.squeeze or self.shear)


def affine_matrices(draws: Tensor, affine: Affine, height: int, width: int) -> Tensor:
    """Return where each image's pixels go: `(N, 2, 3)`, of (x, y, 1) in pixels from the image's middle to (x, y).

    A point is first sheared, then squeezed and scaled, then turned, then moved.

    Args:
        draws: `(N, DRAWS)` in [0, 1).
        affine: the greatest amounts.
        height: of the image, pixels.
        width: of the image, pixels.
    """
    turn, right, down, size, aspect, slant = (2 * draws.to(torch.float64) - 1).unbind(1)
    angle = math.radians(affine.rotate) * turn
    cosine, sine = angle.cos(), angle.sin()
    wide = torch.exp(math.log1p(affine.scale) * size + math.log1p(affine.squeeze) * aspect)
    tall = torch.exp(math.log1p(affine.scale) * size - math.log1p(affine.squeeze) * aspect)
    shear = wide * affine.shear * slant
    rows = (
        torch.stack([cosine * wide, cosine * shear - sine * tall, affine.translate * width * right], dim=1),
        torch.stack([sine * wide, sine * shear + cosine * tall, affine.translate * height * down], dim=1),
    )
    return torch.stack(rows, dim=1)


def distort(images: Tensor, matrices: Tensor) -> Tensor:
    """Move the pixels of each image as its matrix says, by bilinear interpolation.

    Args:
        images: uint8 `(N, C, H, W)`, on any device.
        matrices: `(N, 2, 3)`, from `affine_matrices`; invertible.

    Returns:
        uint8 `(N, C, H, W)`.
    """
    height, width = images.shape[2:]
    linear = torch.linalg.inv(matrices[:, :, :2])
    shift = -linear @ matrices[:, :, 2:]
    # From pixels to the coordinates of `grid_sample`, which run from -1 to 1 over width and height.
    half = matrices.new_tensor([width / 2, height / 2])
    theta = torch.cat([linear * half / half[:, None], shift / half[:, None]], dim=2)
    grid = F.affine_grid(theta.to(images.device, torch.float32), list(images.shape), align_corners=False)
    moved = F.grid_sample(images.to(torch.float32), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved.round_().to(torch.uint8)
