"""Several views of an image at test time, and the mean of what a network says of them.

A view is a crop, a mirror image or a size. The class posteriors of the views (softmax, or sigmoid where an image may
have several classes) are averaged, as the papers do, and come back as logits whose posteriors are that mean: metrics
and calibration need not know of views.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from neocog.data.preprocess import Preprocessing
from neocog.errors import UsageError

View = Literal["centre", "flip", "ten_crop", "multi_scale"]
VIEWS: tuple[View, ...] = get_args(View)

SCALES = (1.0, 1.5, 2.0)
"""Sizes of "multi_scale", in shorter sides of the image that the centre crop is cut from: 256, 384, 512 for 224."""


@dataclass(frozen=True)
class Showing:
    """One way to show all images: how they are prepared, and the views that are cut from each.

    Attributes:
        preprocessing: from an image file to what views are cut from.
        corners: (height, width) of five crops, the corners and the centre; None for the whole.
        mirrored: whether the mirror image of each is a view too.
    """

    preprocessing: Preprocessing
    corners: tuple[int, int] | None = None
    mirrored: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a view."""
        return self.corners or self.preprocessing.size

    def cut(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the views of prepared images `(N, C, H, W)` one after the other, each `(N, C, h, w)`.

        Their order is torchvision's `TenCrop`: upper left, upper right, lower left, lower right, centre, and then the
        same five of the mirror image.
        """
        yield from self._crops(images)
        if self.mirrored:
            yield from self._crops(images.flip(-1))

    def _crops(self, images: Tensor) -> Iterator[Tensor]:
        if self.corners is None:
            yield images
            return
        height, width = self.corners
        down, right = images.shape[-2] - height, images.shape[-1] - width
        for top, left in ((0, 0), (0, right), (down, 0), (down, right), (round(down / 2), round(right / 2))):
            yield images[..., top : top + height, left : left + width]


def showings(preprocessing: Preprocessing, views: View) -> tuple[Showing, ...]:
    """Return how images are shown for `views`; they are read once for each showing.

    - "centre": what the model file says, and nothing else.
    - "flip": that and its mirror image.
    - "ten_crop": the resized image that the centre crop is cut from is cropped to its middle square; of that the four
      corners and the centre, and their mirror images (Krizhevsky et al. 2012, sections 2 and 4.1: five of 224 x 224 of
      256 x 256).
    - "multi_scale": the middle square of the image at Q = S, 1.5 S and 2 S pixels, and its mirror image (Simonyan and
      Zisserman 2014, section 4.2, for networks that were trained on scales from S = 256 to 512). S is the shorter side
      of the resized image that the centre crop is cut from. A network that ends in an average over positions, and VGG,
      then score every position: the paper's dense evaluation. The paper shows the network the whole rectangle; a square
      lets images of any shape share a batch.

    Args:
        preprocessing: the model's own.
        views: their name.

    Raises:
        UsageError: no such views; "ten_crop" where there is no margin around the crop, or "multi_scale" where images
            keep their size.
    """
    if views not in VIEWS:
        raise UsageError(f"there are no views {views!r}; choose among {', '.join(VIEWS)}")
    if views == "centre":
        return (Showing(preprocessing),)
    if views == "flip":
        return (Showing(preprocessing, mirrored=True),)
    cropped = preprocessing.fit == "crop"
    share = preprocessing.crop_pct if cropped else 1.0
    if views == "ten_crop":
        larger = _resized(preprocessing, 1 / share)
        if larger.size == preprocessing.size:
            kept = "a crop_pct of 1" if cropped else f"fit={preprocessing.fit!r}"
            raise UsageError(
                f"ten_crop needs a margin around the crop, and with {kept} the network sees all of the image; "
                "use the views flip"
            )
        return (Showing(larger, preprocessing.size, mirrored=True),)
    if preprocessing.fit == "pad":
        raise UsageError("multi_scale enlarges images, and fit='pad' keeps them at their size; use the views flip")
    return tuple(Showing(_resized(preprocessing, scale / share), mirrored=True) for scale in SCALES)


def _resized(preprocessing: Preprocessing, factor: float) -> Preprocessing:
    """Return the preprocessing to a size `factor` times as large, of which nothing is cropped away but by shape."""
    height, width = (math.floor(side * factor + 1e-6) for side in preprocessing.size)
    return preprocessing.model_copy(update={"size": (height, width), "crop_pct": 1.0})


def in_parts(views: Tensor, usual: tuple[int, int]) -> tuple[Tensor, ...]:
    """Divide views `(N, C, h, w)` so that each part holds as many pixels as N images of the `usual` (height, width)."""
    height, width = views.shape[-2:]
    at_once = max(1, len(views) * usual[0] * usual[1] // (height * width))
    return torch.split(views, at_once)


def mean_of_posteriors(logits: Iterable[Tensor], multi_label: bool = False) -> Tensor:
    """Return logits `(N, K)` whose posteriors are the mean of those of `logits`, each `(N, K)`, taken one at a time.

    They are log-probabilities, or with `multi_label` the log-odds of each class; a single one comes back as it is.
    """
    posterior = F.logsigmoid if multi_label else _log_softmax
    given = iter(logits)
    first = next(given)
    has, has_not, count = posterior(first), F.logsigmoid(-first) if multi_label else None, 1
    for each in given:
        has = torch.logaddexp(has, posterior(each))
        if has_not is not None:
            has_not = torch.logaddexp(has_not, F.logsigmoid(-each))
        count += 1
    if count == 1:
        return first
    return has - math.log(count) if has_not is None else has - has_not


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.log_softmax(dim=1)
