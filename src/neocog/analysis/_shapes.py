"""What the most frequent operations return on the meta device, told faster than torch tells it.

For these torch runs decompositions in Python, which take a millisecond or more each, and the first of them imports a
computer algebra system, which takes half a second. What they return follows at once from what they are given. Whatever
is not plain here, and whatever may be wrong, is left to torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def run(func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation on tensors of the meta device."""
    shortcut = SHORTCUTS.get(func)
    result = shortcut(*args, **kwargs) if shortcut is not None else None
    return func(*args, **kwargs) if result is None else result


# Layouts


def _by_pixels(tensor: Tensor) -> bool:
    """Say whether a tensor has its channels last in memory, and is not contiguous at the same time."""
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def _like(tensor: Tensor) -> Tensor | None:
    """Return an empty tensor of the same shape whose dimensions lie in the same order; None where that is not clear."""
    shape, strides = tensor.shape, tensor.stride()
    if tensor.is_contiguous():
        return tensor.new_empty(shape)
    if min(shape) < 2 or min(strides) < 1 or len(set(strides)) < len(strides):
        return None
    dense = [0] * len(shape)
    step = 1
    for dim in sorted(range(len(shape)), key=strides.__getitem__):
        dense[dim] = step
        step *= shape[dim]
    return tensor.new_empty_strided(shape, dense)


def _maps(image: Tensor, shape: Sequence[int], by_pixels: bool, dtype: torch.dtype | None = None) -> Tensor:
    layout = torch.channels_last if by_pixels else torch.contiguous_format
    return torch.empty(shape, dtype=dtype or image.dtype, device="meta", memory_format=layout)


def _broadcast(first: Sequence[int], second: Sequence[int]) -> list[int] | None:
    """Return the shape that two shapes broadcast to; None where they do not."""
    longer, shorter = (first, second) if len(first) >= len(second) else (second, first)
    shape = list(longer)
    for place, size in enumerate(shorter, len(longer) - len(shorter)):
        if shape[place] == 1:
            shape[place] = size
        elif size not in (1, shape[place]):
            return None
    return shape


# Number by number


def _alike(tensor: Tensor, *settings: Any, **more: Any) -> Tensor | None:
    """Return the result of a function of each number."""
    return _like(tensor) if tensor.is_floating_point() and not more else None


def _gelu(tensor: Tensor, *, approximate: str = "none") -> Tensor | None:
    return _alike(tensor)


def _in_place(tensor: Tensor, *settings: Any, **more: Any) -> Tensor | None:
    return tensor if tensor.is_floating_point() and not more else None


def _pair(first: Any, second: Any, **more: Any) -> Tensor | None:
    """Return the sum, the product ... of two tensors, or of a tensor and a number."""
    if not isinstance(first, Tensor) or not first.is_floating_point():
        return None
    if not isinstance(second, Tensor):
        return _like(first) if isinstance(second, int | float) else None
    shape = _broadcast(first.shape, second.shape) if second.dtype == first.dtype else None
    if shape == list(first.shape):
        return _like(first)  # the first tensor's layout is the result's
    return first.new_empty(shape) if shape is not None and first.is_contiguous() and second.is_contiguous() else None


def _pair_in_place(first: Tensor, second: Any, **more: Any) -> Tensor | None:
    if not isinstance(second, Tensor):
        return _in_place(first) if isinstance(second, int | float) else None
    fits = second.dtype == first.dtype and _broadcast(first.shape, second.shape) == list(first.shape)
    return _in_place(first) if fits else None


# Sums, products and windows


def _mean(tensor: Tensor, dims: Any, keepdim: bool = False, **more: Any) -> Tensor | None:
    if not dims or more or not tensor.is_floating_point():
        return None
    gone = {dim % tensor.ndim for dim in dims}
    strides = [tensor.stride(dim) for dim, size in enumerate(tensor.shape) if size > 1 and dim not in gone]
    if any(later >= former for former, later in pairwise(strides)):
        return None
    kept = [1 if dim in gone else size for dim, size in enumerate(tensor.shape) if keepdim or dim not in gone]
    return tensor.new_empty(kept)


