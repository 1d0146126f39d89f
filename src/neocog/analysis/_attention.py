"""Attention, kept whole while a pass is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from neocog.analysis._recorder import Recorder

ATTENTION = "scaled_dot_product_attention"
_ATTEND = F.scaled_dot_product_attention


class AttentionMode(TorchFunctionMode):
    """Keeps attention whole.

    Below this level it is a fused kernel on one device and a chain of products on another, meta among them, whose
    (N, N) matrices no fused kernel ever stores.
    """

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is _ATTEND:
            return self._attend(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._within(func, args, kwargs)
        return func(*args, **kwargs)

    def _within(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call a function that calls attention: torch lets no mode see what is called while it handles a function."""
        F.scaled_dot_product_attention = self._attend
        try:
            return func(*args, **kwargs)
        finally:
            F.scaled_dot_product_attention = _ATTEND

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None, *more: Any, **rest: Any) -> Any:
        recorder = self.recorder
        args: tuple[Any, ...] = (query, key, value, attn_mask, *more)
        with recorder.unseen():
            given = recorder.read(args, rest)
            args, rest = recorder.to_device(args), recorder.to_device(rest)
            known = len(recorder.storages)
            result = _fused(*args, **rest) if recorder.on_meta else _ATTEND(*args, **rest)
        recorder.record(ATTENTION, f"torch.{ATTENTION}", given, result)
        recorder.own(known)
        return result


def _fused(query: Tensor, key: Tensor, value: Tensor, mask: Any = None, *more: Any, **rest: Any) -> Tensor:
    """Return an output of the right shape, with autograd keeping what a fused kernel keeps."""
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        shapes = [tuple(tensor.shape) for tensor in (query, key, value)]
        raise ValueError("attention of queries {} over keys {} and values {}".format(*shapes))
    output: Tensor = _AttentionOnMeta.apply(query, key, value, mask)
    return output


class _AttentionOnMeta(torch.autograd.Function):
    """Keeps queries, keys, values, mask, output, and one number per query (the logarithm of its sum), as kernels do."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any) -> Tensor:
        heads = query.shape[:-2]
        if key.shape[:-3] != query.shape[:-3]:
            heads = torch.broadcast_shapes(heads, key.shape[:-2], value.shape[:-2])  # type: ignore[no-untyped-call]
        shape = (*heads, query.shape[-2], value.shape[-1])
        # In the queries' layout, as kernels return it: with heads next to channels, what follows can take it as a view.
        output = torch.empty_like(query) if shape == query.shape else query.new_empty(shape)
        sums = query.new_empty(shape[:-1], dtype=torch.float32)
        kept = (query, key, value, output, sums)
        ctx.save_for_backward(*kept, *((mask,) if isinstance(mask, Tensor) else ()))
        return output
