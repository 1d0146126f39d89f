"""Receptive fields of whole networks: against the support of the gradient, published numbers and formulas."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from field_checks import Function, check_against_gradient, check_every_position, fields_of
from torch import nn

import neocog
from neocog.analysis import receptive_fields, trace_forward
from neocog.errors import UnknownNameError, UsageError

INF = (math.inf, math.inf)


def from_torchvision(name: str, **options) -> nn.Module:
    from torchvision import models

    return getattr(models, name)(weights=None, **options)


def from_timm(name: str, **options) -> nn.Module:
    import timm

    return timm.create_model(name, **options)


@cache
def fields(source: str, size: int = 224):
    """The fields of a network that is not made, only described."""
    home, name = source.split(":")
    with torch.device("meta"):
        network = {"timm": from_timm, "torchvision": from_torchvision, "neocog": neocog.create_model}[home](name)
    channels = neocog.describe(name).input[0] if home == "neocog" else 3
    return fields_of(network, (channels, size, size))


# Every network, by the gradient


SIDES = {"googlenet": 65, "inception_v2": 65, "inception_v3": 139, "inception_v4": 139, "inception_resnet": 139,
         "nin": 67, "xception": 97}  # fmt: skip
"""Of images that strides divide without a rest, where 64 pixels are not."""


def check_of_catalog(name: str) -> None:
    network, entry = neocog.create_model(name), neocog.describe(name)
    channels, size, _ = entry.input
    image = (channels, *[min(size, max(SIDES.get(entry.family, 64), least)) for least in network.min_size])
    if entry.family == "perceptron":  # there are no maps
        assert fields_of(network, image).rows[-1].is_global
    else:
        check_against_gradient(network, image)


FAMILIES = [
    "neocognitron_1980", "lenet5_1998", "lenet5", "alexnet", "nin_cifar10", "dsn_mnist", "vgg11_cifar", "googlenet",
    "inception_v2", "fitnet1", "highway_mlp_10", "resnet20", "resnet18", "plain20", "resnetv2_110", "densenet_bc100_12",
    "resnet110_stochastic_depth", "wide_resnet40_4", "seresnet50_v1", "mobilenetv2_035",
]  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_fields_of_a_network_of_each_family_are_the_support_of_the_gradient(name):
    check_of_catalog(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", neocog.list_models())
def test_fields_of_every_network_are_the_support_of_the_gradient(name):
    check_of_catalog(name)


QUICK = {
    "squeezenet1_1": lambda: (from_torchvision("squeezenet1_1"), 63),
    "shufflenet_v2": lambda: (from_torchvision("shufflenet_v2_x0_5"), 64),
    "mobilenet_v3_small": lambda: (from_torchvision("mobilenet_v3_small"), 64),
    "efficientnet_b0": lambda: (from_timm("efficientnet_b0"), 64),
    "ghostnet": lambda: (from_timm("ghostnet_050"), 64),
    "convnext_atto": lambda: (from_timm("convnext_atto"), 64),
}


@pytest.mark.parametrize("name", QUICK)
def test_fields_of_others_networks_are_the_support_of_the_gradient(name):
    network, size = QUICK[name]()
    check_against_gradient(network, (3, size, size), layers=3)


MANY = {
    "vgg16": lambda: (from_torchvision("vgg16"), 64),
    "googlenet": lambda: (from_torchvision("googlenet", init_weights=False, aux_logits=False), 65),
    "inception_v3": lambda: (from_torchvision("inception_v3", init_weights=False, aux_logits=False), 139),
    "inception_v4": lambda: (from_timm("inception_v4"), 139),
    "inception_resnet_v2": lambda: (from_timm("inception_resnet_v2"), 139),
    "densenet121": lambda: (from_timm("densenet121"), 64),
    "mobilenet_v2": lambda: (from_torchvision("mobilenet_v2"), 96),
    "mobilenetv1": lambda: (from_timm("mobilenetv1_100"), 96),
    "resnext50": lambda: (from_timm("resnext50_32x4d"), 64),
    "seresnet50": lambda: (from_timm("seresnet50"), 64),
    "regnety_008": lambda: (from_timm("regnety_008"), 96),
    "convnext_tiny": lambda: (from_timm("convnext_tiny"), 64),
    "nfnet": lambda: (from_timm("eca_nfnet_l0"), 64),
    "xception": lambda: (from_timm("legacy_xception"), 97),
    "res2net50": lambda: (from_timm("res2net50_26w_4s"), 64),
    "hrnet": lambda: (from_timm("hrnet_w18_small"), 64),
    "dla34": lambda: (from_timm("dla34"), 96),
    "dpn68": lambda: (from_timm("dpn68"), 96),
    "nasnet": lambda: (from_timm("nasnetalarge"), 139),
    "pnasnet": lambda: (from_timm("pnasnet5large"), 139),
    "cspresnet50": lambda: (from_timm("cspresnet50"), 64),
    "vovnet39": lambda: (from_timm("vovnet39a"), 96),
    "mixnet_s": lambda: (from_timm("mixnet_s"), 96),
    "skresnet18": lambda: (from_timm("skresnet18"), 64),
    "repvgg": lambda: (from_timm("repvgg_a0"), 64),
    "tresnet": lambda: (from_timm("tresnet_m"), 64),
    "resnet50, stride 8": lambda: (
        from_torchvision("resnet50", replace_stride_with_dilation=[False, True, True]), 64,
    ),
    "resnet50, stride 8, of timm": lambda: (from_timm("resnet50", output_stride=8), 64),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MANY)
def test_fields_of_many_networks_are_the_support_of_the_gradient(name):
    network, size = MANY[name]()
    check_against_gradient(network, (3, size, size), layers=5)


@pytest.mark.slow
def test_convolution_and_attention_of_coatnet_are_told_apart():
    check_against_gradient(from_timm("coatnet_0_rw_224"), (3, 224, 224))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("swin_t", 224), ("swin_t", 200), ("swin_v2_t", 256)])
def test_shifted_windows_with_their_masks_are_the_support_of_the_gradient(name, size):
    check_against_gradient(from_torchvision(name), (3, size, size), channels=3, windows=True)


def test_borders_that_a_stride_leaves_over_are_not_seen():
    """After 65 pixels are pooled to 32, the last is of no use to anyone, and padding does not bring it back."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1))
    check_against_gradient(network, (3, 65, 65), names=["2"], whole=False)
    last = fields_of(network, (3, 65, 65)).of("2")
    assert last.at(31, 31)[0] == (59.0, 66.0)
    assert last.seen(31, 31) == ((59, 64), (59, 64))


