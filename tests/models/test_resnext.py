"""ResNeXt: timm's and torchvision's numbers, and the paper's three forms of one block."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from parity import (
    assert_equal_training_steps,
    assert_every_parameter_is_trained,
    batch_norm,
    logits_differ_by,
    overwritten_outputs,
    randomise,
    relative_difference,
    shapes,
    stage_shapes,
    steps_to_learn_digits,
    training_step,
)
from torch import Tensor

from neocog.analysis.blank import without_numbers
from neocog.analysis.cost import count_cost
from neocog.analysis.trace import trace_forward
from neocog.errors import UsageError
from neocog.models.resnext import CONFIGS, ResNeXt

IN_TORCHVISION = ["resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"]
IN_TIMM = [*IN_TORCHVISION, "resnext101_32x4d"]
FORMS = ["split", "concatenated", "grouped"]


def build(name: str, **edits: object) -> ResNeXt:
    return ResNeXt(replace(CONFIGS[name], **edits))


@pytest.mark.parametrize("name", IN_TIMM)
def test_names_and_shapes_are_timms(name: str):
    with without_numbers():
        assert shapes(build(name)) == shapes(timm.create_model(name))


@pytest.mark.parametrize("name", IN_TORCHVISION)
def test_names_and_shapes_are_torchvisions(name: str):
    with without_numbers():
        assert shapes(build(name)) == shapes(torchvision.models.get_model(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_TIMM)
def test_logits_are_timms(name: str):
    assert logits_differ_by(build(name), timm.create_model(name), 3, 64, 64) < 1e-5


@pytest.mark.slow
def test_logits_are_torchvisions():
    theirs = torchvision.models.resnext50_32x4d()
    assert logits_differ_by(build("resnext50_32x4d"), theirs, 3, 75, 64) < 1e-5


@pytest.mark.parametrize(
    ("name", "depths"),
    [("resnext50_32x4d", (1, 1, 1, 1)), pytest.param("resnext101_64x4d", (3, 4, 23, 3), marks=pytest.mark.slow)],
)
def test_a_training_step_is_timms_in_float64(name: str, depths: tuple[int, ...]):
    ours = build(name, depths=depths, num_classes=7)
    config = CONFIGS[name]
    theirs = timm.models.resnet.ResNet(
        block=timm.models.resnet.Bottleneck,
        layers=depths,
        cardinality=config.cardinality,
        base_width=config.group_width,
        num_classes=7,
    )
    assert_equal_training_steps(ours, theirs, 3, 32, 32)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_three_forms_of_figure_3_give_the_same_numbers(stride: int):
    edits = {"depths": (1, 1), "width": 8, "cardinality": 4, "group_width": 6}
    made = {form: build("resnext29_8x64d", form=form, **edits) for form in FORMS}
    grouped = made["grouped"].double()
    randomise(grouped)
    images = torch.randn(3, 3, 6 * stride, 8, dtype=torch.float64)
    expected = grouped.eval()(images)
    for form in ("split", "concatenated"):
        other = made[form].double().eval()
        other.load_state_dict(grouped.state_dict())
        assert relative_difference(other(images).detach(), expected.detach()) < 1e-12
    expected_step = training_step(grouped, images)
    for form in ("split", "concatenated"):
        for name, tensor in training_step(made[form], images).items():
            torch.testing.assert_close(tensor, expected_step[name], rtol=1e-9, atol=1e-12, msg=f"{form} {name}")


def reference_block(state: dict[str, Tensor], x: Tensor, paths: int) -> Tensor:
    """Equation 3 read once more, with each transformation's weights cut out of the state: y = x + Σ T_i(x)."""
    total: Tensor | float = 0.0
    for path in range(paths):
        cut = {name: tensor.chunk(paths)[path] for name, tensor in state.items() if tensor.ndim and "conv3" not in name}
        y = batch_norm(F.conv2d(x, cut["conv1.weight"]), cut, "bn1").relu()
        y = batch_norm(F.conv2d(y, cut["conv2.weight"], padding=1), cut, "bn2").relu()
        total = total + F.conv2d(y, state["conv3.weight"].chunk(paths, dim=1)[path])
    return (x + batch_norm(total, state, "bn3")).relu()


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_sum_of_equation_3(form: str):
    network = build("resnext50_32x4d", form=form)
    block = network.get_submodule("layer1.1")
    randomise(block)
    x = torch.randn(1, 256, 5, 5)
    with torch.no_grad():
        assert relative_difference(block.eval()(x), reference_block(block.state_dict(), x, paths=32)) < 1e-5


