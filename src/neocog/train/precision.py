"""Mixed precision behind one object, so that the training step is written once."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from neocog.inference.evaluation import PrecisionName, autocast
from neocog.train.adaptive_clip import clip_adaptively


class Precision:
    """Runs the forward pass in `name`, scales the loss where float16 needs it, and steps the optimiser.

    Args:
        name: "fp32", "bf16" or "fp16"; parameters and updates stay in float32.
        device: type of the device, "cpu" or "cuda".
        clip_norm: largest norm of the whole gradient; None for no clipping.
        clip_adaptive: largest norm of a unit's gradient as a share of the norm of its weights, outside the groups
            marked `head`; None for no such clipping. It comes before `clip_norm`, which then bounds what is left.
    """

    def __init__(
        self, name: PrecisionName, device: str, clip_norm: float | None = None, clip_adaptive: float | None = None
    ) -> None:
        self.name, self.device = name, torch.device(device)
        self.clip_norm, self.clip_adaptive = clip_norm, clip_adaptive
        self.scaler = torch.amp.GradScaler(device, enabled=name == "fp16")

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of the forward pass."""
        return autocast(self.device, self.name)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss` to the parameters'."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def update(self, optimizer: Optimizer) -> bool:
        """Step `optimizer` and clear the gradient; False where float16 overflowed and the step was skipped."""
        if self.clip_norm is not None or self.clip_adaptive is not None:
            self.scaler.unscale_(optimizer)
        if self.clip_adaptive is not None:
            clipped = (p for group in optimizer.param_groups if not group.get("head") for p in group["params"])
            clip_adaptively(clipped, self.clip_adaptive)
        if self.clip_norm is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        before = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        optimizer.zero_grad(set_to_none=True)
        return not self.scaler.is_enabled() or self.scaler.get_scale() >= before


def computes_in_bf16(device: str) -> bool:
    """Return whether `device` multiplies bfloat16 in hardware; elsewhere bf16 is emulated and slower than float32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False
