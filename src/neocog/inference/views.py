"""Several views of an image at test time, and the mean of what a network says of them.

A view is a crop, a mirror image or a size. The class posteriors of the views (softmax, or sigmoid where an image may
have several classes) are averaged, as the papers do, and come back as logits whose posteriors are that mean: metrics
and calibration need not know of views.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from neocog.data.preprocess import Preprocessing
from neocog.errors import UsageError

View = Literal["centre", "flip", "flip_shift", "ten_crop", "multi_scale"]
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
        shift: pixels by which two more views than the whole look past its upper left and its lower right corner, where
            they see the image reflected; 0 for no such views. They weigh half as much as the whole.
    """

    preprocessing: Preprocessing
    corners: tuple[int, int] | None = None
    mirrored: bool = False
    shift: int = 0

    @property
    def weights(self) -> tuple[float, ...]:
        """How much each view counts, in their order; only the proportions matter."""
        each = (2.0, 1.0, 1.0) if self.shift else (1.0,) * len(self._places(0, 0))
        return each * (2 if self.mirrored else 1)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a view."""
        return self.corners or self.preprocessing.size

    def cut(self, images: Tensor, usual: tuple[int, int]) -> Iterator[Iterator[Tensor]]:
        """Yield the views of prepared images `(N, C, H, W)` one after the other, each as the parts that it is made of.

        The order of the views is torchvision's `TenCrop`: upper left, upper right, lower left, lower right, centre, and
        then the same five of the mirror image. With a shift: the whole, upper left, lower right, and the mirror images
        of these three. A part that is more than a piece of `images` is made when it is asked for: beside those there is
        never more than one part, however many views there are.

        Args:
            images: as `preprocessing` prepares them.
            usual: the (height, width) that the network is used to; a part has as many pixels as N images of it.

        Yields:
            An iterator over the parts of a view, `(n, C, h, w)`, whose n sum to N.
        """
        _, width = self.size
        at_once = _images_at_once(len(images), self.size, usual)
        for mirrored in (False, True) if self.mirrored else (False,):
            for top, left in self._places(images.shape[-2], images.shape[-1]):
                if mirrored and self.corners:
                    # The crop at `left` of the mirror image is the mirror image of the one that far from the right.
                    left = images.shape[-1] - width - left
                yield _parts(images, (top, left), self.size, at_once, mirrored)

    def _places(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """Return the top and left of each view of images of `height` and `width`."""
        if self.corners is None:
            return ((0, 0), (-self.shift, -self.shift), (self.shift, self.shift)) if self.shift else ((0, 0),)
        down, right = height - self.corners[0], width - self.corners[1]
        return (0, 0), (0, right), (down, 0), (down, right), (round(down / 2), round(right / 2))


def showings(preprocessing: Preprocessing, views: View) -> tuple[Showing, ...]:
    """Return how images are shown for `views`; they are read once for each showing.

    - "centre": what the model file says, and nothing else.
    - "flip": that and its mirror image.
    - "flip_shift": that, what lies a pixel further up and to the left, what lies a pixel further down and to the right,
      with the image reflected at its edges, and the three mirror images. The two views of the image as it is weigh 1/4
      each, the others 1/8 (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", section 3.5). The paper
      averages logits; here posteriors are, as of all views.
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
        UsageError: no such views; "flip_shift" of images of a single row or column, "ten_crop" where there is no margin
            around the crop, or "multi_scale" where images keep their size.
    """
    if views not in VIEWS:
        raise UsageError(f"there are no views {views!r}; choose among {', '.join(VIEWS)}")
    if views == "centre":
        return (Showing(preprocessing),)
    if views == "flip":
        return (Showing(preprocessing, mirrored=True),)
    if views == "flip_shift":
        if min(preprocessing.size) < 2:
            height, width = preprocessing.size
            raise UsageError(
                f"flip_shift moves images by a pixel, and {height}x{width} leaves none; use the views flip"
            )
        return (Showing(preprocessing, mirrored=True, shift=1),)
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


def _parts(
    images: Tensor, corner: tuple[int, int], size: tuple[int, int], at_once: int, mirrored: bool
) -> Iterator[Tensor]:
    for first in range(0, len(images), at_once):
        yield _window(images[first : first + at_once], corner, size, mirrored)  # held by no name until the next is made


def _window(images: Tensor, corner: tuple[int, int], size: tuple[int, int], mirrored: bool) -> Tensor:
    """Return what a window of `size` onto images shows, or its mirror image; past their edges they are reflected.

    The (top, left) of its `corner` may be below 0. A piece of the images is a view of their memory, anything else is as
    large as it looks.
    """
    (top, left), (height, width) = corner, size
    past = max(-top, -left, top + height - images.shape[-2], left + width - images.shape[-1])
    if past > 0:
        images = F.pad(images, (past, past, past, past), mode="reflect")
        top, left = top + past, left + past
    seen = images[..., top : top + height, left : left + width]
    if mirrored:
        return seen.flip(-1)
    return seen.clone() if past > 0 else seen


def _images_at_once(count: int, size: tuple[int, int], usual: tuple[int, int]) -> int:
    """Return how many images of `size` hold as many pixels as `count` of the `usual` (height, width); one at least."""
    return max(1, count * usual[0] * usual[1] // (size[0] * size[1]))


def mean_of_posteriors(
    logits: Iterable[Tensor], multi_label: bool = False, weights: Sequence[float] | None = None
) -> Tensor:
    """Return logits `(N, K)` whose posteriors are the mean of those of `logits`, each `(N, K)`, taken one at a time.

    They are log-probabilities, or with `multi_label` the log-odds of each class; a single one comes back as it is.

    Args:
        logits: of each view.
        multi_label: whether an image may have several classes.
        weights: above 0, of as many as there are; only their proportions matter. None weighs all alike.
    """
    posterior = F.logsigmoid if multi_label else _log_softmax
    given = zip(logits, repeat(1.0)) if weights is None else zip(logits, weights, strict=True)
    first, total = next(given)
    has = posterior(first) + math.log(total)
    has_not, alone = F.logsigmoid(-first) + math.log(total) if multi_label else None, True
    for each, weight in given:
        has = torch.logaddexp(has, posterior(each) + math.log(weight))
        if has_not is not None:
            has_not = torch.logaddexp(has_not, F.logsigmoid(-each) + math.log(weight))
        total, alone = total + weight, False
    if alone:
        return first
    return has - math.log(total) if has_not is None else has - has_not


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.log_softmax(dim=1)