@pytest.mark.parametrize("image", [(3, 48, 80), (3, 97, 33)])
def test_images_need_not_be_square(image):
    check_against_gradient(neocog.create_model("resnet20"), image, layers=3)
    check_against_gradient(neocog.create_model("mobilenetv2_035"), (3, 64, 96), layers=2)


# Published and known numbers


def last_map(found):
    """The last map that is not pooled to a fixed size, as torchvision's older networks do before their head."""
    return [row for row in found.rows if row.grid == (2, 3) and row.kind != "AdaptiveAvgPool2d"][-1]


@pytest.mark.parametrize(
    ("source", "size", "stride", "image"),
    [
        ("torchvision:alexnet", 195, 32, 224),
        ("torchvision:vgg16", 212, 32, 224),
        ("neocog:resnet50_v1", 483, 32, 224),
        ("neocog:resnet101_v1", 1027, 32, 224),
        ("neocog:resnet152_v1", 1507, 32, 224),
        ("timm:inception_v3", 1311, 32, 299),
        ("timm:inception_v4", 2071, 32, 299),
        ("timm:inception_resnet_v2", 3039, 32, 299),
        ("timm:mobilenetv1_100", 315, 32, 224),
    ],
)
def test_sizes_of_araujo_norris_and_sim(source, size, stride, image):
    """Distill 2019, table "Receptive fields of popular networks". Its ResNets stride in the first 1x1, as published."""
    last = last_map(fields(source, image))
    assert last.size == (size, size)
    assert last.stride == (stride, stride)


def test_the_stride_in_the_3x3_makes_a_residual_network_see_less():
    """The 3x3 that strides counts at the finer resolution: 56 pixels less in all. Hence 427 where the table has 483."""
    assert fields("neocog:resnet50").of("layer4").size == (427.0, 427.0)
    assert 483 - 427 == (16 - 8) + (32 - 16) + (64 - 32)


