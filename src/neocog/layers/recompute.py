"""Memory for time: what is quickly computed is not kept for the backward pass, but computed again there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


def concatenated(maps: Sequence[Tensor]) -> Tensor:
    """Return maps `(N, C_i, H, W)` as one tensor."""
    return torch.cat(tuple(maps), 1) if len(maps) > 1 else maps[0]


class _Concatenation(torch.autograd.Function):
    """`concatenated`, whose maps autograd keeps, and so counts as kept; not for forward-mode derivatives."""

    @staticmethod
    def forward(ctx: Any, *maps: Tensor) -> Tensor:
        """Return the maps as one tensor."""
        ctx.save_for_backward(*maps)
        ctx.widths = [each.shape[1] for each in maps]
        return torch.cat(maps, 1) if len(maps) > 1 else maps[0].view_as(maps[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """Return each map's part of the gradient."""
        return torch.split(gradients[0], ctx.widths, 1)


def norm_relu_conv(maps: Sequence[Tensor], norm: nn.Module, conv: nn.Conv2d) -> Tensor:
    """Return `conv(relu(norm(concatenated(maps))))`, keeping of it for the backward pass nothing but `maps`.

    Where each of many layers is given the maps of all before it (DenseNet), that is memory for each map once, and not
    twice for each layer that sees it: concatenated, and activated. Pleiss, Chen, Huang, Li, van der Maaten and
    Weinberger 2017, "Memory-efficient implementation of DenseNets", arXiv:1707.06990, section 3. As there, the
    convolution itself is not computed a second time, as it would be by `torch.utils.checkpoint`, and the running
    statistics of `norm` move once. Gradients are the same, also those of gradients.

    Shapes: maps `(N, C_i, H, W)`; `norm` and `conv` are made for the sum of C_i.
    """
    result: Tensor
    compiled = torch.compiler.is_compiling()  # a compiled graph has other nodes than the functions written here
    x: Tensor = concatenated(maps) if compiled else _Concatenation.apply(*maps)
    if x.shape == conv.weight.shape:  # below, shapes tell what to leave out: these weights would be taken for maps
        result = conv(F.relu(norm(x)))
        return result
    shape, joint = x.shape, None if compiled else x.grad_fn
    held = [each.detach() for each in maps] if joint is None else []  # where no node of ours keeps them
    again: dict[str, Tensor] = {}

    def leave_out(name: str) -> saved_tensors_hooks:
        """Keep what autograd asks for, but only the type of what is as large as all maps together."""

        def pack(saved: Tensor) -> Tensor | torch.dtype:
            return saved.dtype if saved.shape == shape else saved

        def unpack(kept: Tensor | torch.dtype) -> Tensor:
            if isinstance(kept, Tensor):
                return kept
            if name not in again:
                with torch.no_grad(), unmoved(norm):
                    again["maps"] = concatenated(held or joint.saved_tensors)  # type: ignore[union-attr]
                    again["activated"] = F.relu(norm(again["maps"]))
            found = again[name].to(kept)
            if name == "maps":
                again.clear()  # the norm ran first, and so is gone back through last
            return found

        return saved_tensors_hooks(pack, unpack)

    with leave_out("maps"):
        x = norm(x)
    with leave_out("activated"):
        result = conv(F.relu(x))
    return result


@contextmanager
def unmoved(norm: nn.Module) -> Iterator[None]:
    """Let `norm` run without a trace in its running statistics."""
    own = dict(norm.named_buffers(recurse=False))
    for name, buffer in own.items():
        setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for name, buffer in own.items():
            setattr(norm, name, buffer)
