"""`Augmentation`: how training images vary."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Augmentation(BaseModel):
    """Random changes of training images; every field off leaves the images as evaluation sees them."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    crop: Literal["none", "random_resized", "pad"] = "random_resized"
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    pad: int = Field(4, ge=0)
    flip: float = Field(0.5, ge=0, le=1)
    brightness: float = Field(0.0, ge=0, le=1)
    contrast: float = Field(0.0, ge=0, le=1)
    saturation: float = Field(0.0, ge=0, le=1)
