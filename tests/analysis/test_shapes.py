"""Shortcuts on the meta device return what torch's own decompositions, or its kernels, return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision.models as vision
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from neocog.analysis._shapes import SHORTCUTS, run


class Compare(TorchDispatchMode):
    """Holds each operation that computes against the shortcut for it."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        shortcut = SHORTCUTS[func](*tree_map(blank, args), **tree_map(blank, kwargs)) if func in SHORTCUTS else None
        computed = func(*args, **kwargs)
        if shortcut is not None:
            self.taken.add(func.overloadpacket.__name__)
            assert layouts(shortcut, func) == layouts(computed, func), func
        return computed


def blank(value: Any) -> Any:
    """Return a tensor of the meta device in the layout of one with numbers."""
    if not isinstance(value, Tensor):
        return torch.device("meta") if value == torch.device("cpu") else value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")


def layouts(result: Any, func: Any) -> list[Any]:
    """Return shapes, the strides of sides longer than 1, and types."""
    tensors = [each for each in tree_leaves(result) if isinstance(each, Tensor)]
    found = []
    for each in tensors:
        strides = [stride for stride, size in zip(each.stride(), each.shape, strict=True) if size > 1]
        found.append((each.shape, strides, each.dtype))
    if "norm" in func.overloadpacket.__name__:  # kernels for the CPU and for GPUs keep statistics in different types
        found[1:] = [(shape, strides, None) for shape, strides, _ in found[1:]]
    return found


@pytest.mark.parametrize(("training", "dtype"), [(False, torch.float32), (True, torch.bfloat16)])
@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: timm.create_model("test_resnet"), 64),
        (lambda: timm.create_model("test_efficientnet", drop_rate=0.1), 64),
        (lambda: timm.create_model("densenet121", block_config=(2, 2, 2, 2)), 64),
        (lambda: timm.create_model("test_vit", class_token=True, drop_rate=0.1, proj_drop_rate=0.1), 160),
        (lambda: timm.create_model("test_maxvit"), 160),
        (lambda: timm.create_model("convnext_atto"), 64),
        (lambda: timm.create_model("swin_tiny_patch4_window7_224", img_size=56, depths=(2, 1, 1, 1)), 56),
        (lambda: vision.googlenet(init_weights=False), 64),
        (vision.squeezenet1_1, 64),
        (vision.mobilenet_v3_small, 64),
        (lambda: nn.Sequential(nn.ConvTranspose2d(3, 6, 3, 2, 1, 1, groups=3), nn.Conv2d(6, 4, 3, 2, dilation=2)), 32),
        (lambda: nn.Sequential(nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True)), 45),
    ],
)
def test_shortcuts_return_what_the_kernels_return(
    make: Callable[[], nn.Module], size: int, training: bool, dtype: torch.dtype
):
    network = make().to(dtype).train(training)
    images = torch.randn(2, 3, size, size, dtype=dtype)
    with Compare() as compare, torch.no_grad():
        network(images)
        network.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    assert len(compare.taken) >= 1


@pytest.mark.parametrize("training", [False, True])
def test_norms_of_unusual_layouts_are_laid_out_as_by_the_kernels(training: bool):
    permuted = torch.zeros(2, 4, 5, 6).permute(0, 2, 3, 1)
    with Compare() as compare:
        for image in (permuted, permuted.permute(0, 3, 1, 2), permuted.contiguous()):
            nn.LayerNorm(image.shape[-1])(image)
            nn.BatchNorm2d(image.shape[1]).train(training)(image)
    assert len(compare.taken) >= 2


@pytest.mark.parametrize(
    "call",
    [
        lambda a, b: torch.addmm(b[0], a, b),
        lambda a, b: torch.cat([a, b[:, :2]]),
        lambda a, b: a + b,
        lambda a, b: nn.functional.layer_norm(a, (4,)),
        lambda a, b: nn.functional.batch_norm(a[None], b[0], b[0]),
    ],
    ids=["product", "concatenation", "sum", "layer norm", "batch norm"],
)
def test_what_does_not_fit_is_left_to_torch_to_refuse(call: Callable[[Tensor, Tensor], Tensor]):
    class Shortened(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return run(func, args, kwargs or {})

    first, second = torch.empty(2, 3, device="meta"), torch.empty(4, 5, device="meta")
    with Shortened(), pytest.raises((RuntimeError, ValueError)):
        call(first, second)


def test_types_are_promoted_as_torch_does():
    first = torch.empty(2, 3, dtype=torch.bfloat16, device="meta")
    for other in (torch.empty(2, 3, device="meta"), torch.empty((), dtype=torch.float64, device="meta"), 2, 2.5):
        assert run(torch.ops.aten.mul.Tensor, (first, other), {}).dtype == (first * other).dtype
