"""Blending the images of a batch: MixUp and CutMix, drawn from the batch's own key."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Mixing(BaseModel):
    """How the images of a batch are blended in pairs, and their targets with them; one draw a batch.

    Attributes:
        mixup: alpha of the Beta distribution of the share that an image keeps (Zhang et al. 2017); 0 leaves it out.
        cutmix: alpha of the one of the area that it keeps, the rest being a box of its partner (Yun et al. 2019).
        switch: probability of CutMix where both are on.
        probability: of blending a batch at all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0)
    switch: float = Field(0.5, ge=0, le=1)
    probability: float = Field(1.0, ge=0, le=1)

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return bool((self.mixup or self.cutmix) and self.probability)
