"""Operations cost what independent counters count, and where those go astray the difference is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision.models as vision
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from neocog.analysis.blank import without_numbers
from neocog.analysis.cost import Cost, count_cost
from neocog.analysis.trace import trace_forward

Make = Callable[..., nn.Module]


def of_timm(name: str) -> Make:
    return lambda **settings: timm.create_model(name, **settings)


NETWORKS: dict[str, tuple[Make, int]] = {
    "vgg16": (vision.vgg16, 224),
    "googlenet": (lambda: vision.googlenet(init_weights=False, aux_logits=False), 224),
    "googlenet with auxiliaries": (lambda: vision.googlenet(init_weights=False), 224),
    "inception_v3": (lambda: vision.inception_v3(init_weights=False), 299),
    "resnet50": (of_timm("resnet50"), 224),
    "resnext50": (of_timm("resnext50_32x4d"), 224),
    "ecaresnet50d": (of_timm("ecaresnet50d"), 224),
    "seresnet50": (of_timm("seresnet50"), 224),
    "densenet121": (of_timm("densenet121"), 224),
    "squeezenet1_1": (vision.squeezenet1_1, 224),
    "mobilenetv2": (of_timm("mobilenetv2_100"), 224),
    "mobilenet_v3_large": (vision.mobilenet_v3_large, 224),
    "mnasnet1_0": (vision.mnasnet1_0, 224),
    "shufflenet_v2": (vision.shufflenet_v2_x1_0, 224),
    "efficientnet_b0": (of_timm("efficientnet_b0"), 224),
    "regnety_008": (of_timm("regnety_008"), 224),
    "nfnet with standardised weights": (of_timm("dm_nfnet_f0"), 192),
    "convnext_tiny": (of_timm("convnext_tiny"), 224),
    "mixer": (of_timm("mixer_s16_224"), 224),
    "vit_small": (of_timm("vit_small_patch16_224"), 224),
    "torchvision's vit": (vision.vit_b_16, 224),
    "swin_tiny": (of_timm("swin_tiny_patch4_window7_224"), 224),
    "coatnet": (of_timm("coatnet_0_rw_224"), 224),
}
SMALL: dict[str, tuple[Make, int]] = {
    "squeezenet": (vision.squeezenet1_1, 64),
    "googlenet": (lambda: vision.googlenet(init_weights=False), 64),
    "resnext26": (of_timm("resnext26ts"), 32),
    "eca": (of_timm("ecaresnet26t"), 32),
    "mobilenetv2": (of_timm("mobilenetv2_035"), 64),
    "regnety": (of_timm("regnety_002"), 64),
    "convnext": (of_timm("test_convnext"), 64),
    "nfnet": (of_timm("test_nfnet"), 64),
    "mixer": (lambda: timm.create_model("mixer_s32_224", img_size=64), 64),
    "fused attention in vit": (of_timm("test_vit"), 160),
    "fused attention in coatnet": (of_timm("test_coatnet"), 160),
    "fused attention in torch's encoder layers": (lambda: vision.VisionTransformer(32, 8, 2, 3, 48, 96), 32),
}


def cost(network: nn.Module, *image: int, **settings: Any) -> Cost:
    return count_cost(trace_forward(network, image, **settings))


def attention_macs(counted: Cost) -> int:
    """Return two products of queries by keys for each call of attention, from shapes alone."""
    macs = 0
    for operation in counted.trace.operations:
        if operation.name == "scaled_dot_product_attention":
            query, key, value = operation.inputs[:3]
            macs += query.numel * key.shape[-2] + query.numel // query.shape[-1] * value.shape[-1] * key.shape[-2]
    return macs


def fvcore_macs(network: nn.Module, *image: int) -> int:
    """Count the products as fvcore does, without its estimates of norms, pooling and resizing."""
    analysis = fvcore(network, *image)
    products = ("conv", "linear", "addmm", "matmul", "bmm", "mm", "einsum")
    return int(sum(count for name, count in analysis.by_operator().items() if name in products))


def fvcore(network: nn.Module, *image: int) -> FlopCountAnalysis:
    analysis = FlopCountAnalysis(network.eval(), torch.zeros(1, *image))
    return analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")


@pytest.mark.parametrize("name", NETWORKS)
def test_macs_are_half_of_what_torchs_counter_counts(name: str):
    make, size = NETWORKS[name]
    with without_numbers():
        network = make().eval()
    counted = cost(network, 3, size, size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, size, size, device="meta"))
    assert 2 * counted.macs == counter.get_total_flops()
    assert counted.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert counted.uncounted == {}
    assert counted.trace.device == "meta"


@pytest.mark.parametrize("name", SMALL)
def test_macs_are_fvcores_and_those_of_fused_attention_which_it_leaves_out(name: str):
    make, size = SMALL[name]
    network = make()
    counted = cost(network, 3, size, size)
    assert counted.macs == fvcore_macs(network, 3, size, size) + attention_macs(counted)
    assert bool(attention_macs(counted)) == name.startswith("fused")


def test_fvcores_total_adds_norms_and_pooling_to_products():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1))
    counted = cost(network, 3, 10, 10)
    maps = 8 * 8 * 8
    assert counted.macs == 27 * maps
    assert fvcore(network, 3, 10, 10).total() == counted.macs + 2 * maps + maps
    # Here those are FLOPs, and a MAC is two.
    assert counted.flops == 2 * counted.macs + 2 * maps + maps


def test_fvcore_counts_only_the_first_factors_batch_in_a_broadcast_product():
    class Broadcast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(5, 4))

        def forward(self, x: Tensor) -> Tensor:
            return torch.matmul(self.weight, x)  # (5, 4) by (1, 3, 4, 2)

    assert cost(Broadcast(), 3, 4, 2).macs == 3 * 5 * 4 * 2
    assert fvcore_macs(Broadcast(), 3, 4, 2) == 5 * 4 * 2


def test_torchs_counter_knows_no_matrix_times_vector():
    class Matrix(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = nn.Parameter(torch.zeros(7, 5))

        def forward(self, x: Tensor) -> Tensor:
            return self.matrix @ x[0]

    with FlopCounterMode(display=False) as counter:
        Matrix()(torch.zeros(1, 5))
    assert counter.get_total_flops() == 0
    assert cost(Matrix(), 5).macs == 35


def test_torchs_counter_and_fvcore_know_no_deformable_convolution():
    from torchvision.ops import DeformConv2d

    class Deformable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.offset = nn.Conv2d(4, 2 * 9, 3, padding=1)
            self.conv = DeformConv2d(4, 6, 3, padding=1, groups=2, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x, self.offset(x))

    network = Deformable()
    plain = 8 * 8 * (4 * 18 * 9)
    deformed = 8 * 8 * (4 // 2 * 6 * 9)
    assert cost(network, 4, 8, 8).macs == plain + deformed
    assert fvcore_macs(network, 4, 8, 8) == plain
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 4, 8, 8))
    assert counter.get_total_flops() == 2 * plain


@pytest.mark.parametrize("need_weights", [True, False])
def test_attention_costs_the_same_fused_and_by_hand(need_weights: bool):
    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(24, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x, need_weights=need_weights)[0]

    counted = cost(Attend(), 10, 24, batch=2)
    assert counted.macs == 2 * (10 * 24 * 72 + 2 * 10 * 10 * 24 + 10 * 24 * 24)
    fused = any(operation.name == "scaled_dot_product_attention" for operation in counted.trace.operations)
    assert fused is not need_weights


def test_torchs_counter_sees_nothing_of_torchs_fast_path_for_encoder_layers():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    with FlopCounterMode(display=False) as fast, torch.no_grad():
        layer(torch.zeros(1, 10, 16))
    with FlopCounterMode(display=False) as slow:
        layer(torch.zeros(1, 10, 16))
    assert fast.get_total_flops() == 0
    assert 2 * cost(layer, 10, 16).macs == slow.get_total_flops()


def test_attention_of_other_widths_and_lengths_is_counted_by_its_shapes():
    class Cross(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            key, value = x.new_zeros(1, 2, 5, 8), x.new_zeros(1, 2, 5, 3)
            return F.scaled_dot_product_attention(x, key=key, value=value)

    counted = cost(Cross(), 2, 7, 8)
    assert counted.macs == 2 * 7 * 5 * (8 + 3)
    assert counted.rows[0].shape == (1, 2, 7, 3)


def test_grouped_queries_share_keys_and_values():
    class Grouped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(x, x[:, :2], x[:, :2], enable_gqa=True)

    assert cost(Grouped(), 6, 7, 8).macs == 6 * 7 * 7 * 16


def test_einsum_is_the_products_that_it_runs_as():
    class Einsum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 5))

        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("nchw,cd->ndhw", x, self.weight)

    assert cost(Einsum(), 3, 4, 6).macs == 4 * 6 * 3 * 5 == fvcore_macs(Einsum(), 3, 4, 6)


@pytest.mark.parametrize(
    ("module", "image", "flops"),
    [
        (nn.ReLU(), (3, 4, 5), 60),
        (nn.ReLU(inplace=True), (3, 4, 5), 60),
        (nn.BatchNorm2d(3), (3, 4, 5), 2 * 60),
        (nn.LayerNorm(5), (3, 4, 5), 7 * 60),
        (nn.GroupNorm(1, 3), (3, 4, 5), 7 * 60),
        (nn.Softmax(-1), (3, 4, 5), 5 * 60),
        (nn.GELU(), (3, 4, 5), 5 * 60),
        (nn.SiLU(inplace=True), (3, 4, 5), 4 * 60),
        (nn.MaxPool2d(2), (3, 4, 4), 4 * 12),
        (nn.AvgPool2d(3, stride=1, padding=1), (3, 4, 4), 9 * 48),
        (nn.AdaptiveAvgPool2d(1), (3, 4, 4), 48),
        (nn.Flatten(), (3, 4, 4), 0),
        (nn.PixelShuffle(2), (4, 4, 4), 0),
        (nn.ZeroPad2d(1), (3, 4, 4), 0),
        (nn.Upsample(scale_factor=2), (3, 4, 4), 0),
        (nn.Upsample(scale_factor=2, mode="bilinear"), (3, 4, 4), 7 * 192),
        (nn.LocalResponseNorm(5), (6, 4, 4), 96 * (1 + 5 + 1 + 1 + 1 + 1)),  # square, mean of 5, scale, 1 +, power, /
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_what_is_no_product_costs_flops_and_no_macs(module: nn.Module, image: tuple[int, ...], flops: int):
    counted = cost(module, *image)
    assert (counted.macs, counted.flops) == (0, flops)


def test_operations_without_a_rule_are_named():
    class Fourier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Bilinear(9, 9, 4)
            self.gain = nn.Parameter(torch.zeros(8, 9, dtype=torch.complex64))

        def forward(self, x: Tensor) -> Tensor:
            spectrum = (torch.fft.rfft2(x) * self.gain).abs()
            return self.mix(spectrum, spectrum)

    counted = cost(Fourier(), 3, 8, 16)
    assert counted.uncounted == {"_fft_r2c": 1, "_trilinear": 1, "abs": 1, "mul": 1}  # complex numbers have no rules
    assert counted.parameters == 9 * 9 * 4 + 4 + 72


def test_whole_numbers_are_no_floating_point_operations():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(10, 4)

        def forward(self, x: Tensor) -> Tensor:
            places = torch.arange(x.shape[-1], device=x.device) * 2 % 10
            return x @ self.table(places)

    counted = cost(Tokens(), 3, 6)
    assert counted.flops == 2 * counted.macs == 2 * 3 * 6 * 4


@pytest.mark.parametrize(
    ("network", "image", "macs"),
    [
        (nn.Conv1d(3, 6, 5, stride=2, groups=3), (3, 50), 23 * 6 * 5),
        (nn.Conv3d(3, 6, 3, dilation=2), (3, 9, 8, 7), 5 * 4 * 3 * 6 * 3 * 27),
        (nn.ConvTranspose1d(4, 6, 3, stride=2), (4, 10), 10 * 4 * 6 * 3),
        (nn.LSTM(8, 16, batch_first=True), (5, 8), 5 * 4 * 16 * (8 + 16)),
    ],
    ids=["1-D", "3-D", "transposed", "recurrent"],
)
def test_other_kinds_of_layers_are_counted(network: nn.Module, image: tuple[int, ...], macs: int):
    assert cost(network, *image).macs == macs
