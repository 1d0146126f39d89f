"""Which input pixels can move an output, by the gradient: the oracle of receptive fields.

A copy of the network is run in which no pixel's effect can cancel or vanish by chance: all weights are one; norms and
activations are the identity; averages stand for maxima, sums for differences; the backward pass is clamped to {0, 1}
behind every product, so that nothing underflows. Torch functions are rewritten where they are called; this knows
nothing of traces and of how fields are computed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Box = tuple[tuple[int, int], ...] | None
"""The first and last pixel along each axis; None where no pixel has an effect."""


class _Unit(torch.autograd.Function):
    """Ones forward; backward, whether there is a gradient at all."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.ones_like(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return (gradient != 0).to(gradient.dtype)


IDENTITIES = """
    batch_norm layer_norm group_norm instance_norm rms_norm local_response_norm dropout dropout2d alpha_dropout relu
    relu_ relu6 gelu silu mish hardswish hardsigmoid sigmoid sigmoid_ leaky_relu leaky_relu_ elu elu_ selu celu
    softplus tanh hardtanh hardtanh_ clamp clamp_ prelu log_softmax normalize sqrt rsqrt
""".split()
PRODUCTS = """
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear matmul __matmul__ bmm mm addmm
    baddbmm einsum
""".split()
REPLACED = {
    "__iadd__": torch.add, "__imul__": torch.mul,
    "sub": torch.add, "__sub__": torch.add, "div": torch.mul, "__truediv__": torch.mul,
}  # fmt: skip


class Idealised(TorchFunctionMode):
    """Rewrites functions as the module's docstring says.

    Args:
        local: replace what averages over the whole map (gates, global pooling) by a constant, and let attention read
            nothing but the query itself.
    """

    def __init__(self, local: bool = False) -> None:
        super().__init__()
        self.local = local

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in IDENTITIES:
            x = kwargs["input"] if "input" in kwargs else args[0]
            return x.view_as(x)  # another tensor: an autograd function may not save what it returns
        if name in PRODUCTS:
            return _Unit.apply(func(*args, **kwargs))
        if name in REPLACED and all(isinstance(x, Tensor) for x in args[:2]):
            return REPLACED[name](*args[:2])
        if name in ("softmax", "_softmax"):
            dim = kwargs.get("dim", args[1] if len(args) > 1 else -1)
            allowed = (args[0] > -50).float().detach()  # masks add -100, or minus infinity
            kept = torch.where(allowed > 0, args[0], 0.0)
            return kept + allowed * kept.mean(dim, keepdim=True)
        if name in ("max_pool1d", "max_pool2d", "max_pool3d"):
            return _average(int(name[-2]), *args, **kwargs)
        if name.startswith("adaptive_max_pool"):
            func, name = getattr(F, name.replace("max", "avg")), name.replace("max", "avg")
            args, kwargs = args[:2], {}
        if name == "max" and (len(args) > 1 or "dim" in kwargs):
            return torch.return_types.max([torch.mean(*args, **kwargs), func(*args, **kwargs).indices])
        if name in ("amax", "max"):
            func, name = torch.mean, "mean"
        if name == "scaled_dot_product_attention":
            return _Unit.apply(_attention(*args, **kwargs, local=self.local))
        if self.local and _is_global(name, args, kwargs):
            with torch.no_grad():
                return torch.ones_like(func(*args, **kwargs))
        return func(*args, **kwargs)


def _is_global(name: str, args: Any, kwargs: Any) -> bool:
    """Say whether a function averages maps over their height and width."""
    if name.startswith("adaptive_avg_pool"):
        size = kwargs.get("output_size", args[1] if len(args) > 1 else None)
        return size == 1 or (isinstance(size, tuple | list) and all(n == 1 for n in size))
    dims = kwargs.get("dim", args[1] if len(args) > 1 else ())
    return name == "mean" and args[0].ndim == 4 and isinstance(dims, tuple | list) and len(dims) > 1


def _average(count: int, x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
             ceil_mode: bool = False, return_indices: bool = False) -> Tensor:  # fmt: skip
    """Average pooling with the windows of max pooling."""
    if any(d != 1 for d in (dilation if isinstance(dilation, tuple | list) else [dilation])):
        assert not ceil_mode
        channels = x.shape[1]
        size = kernel_size if isinstance(kernel_size, tuple | list) else [kernel_size] * count
        conv = getattr(F, f"conv{count}d")
        return conv(x, torch.ones(channels, 1, *size), None, stride or kernel_size, padding, dilation, channels)
    pool = getattr(F, f"avg_pool{count}d")
    return pool(x, kernel_size, stride or kernel_size, padding, ceil_mode)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *, local: bool = False, **more: Any
) -> Tensor:
    """Every query averages the keys and values that the mask lets it read; none but its own, if `local`."""
    if local:
        return query.mean(-1, keepdim=True).expand(*query.shape[:-1], value.shape[-1])
    allowed = torch.ones(query.shape[-2], key.shape[-2])
    if attn_mask is not None:
        allowed = attn_mask if attn_mask.dtype == torch.bool else attn_mask > -50
    allowed = allowed.float().detach()
    return allowed @ value + allowed @ key.mean(-1, keepdim=True) + query.mean(-1, keepdim=True)


def idealised(network: nn.Module) -> nn.Module:
    """Return a copy with all parameters one."""
    ideal = copy.deepcopy(network).eval()
    with torch.no_grad():
        for parameter in ideal.parameters():
            parameter.fill_(1.0).requires_grad_(False)
    return ideal


def supports(
    network: nn.Module,
    image: Sequence[int],
    wanted: dict[str, list[tuple[int, ...]]],
    *,
    local: bool = False,
    channels: int = 1,
) -> dict[str, list[Box]]:
    """Return the bounding box of the pixels that have an effect on each position of each layer's output.

    Args:
        network: the module; it is not changed.
        image: the shape of one input, `(C, H, W)`.
        wanted: for each layer's name the positions; equally many for all.
        local: without global gates.
        channels: the dimension of the outputs that holds channels; all of them count together.
    """
    ideal = idealised(network)
    count = max(len(positions) for positions in wanted.values())
    images = torch.ones(count, *image, requires_grad=True)
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            first = output if isinstance(output, Tensor) else output[0]
            outputs[name] = first + 0  # what is written to it later is not this layer's

        return hook

    modules = dict(ideal.named_modules())
    handles = [modules[name].register_forward_hook(keep(name)) for name in wanted]
    with Idealised(local):
        ideal(images)
    for handle in handles:
        handle.remove()
    return {name: _boxes(outputs[name], images, positions, channels) for name, positions in wanted.items()}


def _boxes(output: Tensor, images: Tensor, positions: list[tuple[int, ...]], channels: int) -> list[Box]:
    """Return the box of each position; each has an image of the batch to itself."""
    seed = torch.zeros_like(output)
    for number, position in enumerate(positions):
        place: list[Any] = [number, *position]
        place.insert(channels, slice(None))
        seed[tuple(place)] = 1.0
    if not output.requires_grad:
        return [None] * len(positions)
    (gradient,) = torch.autograd.grad(output, images, seed, retain_graph=True, allow_unused=True)
    if gradient is None:
        return [None] * len(positions)
    return [_box(each) for each in gradient[: len(positions)]]


def _box(gradient: Tensor) -> Box:
    moved = gradient.abs().sum(0)
    assert torch.isfinite(moved).all(), "the oracle overflowed"
    if not (moved != 0).any():
        return None
    places = (moved != 0).nonzero()
    return tuple((int(low), int(high)) for low, high in zip(places.amin(0), places.amax(0), strict=True))
