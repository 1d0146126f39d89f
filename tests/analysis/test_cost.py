"""The backward pass costs what torch counts over a real one, and rows add up to the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision.models as vision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from neocog.analysis.blank import without_numbers
from neocog.analysis.cost import Cost, count_cost
from neocog.analysis.trace import trace_forward

Make = Callable[..., nn.Module]


def of_timm(name: str) -> Make:
    return lambda **settings: timm.create_model(name, **settings)


TRAINED: dict[str, tuple[Make, int]] = {
    "resnet18": (of_timm("resnet18"), 32),
    "densenet": (lambda: timm.create_model("densenet121", block_config=(2, 2, 2, 2)), 32),
    "mobilenetv2": (of_timm("mobilenetv2_035"), 32),
    "mobilenet_v3_small": (vision.mobilenet_v3_small, 32),
    "regnety": (of_timm("regnety_002"), 32),
    "googlenet with auxiliaries": (lambda: vision.googlenet(init_weights=False), 64),
    "convnext": (of_timm("test_convnext"), 32),
    "mixer": (lambda: timm.create_model("mixer_s32_224", img_size=64), 64),
    "nfnet with standardised weights": (of_timm("test_nfnet"), 32),
    "vit": (lambda: timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2), 32),
    "vit with encoder layers of torch": (lambda: vision.VisionTransformer(32, 8, 2, 3, 48, 96), 32),
    "swin": (lambda: timm.create_model("swin_tiny_patch4_window7_224", img_size=56, depths=(1, 1, 1, 1)), 56),
}


GROUPED = ("mobilenetv2", "mobilenet_v3_small", "regnety", "convnext", "nfnet with standardised weights")


def cost(network: nn.Module, *image: int, **settings: Any) -> Cost:
    return count_cost(trace_forward(network, image, **settings))


# The backward pass


def true_weight_gradient(grad: Any, image: Any, weight: Any, *settings: Any, out_val: Any, **more: Any) -> int:
    """Count a convolution's gradients as its forward pass; torch's formula takes no groups into account."""
    transposed, mask = settings[4], settings[7]
    shapes = (image.shape, weight.shape, grad.shape)
    return sum(mask[:2]) * conv_flop_count(*map(list, shapes), transposed=transposed)


true_weight_gradient._get_raw = True  # type: ignore[attr-defined]


def real_step(network: nn.Module, size: int, corrected: bool = False) -> tuple[int, int]:
    """Return torch's count of a forward and of a backward pass with real numbers."""
    mapping = {torch.ops.aten.convolution_backward: true_weight_gradient} if corrected else {}
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        outputs = network.train()(torch.randn(2, 3, size, size))
        forward = counter.get_total_flops()
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        sum(output.sum() for output in outputs).backward()
    return forward, counter.get_total_flops() - forward


@pytest.mark.parametrize("name", TRAINED)
def test_forward_and_backward_are_what_torch_counts_over_a_real_step(name: str):
    make, size = TRAINED[name]
    network = make()
    forward, backward = real_step(network, size, corrected=name in GROUPED)
    counted = cost(network, 3, size, size, batch=2, training=True)
    assert 2 * counted.macs == forward
    assert 2 * counted.backward_macs == backward


def test_torchs_counter_forgets_groups_in_the_gradient_of_weights():
    network = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False))
    counted = cost(network, 3, 6, 6, batch=2, training=True)
    pointwise, depthwise = 2 * 36 * 3 * 8, 2 * 36 * 8 * 9
    assert counted.backward_macs == pointwise + 2 * depthwise  # the images need no gradient
    assert real_step(network, 6, corrected=True)[1] == 2 * counted.backward_macs
    assert real_step(network, 6)[1] == 2 * (pointwise + (1 + 8) * depthwise)


@pytest.mark.parametrize("transposed", [nn.ConvTranspose2d(8, 6, 4, stride=2, groups=2), nn.ConvTranspose2d(8, 4, 3)])
def test_a_transposed_convolution_costs_what_the_other_way_round_does(transposed: nn.Module):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), transposed)
    forward, backward = real_step(network, 9, corrected=True)
    counted = cost(network, 3, 9, 9, batch=2, training=True)
    assert (2 * counted.macs, 2 * counted.backward_macs) == (forward, backward)


def test_what_is_frozen_or_cut_off_has_no_backward_pass():
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen = nn.Conv2d(3, 4, 3).requires_grad_(False)
            self.learned = nn.Conv2d(4, 4, 1)
            self.unheard = nn.Conv2d(4, 4, 1)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.learned(self.frozen(x).relu())
            self.unheard(x).exp()
            with torch.no_grad():
                self.unheard(x)
            return self.head(x.mean((2, 3))) + self.head(x.mean((2, 3)).detach())

    network = Cut()
    _, backward = real_step(network, 6)
    rows = cost(network, 3, 6, 6, batch=2, training=True).rows
    assert sum(row.backward_macs for row in rows) * 2 == backward
    assert [row.backward_macs for row in rows if row.name in ("frozen", "unheard")] == [0, 0, 0]


# Rows and settings


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (of_timm("resnet50"), 64),
        (lambda: timm.create_model("swin_tiny_patch4_window7_224", img_size=56), 56),
        (lambda: vision.googlenet(init_weights=False), 64),
    ],
    ids=["resnet50", "swin", "googlenet"],
)
def test_rows_add_up_to_the_network_at_every_level(make: Make, size: int):
    with without_numbers():
        trace = trace_forward(make(), (3, size, size), batch=2, training=True)
    layers = count_cost(trace)
    assert layers.kept_bytes == sum(row.kept_bytes for row in layers.rows)
    assert layers.weight_bytes == sum(row.weight_bytes for row in layers.rows)
    assert layers.idle_parameters == 0
    for level in ("layer", "block", "stage"):
        counted = count_cost(trace, level)  # type: ignore[arg-type]
        for figure in ("parameters", "macs", "flops", "backward_macs", "kept_bytes", "weight_bytes"):
            assert sum(getattr(row, figure) for row in counted.rows) == sum(getattr(row, figure) for row in layers.rows)


def test_a_parameter_that_is_used_twice_is_counted_once():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
            self.second.weight = self.first.weight
            self.unused = nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(self.first(x)))

    counted = cost(Tied(), 8)
    assert [row.parameters for row in counted.rows] == [72, 0, 8]
    assert (counted.parameters, counted.idle_parameters, counted.macs) == (80 + 30, 30, 3 * 64)
    assert counted.trace.aliases == {"second.weight": "first.weight"}


def test_work_grows_with_the_batch_and_bytes_with_the_type():
    network = timm.create_model("test_vit")
    one = cost(network, 3, 160, 160, training=True)
    four = cost(network, 3, 160, 160, training=True, batch=4)
    half = cost(network, 3, 160, 160, training=True, batch=4, dtype=torch.bfloat16)
    assert (four.macs, four.backward_macs, four.input_bytes) == (
        4 * one.macs,
        4 * one.backward_macs,
        4 * one.input_bytes,
    )
    assert half.macs == four.macs
    assert half.weight_bytes * 2 == four.weight_bytes == one.weight_bytes
    assert half.activation_bytes * 2 == four.activation_bytes
    # Statistics of norms and of attention stay in single precision.
    assert half.kept_bytes * 2 > four.kept_bytes > half.kept_bytes * 1.9


def test_the_size_of_the_image_counts():
    with without_numbers():
        network = timm.create_model("resnet50").eval()
    assert cost(network, 3, 448, 224).macs == pytest.approx(2 * cost(network, 3, 224, 224).macs, rel=1e-3)