@pytest.mark.parametrize("form", ["split", "concatenated"])
def test_the_forms_cost_the_same(form: str):
    edits = {"depths": (1, 1), "cardinality": 4, "group_width": 8}
    costs = []
    for each in (form, "grouped"):
        with torch.device("meta"):
            network = build("resnext29_8x64d", form=each, **edits)
        costs.append(count_cost(trace_forward(network, (3, 16, 16))))
    assert costs[0].macs == costs[1].macs
    assert costs[0].parameters == costs[1].parameters


@pytest.mark.parametrize("name", ["resnext29_8x64d", "resnext29_16x64d"])
def test_the_network_for_cifar_is_section_5_3s(name: str):
    """29 layers: the stem, 3 x 3 blocks of three, the head; 64 x C channels at first, doubled with each stage."""
    config = CONFIGS[name]
    with torch.device("meta"):
        state = shapes(ResNeXt(config))
    layers = [path for path, shape in state.items() if len(shape) in (2, 4) and "downsample" not in path]
    assert len(layers) == 29
    for stage in (1, 2, 3):
        width = 64 * config.cardinality * 2 ** (stage - 1)
        assert state[f"layer{stage}.0.conv2.weight"] == (width, 64 * 2 ** (stage - 1), 3, 3)
        assert state[f"layer{stage}.2.conv3.weight"][0] == 256 * 2 ** (stage - 1)


def test_at_equal_cost_more_cardinality_leaves_fewer_channels_in_each():
    """Table 2: 64 channels in one path, 40 in 2, 24 in 4, 14 in 8, 4 in 32; a block of each has some 70k parameters."""
    for cardinality, d in ((1, 64), (2, 40), (4, 24), (8, 14), (32, 4)):
        with torch.device("meta"):
            block = build("resnext50_32x4d", cardinality=cardinality, group_width=d).get_submodule("layer1.1")
        weights = sum(parameter.numel() for parameter in block.parameters() if parameter.ndim == 4)
        assert weights == cardinality * (256 * d + 9 * d * d + d * 256)
        assert weights == pytest.approx(70_000, rel=0.05)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_trains_with_finite_gradients_everywhere(form: str):
    edits = {"depths": (1, 1), "width": 8, "cardinality": 4, "group_width": 2, "num_classes": 3}
    assert_every_parameter_is_trained(build("resnext29_8x64d", form=form, **edits), torch.randn(3, 3, 8, 8))


def test_digits_are_learned():
    torch.manual_seed(0)
    network = build("resnext29_8x64d", depths=(1, 1), width=16, cardinality=4, group_width=4)
    assert steps_to_learn_digits(network, limit=100) <= 100


def test_no_output_of_a_module_is_overwritten():
    network = build("resnext50_32x4d", depths=(1, 1))
    assert overwritten_outputs(network, torch.randn(2, 3, 32, 32)) == []


def test_small_images_have_a_stem_of_their_own():
    network = build("resnext50_32x4d", stem="small", depths=(1, 1, 1, 1))
    assert stage_shapes(network, 3, 32, 32) == [(256, 32, 32), (512, 16, 16), (1024, 8, 8), (2048, 4, 4)]


@pytest.mark.parametrize("edits", [{"cardinality": 0}, {"group_width": 0}, {"width": 0}, {"depths": (3, 0)}])
def test_blocks_without_transformations_are_refused(edits: dict[str, object]):
    with pytest.raises(UsageError, match="at least 1"):
        build("resnext50_32x4d", **edits)
