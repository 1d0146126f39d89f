from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from parity import (
    assert_equal_training_steps,
    assert_every_parameter_is_trained,
    batch_norm,
    differs_from_reading_by,
    logits_differ_by,
    multiply_adds,
    overwritten_outputs,
    shapes,
    stage_shapes,
)
from torch import Tensor

from neocog.errors import UsageError
from neocog.models import create_model, tap
from neocog.models.resnet import CONFIGS, ResNet

IN_TORCHVISION = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
IN_TIMM = [*IN_TORCHVISION, "resnet26", "resnet200"]


def build(name: str, **edits: object) -> ResNet:
    return ResNet(replace(CONFIGS[name], **edits))


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", IN_TIMM)
def test_names_and_shapes_are_timms(name):
    with torch.device("meta"):
        assert shapes(build(name)) == shapes(timm.create_model(name))


@pytest.mark.parametrize("name", IN_TORCHVISION)
def test_names_and_shapes_are_torchvisions(name):
    with torch.device("meta"):
        assert shapes(build(name)) == shapes(torchvision.models.get_model(name))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in ("resnet101", "resnet200") else name for name in IN_TIMM],
)
def test_logits_are_timms(name):
    assert logits_differ_by(build(name), timm.create_model(name), 3, 64, 64) < 1e-5


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_logits_are_torchvisions(name):
    assert logits_differ_by(build(name), torchvision.models.get_model(name), 3, 75, 64) < 1e-5


def test_the_published_bottleneck_is_torchvisions_with_the_stride_moved():
    theirs = torchvision.models.resnet50()
    for module in theirs.modules():
        if isinstance(module, torchvision.models.resnet.Bottleneck):
            module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride
    assert logits_differ_by(build("resnet50_v1"), theirs, 3, 64, 64) < 1e-5


def reference_cifar_logits(state: dict[str, Tensor], x: Tensor, *, shortcuts: bool) -> Tensor:
    """Section 4.2 read once more, from the parameters alone, without classes or strided slices."""

    def convolve(x: Tensor, conv: str, bn: str, stride: int = 1) -> Tensor:
        x = F.conv2d(x, state[f"{conv}.weight"], stride=stride, padding=1)
        return batch_norm(x, state, bn)

    x = convolve(x, "conv1", "bn1").relu()
    for stage in (1, 2, 3):
        for block in range(sum(name.endswith("conv1.weight") for name in state if name.startswith(f"layer{stage}."))):
            at = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            y = convolve(x, f"{at}.conv1", f"{at}.bn1", stride).relu()
            y = convolve(y, f"{at}.conv2", f"{at}.bn2")
            if shortcuts:
                x = F.max_pool2d(x, 1, stride)  # of one pixel: subsampling
                y = y + torch.cat([x, torch.zeros_like(y[:, x.shape[1] :])], dim=1)
            x = y.relu()
    return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


@pytest.mark.parametrize("name", ["resnet20", "plain20", "resnet56"])
def test_cifar_networks_are_section_4_2(name):
    reading = partial(reference_cifar_logits, shortcuts=not name.startswith("plain"))
    gain = 2.0 if name.startswith("plain") else 1.0
    assert differs_from_reading_by(build(name), reading, 3, 32, 32, gain=gain) < 1e-5


def test_a_training_step_is_timms_in_float64():
    ours = build("resnet18", num_classes=7)
    assert_equal_training_steps(ours, timm.create_model("resnet18", num_classes=7), 3, 64, 64)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("resnet18", 1.814),
        ("resnet34", 3.664),
        ("resnet50", 4.089),
        ("resnet101", 7.801),
        ("resnet152", 11.514),
        ("resnet50_v1", 3.858),
        ("resnet101_v1", 7.570),
        ("resnet152_v1", 11.282),
    ],
)
def test_multiply_adds_at_224(name, billions):
    with torch.device("meta"):
        network = build(name)
    assert round(multiply_adds(network, 3, 224, 224) / 1e9, 3) == billions


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("resnet20", "0.27"),
        ("resnet32", "0.46"),
        ("resnet44", "0.66"),
        ("resnet56", "0.85"),
        ("resnet110", "1.7"),
        ("resnet1202", "19.4"),
    ],
)
def test_parameters_are_those_of_table_6(name, millions):
    decimals = len(millions.partition(".")[2])
    with torch.device("meta"):
        assert f"{parameters(build(name)) / 1e6:.{decimals}f}" == millions


def test_depth_in_the_name_counts_weighted_layers():
    for name, config in CONFIGS.items():
        with torch.device("meta"):
            network = ResNet(config)
        layers = [
            module
            for path, module in network.named_modules()
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear) and "downsample" not in path
        ]
        assert str(len(layers)) == name.partition("_")[0].removeprefix("resnet").removeprefix("plain")