def test_resnet18_sees_435_pixels_of_which_its_shortest_path_sees_11():
    layer4 = fields("neocog:resnet18").of("layer4")
    assert layer4.size == layer4.largest == layer4.local == (435.0, 435.0)
    assert layer4.stride == (32.0, 32.0)
    assert layer4.smallest == (11.0, 11.0)  # the stem: every block may be gone past
    assert layer4.padding == (217.0, 217.0)
    assert layer4.centre == (0.0, 0.0)
    assert fields("neocog:resnet18").of("layer1.0").smallest == (11.0, 11.0)
    assert fields("neocog:resnet18").of("layer1.0.conv2").smallest == (27.0, 27.0)


def test_a_field_is_as_large_on_a_small_image():
    assert fields("neocog:resnet18", 32).of("layer4").size == (435.0, 435.0)
    assert fields("timm:efficientnet_b0", 64).of("blocks").local == fields("timm:efficientnet_b0").of("blocks").local
    assert fields("neocog:resnet18", 32).of("layer4").shape == (1, 512, 1, 1)
    assert fields("neocog:resnet18", 32).of("fc").is_global


def test_three_3x3_see_what_one_7x7_sees():
    three = fields_of(nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))), (3, 32, 32))
    one = fields_of(nn.Sequential(nn.Conv2d(3, 3, 7, padding=3)), (3, 32, 32))
    for position in [(0, 0), (16, 16), (31, 5)]:
        assert three.of("2").at(*position) == one.of("0").at(*position)
    assert [three.of(str(layer)).size for layer in range(3)] == [(3.0, 3.0), (5.0, 5.0), (7.0, 7.0)]  # 1 + L (K - 1)


@pytest.mark.parametrize("dilation", [1, 2, 5])
def test_a_dilated_kernel_sees_as_one_spread_out(dilation):
    found = fields_of(nn.Sequential(nn.Conv2d(3, 3, 3, dilation=dilation)), (3, 32, 32)).of("0")
    assert found.size == (3 + 2 * (dilation - 1),) * 2


def test_uneven_padding_puts_the_centre_half_a_pixel_off():
    even = fields_of(neocog.create_model("mobilenetv2_035", padding="symmetric"), (3, 64, 64))
    uneven = fields_of(neocog.create_model("mobilenetv2_035", padding="same"), (3, 64, 64))
    assert even.of("conv_stem").centre == (0.0, 0.0)
    assert uneven.of("conv_stem").centre == (1.0, 1.0)
    assert even.of("bn2").centre == (0.0, 0.0)
    assert uneven.of("bn2").centre == (31.0, 31.0)  # the middle of the 32 pixels would be at 15.5
    assert even.of("bn2").size == uneven.of("bn2").size == (491.0, 491.0)
    check_against_gradient(neocog.create_model("mobilenetv2_035", padding="same"), (3, 64, 64), layers=3)


# What is global


def test_a_gate_makes_all_behind_it_global_and_leaves_a_local_part():
    found = fields("timm:efficientnet_b0")
    gate, before, after = (found.of(f"blocks.0.0.{name}") for name in ("se.gate", "bn1", "se"))
    assert gate.is_global
    assert before.size == (7.0, 7.0)
    assert after.is_global
    assert after.local == after.smallest == (7.0, 7.0)
    assert after.largest == INF
    assert after.stride == (2.0, 2.0)
    assert found.of("blocks.6.0").local == (851.0, 851.0)
    assert after.at(0, 0) == ((-math.inf, math.inf),) * 2
    assert after.at(0, 0, local=True) == ((-3.0, 3.0),) * 2
    assert after.seen(0, 0) == ((0, 223), (0, 223))


def test_attention_is_global_and_the_path_past_it_sees_a_patch():
    found = fields("timm:vit_small_patch16_224")
    tokens, attended, last = (found.of(name) for name in ("blocks.0.norm1", "blocks.0.attn", "blocks.11"))
    assert tokens.size == tokens.stride == (16.0, 16.0)
    assert tokens.grid == (1,)
    assert attended.is_global
    assert last.is_global
    assert last.smallest == last.local == (16.0, 16.0)
    assert tokens.seen(0) is None  # the class token
    assert tokens.at(1) == ((0.0, 15.0), (0.0, 15.0))
    assert tokens.at(1 + 14 + 2) == ((16.0, 31.0), (32.0, 47.0))
    assert last.seen(0) == ((0, 223), (0, 223))
    assert last.at(2, local=True) == ((0.0, 15.0), (16.0, 31.0))


