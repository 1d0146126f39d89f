"""Bytes that a trace predicts are bytes that a real pass holds."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision.models as vision
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from neocog import create_model
from neocog.analysis.memory import inference_peak, kept_for_backward
from neocog.analysis.trace import trace_forward

Make = Callable[[], nn.Module]


def of_timm(name: str, **settings: Any) -> Make:
    return lambda: timm.create_model(name, **settings)


NETWORKS: dict[str, tuple[Make, int]] = {
    "squeezenet, with ReLU in place and dropout": (vision.squeezenet1_1, 64),
    "resnet": (of_timm("resnet18"), 64),
    "densenet": (of_timm("densenet121", block_config=(2, 2, 2, 2)), 32),
    "densenet, in its memory-efficient form": (
        lambda: create_model("densenet40_12", depths=(4, 4, 4), memory_efficient=True),
        32,
    ),
    "mobilenet, with squeeze-and-excitation": (vision.mobilenet_v3_small, 64),
    "efficientnet, with stochastic depth": (of_timm("test_efficientnet", drop_path_rate=0.2, drop_rate=0.2), 64),
    "googlenet, with auxiliaries": (lambda: vision.googlenet(init_weights=False), 64),
    "nfnet": (of_timm("test_nfnet"), 64),
    "convnext": (of_timm("convnext_atto"), 64),
    "vit, with dropout": (of_timm("vit_tiny_patch16_224", img_size=64, depth=3, proj_drop_rate=0.1, drop_rate=0.1), 64),
    "torch's encoder layers": (lambda: vision.VisionTransformer(32, 8, 2, 3, 48, 96, dropout=0.1), 32),
    "swin": (of_timm("swin_tiny_patch4_window7_224", img_size=56, depths=(1, 1, 1, 1)), 56),
    "mixer": (of_timm("mixer_s32_224", img_size=64), 64),
}


def allocated(network: nn.Module, images: Tensor) -> int:
    """Return the bytes that a forward pass leaves allocated, by the events of torch's allocator."""
    kept = network(images)  # what a first pass allocates for good is there now
    kept = None
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        kept = network(images)  # noqa: F841
    events = profiled.profiler.kineto_results.events()
    return sum(event.nbytes() for event in events if event.name() == "[memory]")


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_kept_for_the_backward_pass_is_what_the_allocator_holds(name: str):
    make, size = NETWORKS[name]
    network = make().train()
    measured = allocated(network, torch.randn(2, 3, size, size))
    predicted = kept_for_backward(trace_forward(network, (3, size, size), batch=2, training=True))
    assert predicted == pytest.approx(measured, rel=0.01)


def test_half_precision_keeps_what_the_allocator_holds():
    network = timm.create_model("test_vit").train().bfloat16()
    measured = allocated(network, torch.randn(2, 3, 160, 160, dtype=torch.bfloat16))
    trace = trace_forward(network, (3, 160, 160), batch=2, training=True, dtype=torch.bfloat16)
    assert kept_for_backward(trace) == pytest.approx(measured, rel=0.02)


def test_what_is_computed_again_is_not_kept():
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 32, 3), nn.Sigmoid(), nn.Conv2d(32, 4, 3))

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.body, x, use_reentrant=False, preserve_rng_state=False)

    network = Checkpointed()
    kept = kept_for_backward(trace_forward(network, (3, 16, 16), training=True))
    assert kept == allocated(network, torch.randn(1, 3, 16, 16)) == 4 * 4 * 12 * 12
    assert kept < kept_for_backward(trace_forward(network.body, (3, 16, 16), training=True)) / 10


def test_a_branch_that_nothing_comes_of_is_not_kept():
    class Unheard(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heard, self.unheard = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 64, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.unheard(x).exp()
            return self.heard(x)

    network = Unheard()
    kept = kept_for_backward(trace_forward(network, (3, 16, 16), training=True))
    assert kept == allocated(network, torch.randn(1, 3, 16, 16)) == 4 * 4 * 14 * 14


def test_a_pass_of_evaluation_keeps_nothing():
    with pytest.raises(ValueError, match="training=True"):
        kept_for_backward(trace_forward(nn.ReLU(), (3, 4, 4)))


class Living(TorchDispatchMode):
    """Adds up what is alive after each operation of a real pass."""

    def __init__(self) -> None:
        super().__init__()
        self.living: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {each.untyped_storage()._cdata for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            memory = tensor.untyped_storage() if isinstance(tensor, Tensor) else None
            if memory is not None and memory._cdata not in given and memory._cdata not in self.living:
                self.living[memory._cdata] = (StorageWeakRef(memory), memory.nbytes())
        self.living = {name: (ref, size) for name, (ref, size) in self.living.items() if not ref.expired()}
        self.peak = max(self.peak, sum(size for _, size in self.living.values()))
        return result


@pytest.mark.parametrize("name", NETWORKS)
def test_the_peak_in_inference_is_that_of_the_tensors_alive(name: str):
    make, size = NETWORKS[name]
    network = make().eval()
    images = torch.randn(2, 3, size, size)
    with Living() as living, torch.no_grad():
        network(images)
    predicted = inference_peak(trace_forward(network, (3, size, size), batch=2)) - images.nbytes
    if name.startswith(("densenet", "nfnet", "swin")):  # these hold on to tensors in variables after their last use
        assert 0.75 * living.peak < predicted <= living.peak
    else:
        assert predicted == pytest.approx(living.peak, rel=0.005)


def test_a_module_that_writes_in_place_needs_no_memory():
    layer, in_place = (nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(inplace)) for inplace in (False, True))
    image, maps = 4 * 3 * 36, 4 * 8 * 36
    assert inference_peak(trace_forward(layer, (3, 6, 6))) == image + 2 * maps
    assert inference_peak(trace_forward(in_place, (3, 6, 6))) == image + maps
