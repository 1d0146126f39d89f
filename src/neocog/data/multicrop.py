"""Multi-crop: several views of each image, few large ones of most of it and many small ones of a part.

For learning without labels: a network is asked to say of the small ones what it says of the large ones (Caron et al.
2020, "Unsupervised learning of visual features by contrasting cluster assignments", section 3.2; Caron et al. 2021,
"Emerging properties in self-supervised vision transformers", section 3.1).

    >>> views = MultiCrop()                                       # 2 of 224 pixels, 6 of 96
    >>> large, small = views.cut(images, indices, (seed, epoch), Augmentation())
    >>> large.shape, small.shape
    (torch.Size([64, 3, 224, 224]), torch.Size([192, 3, 96, 96]))  # of 32 images

Views of one size are one batch, since a network takes one size at a time: all images' first views, then all their
second ones, so that `batch.chunk(count)` gives them one by one. A view is varied by the key (seed, epoch, index, copy)
like any other training image, where copy counts an image's views over all sizes, from 0. So a view depends neither on
the batch that it is in nor on how many views of other sizes come after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from neocog.data.augment import Augmentation, augment, draw_in_epoch
from neocog.data.resampling import Interpolation
from neocog.data.streaming import Look, Request
from neocog.errors import UsageError

__all__ = ["Crops", "MultiCrop"]

_SETTINGS = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class Crops(BaseModel):
    """Views of one size.

    Attributes:
        count: views of each image.
        side: of the square that a view is, in pixels.
        scale: least and greatest area of the box that is cut, as shares of the image.
    """

    model_config = _SETTINGS

    count: int = Field(ge=1)
    side: int = Field(ge=1)
    scale: tuple[float, float]

    @model_validator(mode="after")
    def _check(self) -> Crops:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be two shares of the area in (0, 1], least first, not {self.scale}")
        return self


class MultiCrop(BaseModel):
    """Which views there are of each image.

    Attributes:
        crops: of each size; two large and six small ones as in SwAV, with the shares of the area that the code of DINO
            has by default.
    """

    model_config = _SETTINGS

    crops: tuple[Crops, ...] = Field(
        (Crops(count=2, side=224, scale=(0.4, 1.0)), Crops(count=6, side=96, scale=(0.05, 0.4))), min_length=1
    )

    @property
    def views(self) -> int:
        """Number of views of an image."""
        return sum(crops.count for crops in self.crops)

    def looks(self, look: Look) -> list[Look]:
        """Return for each size how its views are made: as `look` says, but for their size and scale.

        Raises:
            UsageError: `look` cuts otherwise than by `crop="random_resized"`.
        """
        if look.augmentation.crop != "random_resized":
            raise UsageError(
                f"views are random resized crops, and the augmentation says crop={look.augmentation.crop!r}; "
                "leave crop at 'random_resized'"
            )
        return [
            Look(
                look.preprocessing.model_copy(update={"size": (crops.side, crops.side)}),
                look.augmentation.model_copy(update={"scale": crops.scale}),
            )
            for crops in self.crops
        ]

    def requests(self, indices: Sequence[int], key: tuple[int, int], look: Look) -> list[Request]:
        """Return what to ask of a store, or of a `Feed`, for the views of some images: one request for each size.

        A store that reads files decodes a photograph for each of its views anew; one with a cache decodes it once.
        The cache is to be as large as the largest views need: `cache_side(*look)` of the greatest of `looks`.

        Args:
            indices: N places of images in the split.
            key: (seed, epoch).
            look: how images are prepared and varied; sizes and scales are this object's.

        Returns:
            Requests in the order of `crops`, each of `count` N images: `(count N, C, side, side)` when fetched.

        Raises:
            UsageError: see `looks`.
        """
        chosen = list(indices)
        return [
            Request(chosen * len(copies), key, [copy for copy in copies for _ in chosen], each)
            for copies, each in zip(self._copies(), self.looks(look), strict=True)
        ]

    def cut(
        self,
        images: Tensor,
        indices: Tensor,
        key: tuple[int, int],
        augmentation: Augmentation,
        interpolation: Interpolation = "bilinear",
    ) -> list[Tensor]:
        """Return the views of a batch that is in memory, not yet normalised.

        They are those that `MemoryImages` fetches for `requests`. What comes after normalisation (lighting, erasing) is
        `finish`'s to do.

        Args:
            images: uint8 `(N, C, H, W)`, on any device.
            indices: int64 `(N,)`: the images' places in the split.
            key: (seed, epoch).
            augmentation: how views vary; the scale is this object's.
            interpolation: filter of the resizing.

        Returns:
            A uint8 batch `(count N, C, side, side)` for each of `crops`, on the device of `images`.

        Raises:
            UsageError: the augmentation cuts otherwise than by `crop="random_resized"`.
        """
        if augmentation.crop != "random_resized":
            raise UsageError(f"views are random resized crops, not crop={augmentation.crop!r}")
        batches = []
        for crops, copies in zip(self.crops, self._copies(), strict=True):
            varied, size = augmentation.model_copy(update={"scale": crops.scale}), (crops.side, crops.side)
            draws = [draw_in_epoch(key, indices.cpu(), copy, varied) for copy in copies]
            batches.append(torch.cat([augment(images, each, varied, interpolation, size) for each in draws]))
        return batches

    def _copies(self) -> Iterator[range]:
        """Yield the numbers of the views of each size."""
        first = 0
        for crops in self.crops:
            yield range(first, first + crops.count)
            first += crops.count
