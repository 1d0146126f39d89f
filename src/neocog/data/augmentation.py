"""`Augmentation`: how training images vary, as settings that a recipe holds; `neocog.data.augment` does it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from neocog.data._fields import ABOVE_ZERO, Readers
from neocog.data.crops import REFERENCE_SIDE, check_reflection
from neocog.data.distort import Affine


class Augmentation(BaseModel):
    """Random changes of training images, in the order of the fields; the last two kinds come after normalisation.

    Attributes:
        crop: "random_resized" takes a box of random area, shape and place and resizes it to the input ("Going
            deeper with convolutions", Szegedy et al. 2015, section 6); "pad" surrounds the preprocessed image
            with `pad` pixels and cuts the input's size at a random place (He et al. 2015, section 4.2);
            "scale" resizes the shorter side to a random one of `sides` and cuts the input's size at a random place
            (Krizhevsky et al. 2012, section 4.1; Simonyan and Zisserman 2014, section 3.1); "none" leaves the image as
            evaluation sees it.
        scale: for "random_resized": least and greatest area of the box, as shares of the image.
        ratio: for "random_resized": least and greatest width / height of the box.
        pad: for "pad": pixels on each side, at most 256.
        border: for "pad": what they show: nothing ("black"), or the image reflected at its edge ("reflect"), for which
            it must have more than `pad` pixels each way.
        sides: for "scale": least and greatest length of the shorter side, in pixels for an input of 224; for another
            input in proportion.
        affine: distortions, such as those of LeCun et al. (1998).
        flip: probability of mirroring left and right.
        alternate: mirror in turn (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds", section 3.6): epoch 0 draws for each
            image, and its draw holds for all even epochs; odd ones move it by 1/2, round a circle. With a `flip` of 0.5
            an image is mirrored in every other epoch, and two epochs show both sides of all of them.
        policy: "randaugment" (Cubuk et al. 2019), "trivialaugment" (Müller and Hutter 2021) or "autoaugment", the one
            found for ImageNet (Cubuk et al. 2018), with torchvision's operations and ranges; "none".
        policy_ops: for "randaugment": operations an image, at most 16.
        policy_magnitude: for "randaugment": strength of all operations, of 30.
        brightness: the image is multiplied by a factor in [1 - brightness, 1 + brightness].
        contrast: it is moved from its mean grey by such a factor.
        saturation: its colours are moved from grey by such a factor.
        hue: its colours are turned by up to this part of the circle of hues, either way; 0.5 at most.
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
        "border": ({"crop": ("pad",)},),
        "sides": ({"crop": ("scale",)},),
        "alternate": ({"flip": ABOVE_ZERO},),
        "policy_ops": ({"policy": ("randaugment",)},),
        "policy_magnitude": ({"policy": ("randaugment",)},),
        "erase_area": ({"erase": ABOVE_ZERO},),
        "erase_fill": ({"erase": ABOVE_ZERO},),
    }

    crop: Literal["none", "random_resized", "pad", "scale"] = "random_resized"
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    pad: int = Field(4, ge=0, le=256)
    border: Literal["black", "reflect"] = "black"
    sides: tuple[int, int] = (256, 256)
    affine: Affine = Affine()
    flip: float = Field(0.5, ge=0, le=1)
    alternate: bool = False
    policy: Literal["none", "randaugment", "trivialaugment", "autoaugment"] = "none"
    policy_ops: int = Field(2, ge=1, le=16)
    policy_magnitude: float = Field(9, ge=0, le=30)
    brightness: float = Field(0.0, ge=0, le=1)
    contrast: float = Field(0.0, ge=0, le=1)
    saturation: float = Field(0.0, ge=0, le=1)
    hue: float = Field(0.0, ge=0, le=0.5)
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

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise `UsageError` where inputs of this (height, width) are too small to be reflected at the border."""
        if self.crop == "pad" and self.border == "reflect":
            check_reflection(self.pad, size)