def test_mixing_tokens_is_global():
    found = fields("timm:mixer_s16_224")
    assert found.of("stem").size == (16.0, 16.0)
    assert found.of("blocks.0.mlp_tokens").is_global
    assert found.of("blocks.0").is_global
    assert found.of("blocks.0").smallest == (16.0, 16.0)


def test_fully_connected_layers_are_global():
    assert fields("torchvision:vgg16").of("classifier.0").is_global
    assert not fields("torchvision:vgg16").of("avgpool").is_global
    assert fields("neocog:lenet5", 32).of("c5").size == (32.0, 32.0)  # a convolution: on a larger image it would slide


def test_attention_in_windows_sees_a_window():
    found = fields("timm:swin_tiny_patch4_window7_224")
    first, second = found.of("layers.0.blocks.0"), found.of("layers.0.blocks.1")
    assert first.grid == (1, 2)
    assert first.size == (28.0, 28.0)
    assert first.stride == (4.0, 4.0)
    assert first.smallest == (4.0, 4.0)
    assert first.at(27, 28) == ((84.0, 111.0), (112.0, 139.0))
    assert second.size == (56.0, 56.0)  # windows shifted by three of seven touch four of the first block's
    # Rolled in from the other side, and kept apart by the mask.
    assert second.at(0, 55) == ((-28.0, 27.0), (196.0, 251.0))
    assert second.seen(0, 55) == ((0, 27), (196, 223))
    assert found.of("layers.1.downsample").size == (56.0, 56.0)


def test_shifted_windows_with_their_masks_see_what_the_gradient_says():
    from timm.models.swin_transformer import SwinTransformer

    network = SwinTransformer(img_size=64, patch_size=2, window_size=4, embed_dim=16, depths=(2, 2), num_heads=(2, 2))
    names = [f"layers.{stage}.blocks.{block}" for stage in (0, 1) for block in (0, 1)]
    check_against_gradient(network, (3, 64, 64), names=names, channels=3, windows=True)


# Other shapes of network


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling (DeepLab v3): dilated branches beside the mean of the whole map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        wide = [nn.Conv2d(8, 4, 3, padding=rate, dilation=rate) for rate in (2, 4, 6)]
        self.branches = nn.ModuleList([nn.Conv2d(8, 4, 1), *wide])
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1))
        self.project = nn.Conv2d(20, 8, 1)
        self.head = nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x):
        y = self.stem(x)
        mean = F.interpolate(self.pool(y), size=y.shape[2:], mode="bilinear", align_corners=False)
        y = self.head(self.project(torch.cat([*(branch(y) for branch in self.branches), mean], 1)))
        return F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False)


def test_an_atrous_pyramid_is_global_and_its_branches_are_not():
    check_against_gradient(Pyramid(), (3, 64, 48), names=["branches.3", "project", "head"])
    found = fields_of(Pyramid(), (3, 64, 48))
    assert found.of("branches.3").size == (27.0, 27.0)
    assert found.of("head").is_global
    assert found.of("head").local == (31.0, 31.0)
    assert found.of("head").smallest == (7.0, 7.0)


