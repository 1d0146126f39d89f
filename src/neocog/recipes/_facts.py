"""What a recipe may know of the data and the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """The data and the machine that a recipe is built for.

    Attributes:
        images: training images.
        class_counts: training images of each class.
        small: whether the images are small, their median size at most 64 pixels a side.
        one_size: whether they are all of one size.
        image_size: median (height, width) of the images.
        channels: 1 where all images are grey, else 3.
        multi_label: whether an image may carry several labels.
        model: the network that the user asked for, or None.
        device: "cpu" or "cuda".
        memory: bytes free on that device.
        weights_at_hand: whether a network's published weights are on this machine or can be fetched.
    """

    images: int = 1000
    class_counts: tuple[int, ...] = ()
    small: bool = False
    one_size: bool = True
    image_size: tuple[int, int] = (224, 224)
    channels: int = 3
    multi_label: bool = False
    model: str | None = None
    device: str = "cpu"
    memory: int = 8 << 30
    weights_at_hand: Callable[[str], bool] = lambda name: False

    @property
    def imbalance(self) -> float:
        """How many times as many images the largest class has as the smallest; 1 where they are equal."""
        counts = [count for count in self.class_counts if count]
        return max(counts) / min(counts) if counts else 1.0
