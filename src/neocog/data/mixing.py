"""Blending the images of a batch: MixUp and CutMix, drawn from the batch's own key."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from neocog.data._fields import ABOVE_ZERO, Readers


class Mixing(BaseModel):
    """How the images of a batch are blended in pairs, and their targets with them; one draw a batch.

    Attributes:
        mixup: alpha of the Beta distribution of the share that an image keeps (Zhang et al. 2017); 0 leaves it out.
        cutmix: alpha of the one of the area that it keeps, the rest being a box of its partner (Yun et al. 2019).
        switch: probability of CutMix where both are on.
        probability: of blending a batch at all, where either is on.

    A `Recipe` refuses one of the last two that is set and never counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    READERS: ClassVar[Readers] = {
        "switch": ({"mixup": ABOVE_ZERO, "cutmix": ABOVE_ZERO},),
        "probability": ({"mixup": ABOVE_ZERO}, {"cutmix": ABOVE_ZERO}),
    }

    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0)
    switch: float = Field(0.5, ge=0, le=1)
    probability: float = Field(1.0, ge=0, le=1)

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return bool((self.mixup or self.cutmix) and self.probability)


def mix(images: Tensor, targets: Tensor, mixing: Mixing, key: int, classes: int) -> tuple[Tensor, Tensor]:
    """Blend each image of a batch with the one at the same place from the end, in place, and the targets likewise.

    MixUp adds images in shares of λ and 1 - λ (Zhang et al. 2017, section 2). CutMix pastes a box of the partner of the
    area 1 - λ, at a uniform place, of which counts what lies within the image (Yun et al. 2019, section 3.1). One λ
    serves the whole batch, and pairs are as timm's.

    Args:
        images: float32 `(N, C, H, W)`, on any device.
        targets: classes int64 `(N,)`, or shares `(N, K)`.
        mixing: what to do, and how often.
        key: decides all draws; of `neocog.data.keys.hash_key`.
        classes: K.

    Returns:
        `images`, and targets float32 `(N, K)` that add up to what they did before: also where, by chance, nothing is
        blended.
    """
    shares = F.one_hot(targets, classes) if targets.ndim == 1 else targets
    shares = shares.to(torch.float32)
    kept, box = draw_mix(mixing, key, images.shape[2], images.shape[3])
    if kept == 1:
        return images, shares
    partners = images.flip(0)
    if box is None:
        images.lerp_(partners, 1 - kept)
    else:
        inside = (..., slice(box[0], box[1]), slice(box[2], box[3]))
        images[inside] = partners[inside]
    return images, torch.lerp(shares, shares.flip(0), 1 - kept)


def draw_mix(mixing: Mixing, key: int, height: int, width: int) -> tuple[float, tuple[int, int, int, int] | None]:
    """Return how a batch is blended: the share that an image keeps, and for CutMix the box of its partner.

    Args:
        mixing: the distributions.
        key: decides the draws.
        height: of the images, pixels.
        width: of the images, pixels.

    Returns:
        The share, 1 for no blending; top, bottom, left and right of the box, in pixels, or None for MixUp.
    """
    # The legacy generator is one whose numbers NumPy promises never to change.
    generator = np.random.RandomState([key & 0xFFFFFFFF, (key >> 32) & 0xFFFFFFFF])
    whether, switch, down, across = generator.random_sample(4)
    if not mixing.changes or whether >= mixing.probability:
        return 1.0, None
    cuts = not mixing.mixup or (mixing.cutmix > 0 and switch < mixing.switch)
    alpha = mixing.cutmix if cuts else mixing.mixup
    kept = float(generator.beta(alpha, alpha))
    if not cuts:
        return kept, None
    side = math.sqrt(1 - kept)
    tall, wide = int(height * side), int(width * side)
    y, x = int(down * height), int(across * width)
    top, bottom = max(y - tall // 2, 0), min(y + (tall + 1) // 2, height)
    left, right = max(x - wide // 2, 0), min(x + (wide + 1) // 2, width)
    return 1 - (bottom - top) * (right - left) / (height * width), (top, bottom, left, right)