def test_shortcuts_a_b_and_c_add_no_few_and_many_parameters():
    with torch.device("meta"):
        counted = {option: parameters(build("resnet34", shortcut=option)) for option in ("none", "A", "B", "C")}
    assert counted["none"] == counted["A"] == 21_623_848
    assert counted["B"] == torchvision.models.ResNet34_Weights.DEFAULT.meta["num_params"]
    assert counted["C"] > counted["B"]


@pytest.mark.parametrize("option", ["A", "C", "none"])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_every_shortcut_trains_with_finite_gradients_everywhere(name, option):
    network = build(name, shortcut=option, stem="small", depths=(1, 1), width=8, zero_init_last=False, num_classes=3)
    assert_every_parameter_is_trained(network, torch.randn(3, 3, 8, 8))


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "plain18", "resnet20"])
def test_no_output_of_a_module_is_overwritten(name):
    assert overwritten_outputs(build(name), torch.randn(2, 3, 32, 32)) == []


def test_blocks_begin_as_the_identity_where_the_last_norm_begins_at_zero():
    images = torch.rand(2, 64, 8, 8)
    for zero in (True, False):
        network = build("resnet18", zero_init_last=zero)
        network.init_weights()
        assert torch.equal(network.get_submodule("layer1.1")(images), images) is zero


def test_a_plain_network_does_not_begin_dead():
    network = build("resnet18", shortcut="none", num_classes=5)
    network.init_weights()
    logits = network(torch.randn(2, 3, 32, 32))
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_convolutions_begin_with_the_variance_of_he_2015():
    network = build("resnet50")
    network.init_weights()
    weight = network.get_submodule("layer3.1.conv2").weight
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)
    assert all(norm.weight.eq(1).all() for path, norm in network.named_modules() if path.endswith(("bn1", "bn2")))


def test_the_1202_layers_for_cifar_run():
    with torch.no_grad():
        assert build("resnet1202").eval()(torch.randn(1, 3, 8, 8)).isfinite().all()


@pytest.mark.parametrize(
    ("name", "edits", "sides"),
    [
        ("resnet18", {}, [16, 8, 4, 2]),
        ("resnet50", {"stem": "small"}, [64, 32, 16, 8]),
        ("resnet20", {}, [64, 32, 16]),
    ],
)
def test_stages_are_where_resolution_and_width_change(name, edits, sides):
    found = stage_shapes(build(name, **edits), 3, 64, 64)
    assert found == [(found[0][0] * 2**index, side, side) for index, side in enumerate(sides)]


def test_the_last_stage_gives_the_features():
    network = build("resnet20").eval()
    last = network.stage_names[-1]
    with torch.no_grad(), tap(network, [last]) as seen:
        features = network.forward_features(torch.randn(1, 3, 32, 32))
    assert torch.equal(features, seen[last])


def test_the_head_can_be_replaced_removed_and_bypassed():
    network = build("resnet20", in_chans=1).eval()
    images = torch.randn(2, 1, 28, 28)
    pooled = network.forward_head(network.forward_features(images), pre_logits=True)
    assert pooled.shape == (2, network.num_features)

    network.reset_classifier(3)
    assert network.num_classes == network.config.num_classes == 3
    assert torch.equal(network(images), network.fc(pooled))
    network.reset_classifier(0)
    assert torch.equal(network(images), pooled)
    assert build("resnet20", num_classes=0, in_chans=1)(images).shape == pooled.shape


def test_one_pixel_is_enough_to_predict():
    assert build("resnet18").eval()(torch.randn(1, 3, 1, 1)).isfinite().all()


@pytest.mark.parametrize("edits", [{"depths": ()}, {"depths": (2, 0)}, {"width": 0}])
def test_a_network_without_blocks_or_filters_is_refused(edits):
    with pytest.raises(UsageError, match="at least 1"):
        build("resnet18", **edits)


def test_stochastic_depth_leaves_out_timms_shares_of_blocks_and_nothing_in_evaluation():
    from timm.layers import DropPath

    theirs = timm.create_model("resnet50", drop_path_rate=0.3)
    rates = [
        0.0 if block.drop_path is None else block.drop_path.drop_prob
        for name, block in theirs.named_modules()
        if type(block).__name__ == "Bottleneck" and (block.drop_path is None or isinstance(block.drop_path, DropPath))
    ]
    with torch.device("meta"):
        network = create_model("resnet50", stochastic_depth=0.3)
    ours = [1 - module.survival for module in network.modules() if hasattr(module, "survival")]
    assert ours == pytest.approx(rates)

    network = create_model("resnet20", stochastic_depth=0.9).train()
    images = torch.randn(4, 3, 16, 16)
    assert not torch.equal(network(images), network(images))
    network.eval()
    torch.testing.assert_close(network(images), network(images), rtol=0, atol=0)


def test_stochastic_depth_of_a_plain_network_is_refused():
    with pytest.raises(UsageError, match="plain"):
        create_model("plain20", stochastic_depth=0.1)