def _mm(left: Tensor, right: Tensor) -> Tensor | None:
    fits = left.shape[1] == right.shape[0] and left.dtype == right.dtype
    return left.new_empty(left.shape[0], right.shape[1]) if fits else None


def _addmm(bias: Tensor, left: Tensor, right: Tensor, **factors: Any) -> Tensor | None:
    return _mm(left, right) if bias.shape == right.shape[1:] and bias.dtype == left.dtype else None


def _bmm(left: Tensor, right: Tensor) -> Tensor | None:
    fits = (left.shape[0], left.shape[2], left.dtype) == (right.shape[0], right.shape[1], right.dtype)
    return left.new_empty(left.shape[0], left.shape[1], right.shape[2]) if fits else None


def _convolution(
    image: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor | None:
    settings = (stride, padding, dilation, output_padding)
    if weight.ndim != image.ndim or weight.dtype != image.dtype or {len(each) for each in settings} != {image.ndim - 2}:
        return None
    places = zip(image.shape[2:], weight.shape[2:], *settings, strict=True)
    if transposed:
        inputs, outputs = weight.shape[0], weight.shape[1] * groups
        sides = [(n - 1) * s - 2 * p + d * (k - 1) + 1 + more for n, k, s, p, d, more in places]
    else:
        inputs, outputs = weight.shape[1] * groups, weight.shape[0]
        sides = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d, _ in places]
    fits = image.shape[1] == inputs and outputs % groups == 0 and (bias is None or bias.shape == (outputs,))
    if not fits or min(sides) < 1 or image.numel() == 0 or any(map(int.__ge__, output_padding, stride)):
        return None
    # torch returns rows on meta, whatever the layout; the kernels keep to that of images or weights.
    by_pixels = image.ndim == 4 and (_by_pixels(image) or _by_pixels(weight))
    return _maps(image, [image.shape[0], outputs, *sides], by_pixels)


