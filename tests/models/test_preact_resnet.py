from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
import torch.nn.functional as F
from parity import (
    assert_equal_training_steps,
    assert_every_parameter_is_trained,
    batch_norm,
    differs_from_reading_by,
    logits_differ_by,
    multiply_adds,
    overwritten_outputs,
    randomise,
    shapes,
    stage_shapes,
)
from safetensors.torch import save_file
from torch import Tensor

from neocog.errors import UsageError
from neocog.models import create_model, tap
from neocog.models.preact_resnet import CONFIGS, PreActResNet

IN_TIMM = ["resnetv2_18", "resnetv2_34", "resnetv2_50", "resnetv2_101", "resnetv2_152"]


def build(name: str, **edits: object) -> PreActResNet:
    return PreActResNet(replace(CONFIGS[name], **edits))


@pytest.mark.parametrize("name", IN_TIMM)
def test_names_and_shapes_are_timms(name):
    with torch.device("meta"):
        assert shapes(build(name)) == shapes(timm.create_model(name))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "resnetv2_101" else name for name in IN_TIMM]
)
def test_logits_are_timms(name):
    assert logits_differ_by(build(name), timm.create_model(name), 3, 64, 64) < 1e-5


def reference_cifar_logits(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Figure 1(b) and the appendix read once more, from the parameters alone, with the authors' order of operations."""

    def activate(x: Tensor, at: str) -> Tensor:
        return batch_norm(x, state, at).relu()

    def convolve(x: Tensor, at: str, stride: int = 1) -> Tensor:
        weight = state[f"{at}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    x = convolve(x, "stem.conv")
    blocks = [name.removesuffix(".norm1.weight") for name in state if name.endswith(".norm1.weight")]
    for at in blocks:
        first, stride = at == blocks[0], 2 if at.endswith("blocks.0") and not at.startswith("stages.0") else 1
        activated = activate(x, f"{at}.norm1")
        if first:  # the stem is activated before the two paths part
            x = activated
        y = convolve(activated, f"{at}.conv1", stride)
        y = convolve(activate(y, f"{at}.norm2"), f"{at}.conv2")
        if f"{at}.conv3.weight" in state:
            y = convolve(activate(y, f"{at}.norm3"), f"{at}.conv3")
        if f"{at}.downsample.conv.weight" in state:
            x = convolve(activated, f"{at}.downsample.conv", stride)
        elif y.shape != x.shape:
            x = F.max_pool2d(x, 1, stride)  # of one pixel: subsampling
            x = torch.cat([x, torch.zeros_like(y[:, x.shape[1] :])], dim=1)
        x = x + y
    pooled = activate(x, "norm").mean((2, 3))
    return F.linear(pooled, state["head.fc.weight"].flatten(1), state["head.fc.bias"])


@pytest.mark.parametrize("name", ["resnetv2_110", "resnetv2_164"])
def test_cifar_networks_are_the_appendix(name):
    assert differs_from_reading_by(build(name, depths=(2, 2, 2)), reference_cifar_logits, 3, 32, 32) < 1e-5


def test_a_training_step_is_timms_in_float64():
    ours = build("resnetv2_18", num_classes=7)
    assert_equal_training_steps(ours, timm.create_model("resnetv2_18", num_classes=7), 3, 64, 64)


def test_a_file_of_timms_loads_with_another_number_of_classes(tmp_path):
    theirs = timm.create_model("resnetv2_18", num_classes=9)
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    ours = create_model("resnetv2_18", weights=tmp_path / "theirs.safetensors", num_classes=4).eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours.forward_features(images), theirs.eval().forward_features(images))
        assert ours(images).shape == (1, 4)


@pytest.mark.parametrize(
    ("name", "published"), [("resnetv2_164", "1.7M"), ("resnetv2_1001", "10.2M"), ("resnetv2_110", "1.7M")]
)
def test_parameters_are_those_of_table_4(name, published):
    """The paper's 10.2M are without the norms, which would make it 10.3M."""
    with torch.device("meta"):
        network = build(name)
    matrices = sum(parameter.numel() for parameter in network.parameters() if parameter.ndim > 1)
    assert f"{matrices / 1e6:.1f}M" == published


@pytest.mark.parametrize(("name", "theirs"), [("resnetv2_50", "resnet50"), ("resnetv2_200", "resnet200")])
def test_only_norms_differ_in_size_from_the_post_activation_network(name, theirs):
    with torch.device("meta"):
        counted = [
            sum(parameter.numel() for path, parameter in network.named_parameters() if parameter.ndim > 1)
            for network in (build(name), timm.create_model(theirs))
        ]
    assert counted[0] == counted[1]


def test_multiply_adds_at_224():
    with torch.device("meta"):
        network = build("resnetv2_50")
    assert multiply_adds(network, 3, 224, 224) == 4_089_184_256


def test_depth_in_the_name_counts_weighted_layers():
    for name, config in CONFIGS.items():
        with torch.device("meta"):
            network = PreActResNet(config)
        layers = [
            path
            for path, module in network.named_modules()
            if isinstance(module, torch.nn.Conv2d) and "downsample" not in path
        ]
        assert str(len(layers)) == name.removeprefix("resnetv2_")


@pytest.mark.parametrize("name", ["resnetv2_18", "resnetv2_50", "resnetv2_110"])
def test_no_output_of_a_module_is_overwritten(name):
    assert overwritten_outputs(build(name), torch.randn(2, 3, 32, 32)) == []


@pytest.mark.parametrize("edits", [{}, {"shortcut": "A"}, {"bottleneck_stride": "1x1"}, {"activate_stem": True}])
@pytest.mark.parametrize("name", ["resnetv2_18", "resnetv2_50"])
def test_every_kind_of_block_trains_with_finite_gradients_everywhere(name, edits):
    network = build(name, stem="small", depths=(1, 1), width=8, num_classes=3, **edits)
    assert_every_parameter_is_trained(network, torch.randn(3, 3, 8, 8))


def test_nothing_alters_the_sum_along_the_blocks():
    """Equation 4: a stage's output is its input plus the residuals of its blocks."""
    network = build("resnetv2_110", depths=(4, 1, 1)).eval()
    randomise(network)
    blocks = [f"stages.0.blocks.{block}" for block in range(4)]
    with torch.no_grad(), tap(network, [*blocks, *(f"{block}.conv2" for block in blocks)]) as seen:
        network(torch.randn(1, 3, 16, 16))
    residuals = sum(seen[f"{block}.conv2"] for block in blocks[1:])
    torch.testing.assert_close(seen[blocks[-1]], seen[blocks[0]] + residuals)
    assert seen[blocks[-1]].min() < 0


def test_the_1001_layers_for_cifar_run():
    with torch.no_grad():
        assert build("resnetv2_1001").eval()(torch.randn(1, 3, 8, 8)).isfinite().all()


@pytest.mark.parametrize(
    ("name", "edits", "sides"),
    [("resnetv2_18", {}, [16, 8, 4, 2]), ("resnetv2_50", {"stem": "small"}, [64, 32, 16, 8])],
)
def test_stages_are_where_resolution_and_width_change(name, edits, sides):
    found = stage_shapes(build(name, **edits), 3, 64, 64)
    assert found == [(found[0][0] * 2**index, side, side) for index, side in enumerate(sides)]


def test_the_head_can_be_replaced_removed_and_bypassed():
    network = build("resnetv2_18", in_chans=1, width=8).eval()
    images = torch.randn(2, 1, 28, 28)
    pooled = network.forward_head(network.forward_features(images), pre_logits=True)
    assert pooled.shape == (2, network.num_features)

    network.reset_classifier(3)
    assert network.num_classes == network.config.num_classes == 3
    assert network(images).shape == (2, 3)
    assert network.head.fc.weight.std() < 0.02
    network.reset_classifier(0)
    assert torch.equal(network(images), pooled)
    assert build("resnetv2_18", num_classes=0, width=8)(torch.randn(2, 3, 28, 28)).shape == pooled.shape


@pytest.mark.parametrize("edits", [{"depths": ()}, {"depths": (2, 0)}, {"width": 0}])
def test_a_network_without_blocks_or_filters_is_refused(edits):
    with pytest.raises(UsageError, match="at least 1"):
        build("resnetv2_18", **edits)
