"""SENets are timm's: those of today, and the authors' own that timm keeps under other names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from parity import (
    assert_equal_training_steps,
    assert_every_parameter_is_trained,
    overwritten_outputs,
    randomise,
    relative_difference,
    shapes,
    stage_shapes,
    training_step,
)
from torch import nn

from neocog.analysis.blank import without_numbers
from neocog.catalog import describe
from neocog.errors import UsageError
from neocog.layers.squeeze_excite import SqueezeExcite
from neocog.models import convert_state_dict, create_model, tap
from neocog.models.senet import CONFIGS, SENet

AS_IN_TIMM = ["seresnet50", "seresnet101", "seresnet152", "seresnext50_32x4d", "seresnext101_32x4d"]
LEGACY = {
    "seresnet50_v1": "legacy_seresnet50",
    "seresnet101_v1": "legacy_seresnet101",
    "seresnet152_v1": "legacy_seresnet152",
    "senet154": "legacy_senet154",
}


def build(name: str, **edits: object) -> SENet:
    return SENet(replace(CONFIGS[name], **edits))


def timms(name: str, **options: object) -> nn.Module:
    return timm.create_model(LEGACY.get(name, name), drop_rate=0.0, **options)


def timms_shallow(name: str) -> nn.Module:
    """Return timm's network with a block in each stage."""
    from timm.models import resnet, senet

    if name == "senet154":
        return senet.SENet(
            senet.SEBottleneck, (1, 1, 1, 1), 64, 16, drop_rate=0.0, downsample_kernel_size=3,
            downsample_padding=1, inplanes=128, input_3x3=True, num_classes=7,
        )  # fmt: skip
    if name == "seresnet50_v1":
        return senet.SENet(senet.SEResNetBottleneck, (1, 1, 1, 1), 1, 16, drop_rate=0.0, num_classes=7)
    block_args = {"attn_layer": "se"}
    return resnet.ResNet(resnet.Bottleneck, (1, 1, 1, 1), block_args=block_args, num_classes=7)


@pytest.mark.parametrize("name", [*AS_IN_TIMM, *LEGACY])
def test_names_and_shapes_are_timms_or_convert_to_them_and_back(name: str):
    with without_numbers():
        ours, theirs = build(name), timms(name)
    there = convert_state_dict(ours.state_dict(), name, "neocog", target="timm")
    assert {key: tensor.shape for key, tensor in there.items()} == shapes(theirs)
    back = convert_state_dict(theirs.state_dict(), name, "timm")
    assert {key: tensor.shape for key, tensor in back.items()} == shapes(ours)
    assert (set(there) == set(back)) is (name in AS_IN_TIMM)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*AS_IN_TIMM, *LEGACY])
@torch.no_grad()
def test_logits_are_timms(name: str):
    ours, theirs = build(name).eval(), timms(name).eval()
    randomise(theirs, gain=1.5 if name == "senet154" else 1.0)  # which is deep, and would see all images alike
    ours.load_state_dict(convert_state_dict(theirs.state_dict(), name, "timm"))
    images = torch.randn(2, 3, 65, 72, generator=torch.Generator().manual_seed(1))
    expected = theirs(images)
    assert (expected[0] - expected[1]).abs().max() > 0.01
    assert relative_difference(ours(images), expected) < 1e-5


@pytest.mark.parametrize(
    "name", ["seresnet50", *(pytest.param(name, marks=pytest.mark.slow) for name in ("seresnet50_v1", "senet154"))]
)
def test_a_training_step_is_timms_in_float64(name: str):
    ours = build(name, depths=(1, 1, 1, 1), num_classes=7, dropout=0.0).double()
    theirs = timms_shallow(name).double()
    randomise(theirs)
    edits = {"depths": (1, 1, 1, 1)}
    ours.load_state_dict(convert_state_dict(theirs.state_dict(), name, "timm", **edits))
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    expected = convert_state_dict(training_step(theirs, images), name, "timm", **edits)
    for key, tensor in training_step(ours, images).items():
        torch.testing.assert_close(tensor, expected[key], rtol=1e-9, atol=1e-12, msg=key)


@pytest.mark.slow
def test_a_training_step_of_a_deep_one_is_timms_in_float64():
    ours = build("seresnext101_32x4d", num_classes=7)
    theirs = timm.create_model("seresnext101_32x4d", num_classes=7, drop_rate=0.0)
    assert_equal_training_steps(ours, theirs, 3, 64, 64)


def test_a_file_of_timms_other_names_loads(tmp_path: Path):
    theirs = timms_shallow("seresnet50_v1").eval()
    randomise(theirs)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    ours = create_model("seresnet50_v1", weights=tmp_path / "theirs.pth", depths=(1, 1, 1, 1)).eval()
    assert ours.loaded is not None
    assert ours.loaded.library == "timm"
    images = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        assert relative_difference(ours(images), theirs(images)) < 1e-5