def _pooled(image: Tensor, windows: Sequence[Sequence[int]], ceil_mode: bool) -> list[int] | None:
    """Return the shape of a pooled image, from kernel, stride, padding and dilation; None where they do not fit."""
    kernel, stride, padding, dilation = (tuple(each) * (2 // max(len(each), 1)) for each in windows)
    stride = stride or kernel
    sides = []
    for n, k, s, p, d in zip(image.shape[2:], kernel, stride, padding, dilation, strict=True):
        side = (n + 2 * p - d * (k - 1) - 1 + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (side - 1) * s >= n + p:
            side -= 1
        if side < 1 or not 0 <= p <= k // 2:
            return None
        sides.append(side)
    return [*image.shape[:2], *sides]


def _avg_pool(
    image: Tensor, kernel: Any, stride: Any = (), padding: Any = (0,), ceil_mode: bool = False, *_: Any
) -> Any:
    if image.ndim != 4 or image.numel() == 0:
        return None
    shape = _pooled(image, (kernel, stride, padding, (1,)), ceil_mode)
    return None if shape is None else _maps(image, shape, _by_pixels(image))


def _max_pool(
    image: Tensor, kernel: Any, stride: Any = (), padding: Any = (0,), dilation: Any = (1,), ceil_mode: bool = False
) -> Any:
    if image.ndim != 4 or image.numel() == 0:
        return None
    shape = _pooled(image, (kernel, stride, padding, dilation), ceil_mode)
    if shape is None:
        return None
    return tuple(_maps(image, shape, _by_pixels(image), dtype) for dtype in (image.dtype, torch.int64))


def _adaptive_pool(image: Tensor, sides: Sequence[int]) -> Tensor | None:
    plain = image.ndim == 4 and image.numel() > 0 and image.is_floating_point()
    return _maps(image, [*image.shape[:2], *sides], _by_pixels(image)) if plain else None


# Norms


def _exact(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _batch_norm(image: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *_: Any) -> Any:
    channels = {len(each) for each in (weight, bias, mean, var) if each is not None}
    if image.ndim < 2 or image.numel() == 0 or not channels <= {image.shape[1]}:
        return None
    statistics = [image.new_empty(image.shape[1] if training else 0, dtype=_exact(image.dtype)) for _ in range(2)]
    return (_maps(image, image.shape, _by_pixels(image)), *statistics)


def _layer_norm(image: Tensor, shape: Sequence[int], weight: Any, bias: Any, eps: float) -> Any:
    outer = image.ndim - len(shape)
    shapes = {tuple(each.shape) for each in (weight, bias) if each is not None} | {tuple(image.shape[outer:])}
    if not shape or shapes != {tuple(shape)}:
        return None
    rows = (*image.shape[:outer], *[1] * len(shape))
    statistics = [image.new_empty(rows, dtype=_exact(image.dtype)) for _ in range(2)]
    # torch keeps the input's layout on meta; the kernels that compute return rows one after the other.
    return (image.new_empty(image.shape), *statistics)


# Moves


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    dim %= max(first.ndim, 1)
    like = (*first.shape[:dim], *first.shape[dim + 1 :])
    for each in tensors:
        if each.dtype != first.dtype or (*each.shape[:dim], *each.shape[dim + 1 :]) != like or each.ndim != first.ndim:
            return None
    orders = {_by_pixels(each) or (each.ndim == 4 and each.stride(1) < each.stride(3)) for each in tensors}
    shape = [*like[:dim], sum(each.shape[dim] for each in tensors), *like[dim:]]
    return None if len(orders) > 1 or (True in orders and first.ndim != 4) else _maps(first, shape, True in orders)


def _stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    dim %= first.ndim + 1
    if any(each.shape != first.shape or each.dtype != first.dtype for each in tensors):
        return None
    return first.new_empty([*first.shape[:dim], len(tensors), *first.shape[dim:]])


def _roll(tensor: Tensor, shifts: Any, dims: Any = ()) -> Tensor | None:
    return tensor.new_empty(tensor.shape) if tensor.is_contiguous() and dims else None


def _index(table: Tensor, indices: Sequence[Tensor | None]) -> Tensor | None:
    index = indices[0]
    if len(indices) != 1 or index is None or index.dtype != torch.int64 or not table.is_contiguous() or not table.ndim:
        return None
    return table.new_empty((*index.shape, *table.shape[1:])) if index.is_contiguous() and table.numel() else None


def _empty_like(tensor: Tensor, *, memory_format: Any = torch.preserve_format, **more: Any) -> Tensor | None:
    plain = memory_format in (None, torch.preserve_format) and not any(more.values())
    return _like(tensor) if plain else None


_FUNCTIONS = (
    "relu", "silu", "sigmoid", "tanh", "hardtanh", "hardswish", "hardsigmoid", "leaky_relu", "elu", "clamp",
    "clamp_min", "exp", "sqrt", "rsqrt", "neg", "abs", "sin", "cos",
)  # fmt: skip
SHORTCUTS: dict[Any, Callable[..., Any]] = {
    **{getattr(aten, name).default: _alike for name in _FUNCTIONS},
    **{getattr(aten, f"{name}_").default: _in_place for name in _FUNCTIONS},
    aten.gelu.default: _gelu,
    **{getattr(aten, name).Tensor: _pair for name in ("add", "sub", "mul", "div")},
    **{getattr(aten, f"{name}_").Tensor: _pair_in_place for name in ("add", "sub", "mul", "div")},
    **{getattr(aten, f"{name}_").Scalar: _pair_in_place for name in ("add", "sub", "mul", "div")},
    aten.mean.dim: _mean,
    aten.mm.default: _mm,
    aten.bmm.default: _bmm,
    aten.addmm.default: _addmm,
    aten.convolution.default: _convolution,
    aten.avg_pool2d.default: _avg_pool,
    aten.max_pool2d_with_indices.default: _max_pool,
    aten._adaptive_avg_pool2d.default: _adaptive_pool,
    aten.native_batch_norm.default: _batch_norm,
    aten.native_layer_norm.default: _layer_norm,
    aten.cat.default: _cat,
    aten.stack.default: _stack,
    aten.roll.default: _roll,
    aten.index.Tensor: _index,
    aten.empty_like.default: _empty_like,
}
"""By operation; each returns None where the operation is not plain."""