class UNet(nn.Module):
    """Three levels; up by transposed convolution and by resizing, skips concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(c, 4, 3, padding=1) for c in (3, 4, 4)])
        self.up1, self.up2 = nn.ConvTranspose2d(4, 4, 2, stride=2), nn.ConvTranspose2d(4, 4, 3, 2, 1, 1)
        self.merge1, self.merge2 = nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, x):
        one = self.down[0](x)
        two = self.down[1](F.max_pool2d(one, 2))
        three = self.down[2](F.max_pool2d(two, 2))
        two = self.merge1(torch.cat([two, self.up1(three)], 1))
        return self.merge2(torch.cat([one, self.up2(two)], 1))


def test_a_u_net_sees_through_all_its_levels():
    check_against_gradient(UNet(), (3, 32, 48), names=["down.2", "up1", "merge1", "up2", "merge2"])
    found = fields_of(UNet(), (3, 32, 48)).of("merge2")
    assert found.stride == (1.0, 1.0)
    assert found.smallest == (5.0, 5.0)
    assert found.shape == (1, 4, 32, 48)


class Reversible(nn.Module):
    """Two halves of the channels, each changed by the other (RevNet): what is joined is told apart again."""

    def __init__(self) -> None:
        super().__init__()
        self.f, self.g = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        one, two = x.chunk(2, 1)
        one = one + self.f(two)
        return torch.cat([one, two + self.g(one)], 1)


def test_halves_of_the_channels_are_followed_apart():
    network = nn.Sequential(nn.Conv2d(3, 8, 1), Reversible(), Reversible(), Function(lambda x: x[:, :4]))
    check_every_position(network, (3, 12, 12), "3")
    found = fields_of(network, (3, 12, 12))
    assert found.of("1.f").size == (3.0, 3.0)
    assert found.of("1.g").size == (5.0, 5.0)
    assert found.of("2.f").size == (7.0, 7.0)
    assert found.of("3").size == (7.0, 7.0)  # not the 9 of the other half


def test_batch_precision_and_training_change_nothing():
    network = neocog.create_model("resnet20")
    plain = fields_of(network, (3, 32, 32))
    for options in ({"batch": 4}, {"dtype": torch.bfloat16}, {"training": True}):
        other = receptive_fields(trace_forward(network, (3, 32, 32), **options))
        assert [(row.name, row.size, row.centre) for row in other.rows] == [
            (row.name, row.size, row.centre) for row in plain.rows
        ]


def test_fields_of_blocks_and_stages_are_those_of_their_last_layers():
    trace = trace_forward(neocog.create_model("resnet20"), (3, 32, 32))
    layers = receptive_fields(trace)
    blocks = receptive_fields(trace, "block")
    assert blocks.of("layer2.1").size == layers.of("layer2.1").size
    stages = receptive_fields(trace, "stage")
    assert layers.of("layer3").size in [row.size for row in stages.rows]
    sizes = [row.size[0] for row in blocks.rows]
    assert sizes == sorted(sizes)


def test_what_functions_make_of_the_last_layer_is_the_last_row():
    class Averaged(nn.Sequential):
        def forward(self, x):
            return super().forward(x).relu().mean((2, 3))

    network = Averaged(nn.Conv2d(3, 5, 3))
    found = fields_of(network, (3, 16, 16))
    assert [row.name for row in found.rows] == ["0", "(relu, mean)"]
    assert found.rows[0].size == (3.0, 3.0)
    assert found.rows[-1].is_global
    assert found.rows[-1].shape == (1, 5)
    blocks = receptive_fields(trace_forward(network, (3, 16, 16)), "block")
    assert blocks.rows[-1].at() == found.rows[-1].at()


def test_a_network_of_no_images_has_no_fields():
    assert receptive_fields(trace_forward(nn.Linear(4, 2), (4,))).rows == ()


# Asking


def test_a_layer_that_is_not_there_is_answered_with_near_names():
    with pytest.raises(UnknownNameError, match="did you mean layer4"):
        fields("neocog:resnet18").of("layr4")


def test_positions_are_checked():
    layer = fields("neocog:resnet18").of("layer4")
    with pytest.raises(UsageError, match=r"layer4 has no position \(7, 0\): it has 7 x 7"):
        layer.at(7, 0)
    with pytest.raises(UsageError, match="no position"):
        layer.seen(1)
    with pytest.raises(UsageError, match="no position"):
        layer.at(-1, 0)
    tokens = fields("timm:vit_small_patch16_224").of("blocks.0.norm1")
    with pytest.raises(UsageError, match=r"no position \(197,\): it has 197,"):
        tokens.at(197)
    assert tokens.at(0, 1, 0) == tokens.at(1)  # an index for each dimension will do


def test_the_field_of_a_layer_that_ran_twice_is_that_of_its_last_call():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)

        def forward(self, x):
            return self.conv(self.conv(x))

    found = fields_of(Twice(), (3, 16, 16))
    assert [row.size for row in found.rows] == [(3.0, 3.0), (5.0, 5.0)]
    assert found.of("conv").size == (5.0, 5.0)