def test_the_published_seresnext_differs_in_its_pool_alone():
    """So that its weights load with one edit; its file has the other names of timm's."""
    with torch.device("meta"):
        theirs = timm.create_model("legacy_seresnext50_32x4d")
        ours = build("seresnext50_32x4d", pool="ceil")
    state = convert_state_dict(theirs.state_dict(), "seresnext50_32x4d", "timm", pool="ceil")
    assert {key: tensor.shape for key, tensor in state.items()} == shapes(ours)
    for key in ("stride", "groups", "padding"):
        convolutions = [
            {getattr(module, key) for module in network.modules() if isinstance(module, nn.Conv2d)}
            for network in (ours, theirs)
        ]
        assert convolutions[0] == convolutions[1]


def test_parameters_grow_by_a_tenth_of_resnet_50s():
    """Section 4: some 2.5 million more than some 25 million, which is 2 / r times the sum of C squared over blocks."""
    with torch.device("meta"):
        network = build("seresnet50_v1")
    weights = sum(
        parameter.numel()
        for module in network.modules()
        if isinstance(module, SqueezeExcite)
        for parameter in module.parameters()
        if parameter.ndim == 4
    )
    assert (
        weights
        == 2 * sum(blocks * channels**2 for blocks, channels in ((3, 256), (4, 512), (6, 1024), (3, 2048))) // 16
    )
    assert round(weights / 1e6, 1) == 2.5


def test_senet154_is_counted_by_its_name():
    """154 layers with the head and the stem's three, but without shortcuts and side paths.

    Seed 004 ascribes it to Shao et al. 2016; it is by Hu et al., of 2017.
    """
    assert (describe("senet154").year, describe("senet154").url[-10:]) == (2017, "1709.01507")
    with torch.device("meta"):
        network = build("senet154")
    layers = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "downsample" not in name and ".se." not in name
    ]
    assert len(layers) == 154
    assert network.get_submodule("layer2.0.downsample.0").kernel_size == (3, 3)
    assert network.get_submodule("layer1.0.downsample.0").kernel_size == (1, 1)
    assert (
        network.get_submodule("layer1.0.conv1").out_channels
        == network.get_submodule("layer1.0.conv2").out_channels // 2
    )


@pytest.mark.parametrize("name", ["seresnet50", "senet154"])
def test_every_kind_of_block_trains_with_finite_gradients_everywhere(name: str):
    torch.manual_seed(0)
    edits = {"depths": (1, 1), "width": 16, "stem": "imagenet", "reduction": 4, "num_classes": 4}
    if name == "senet154":
        edits |= {"cardinality": 4, "dropout": 0.0}
    assert_every_parameter_is_trained(build(name, **edits), torch.randn(4, 3, 32, 32))


def test_side_paths_are_seen_by_tap_and_weigh_with_what_they_return():
    network = build("seresnet50", depths=(1,)).eval()
    randomise(network)
    with torch.no_grad(), tap(network, ["layer1.0.bn3", "layer1.0.se", "layer1.0.downsample", "layer1.0"]) as seen:
        network.forward_features(torch.randn(1, 3, 32, 32))
    weighed = seen["layer1.0.se"]
    gates = weighed / seen["layer1.0.bn3"]
    torch.testing.assert_close(gates, gates[:, :, :1, :1].expand_as(gates), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(seen["layer1.0"], (weighed + seen["layer1.0.downsample"]).relu())


@pytest.mark.parametrize("name", ["seresnet50", "seresnet50_v1", "senet154"])
def test_no_output_of_a_module_is_overwritten(name: str):
    assert overwritten_outputs(build(name, depths=(1, 1)), torch.randn(2, 3, 32, 32)) == []


@pytest.mark.parametrize("name", ["seresnet50", "senet154"])
def test_small_images_have_a_stem_of_their_own(name: str):
    expected = [(256, 32, 32), (512, 16, 16)]
    assert stage_shapes(build(name, stem="small", depths=(1, 1)), 3, 32, 32) == expected


def test_dropout_is_before_the_head_and_in_training_alone():
    network = build("senet154", depths=(1,), dropout=0.9)
    features = torch.ones(1, 256, 2, 2)
    assert torch.equal(network.eval().forward_head(features), network.forward_head(features))
    assert not torch.equal(network.train().forward_head(features), network.forward_head(features))
    assert torch.equal(network.forward_head(features, pre_logits=True), torch.ones(1, 256))


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"cardinality": 0}, "not 0 and 64"),
        ({"group_width": 0}, "not 1 and 0"),
        ({"reduction": 257}, "257"),
        ({"reduction": 0}, "not 0"),
        ({"dropout": 1.0}, "1.0"),
        ({"form": "modified", "group_width": 7}, "1 x 7"),
        ({"form": "modified", "cardinality": 4, "group_width": 3}, "half of 4 x 3 .* 4 groups"),
        ({"depths": ()}, "at least 1"),
    ],
)
def test_what_no_network_can_be_is_refused(edits: dict[str, object], said: str):
    with pytest.raises(UsageError, match=said):
        build("seresnet50", **edits)
