"""Xception is timm's legacy_xception under the words of figure 5."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from parity import (
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
from neocog.errors import UsageError
from neocog.models import convert_state_dict, create_model
from neocog.models.xception import CONFIGS, Xception


def build(**edits: object) -> Xception:
    return Xception(replace(CONFIGS["xception"], **edits))


def timms(**options: object) -> nn.Module:
    return timm.create_model("legacy_xception", **options)


def test_names_convert_to_timms_and_back():
    with without_numbers():
        ours, theirs = build(), timms()
    there = convert_state_dict(ours.state_dict(), "xception", "neocog", target="timm")
    assert {key: tensor.shape for key, tensor in there.items()} == shapes(theirs)
    back = convert_state_dict(theirs.state_dict(), "xception", "timm")
    assert {key: tensor.shape for key, tensor in back.items()} == shapes(ours)


@pytest.mark.slow
def test_a_training_step_is_timms_in_float64():
    ours, theirs = build(num_classes=7, dropout=0.0).double(), timms(num_classes=7).double()
    randomise(theirs)
    ours.load_state_dict(convert_state_dict(theirs.state_dict(), "xception", "timm"))
    images = torch.randn(4, 3, 48, 48, dtype=torch.float64)
    expected = convert_state_dict(training_step(theirs, images), "xception", "timm")
    for key, tensor in training_step(ours, images).items():
        torch.testing.assert_close(tensor, expected[key], rtol=1e-9, atol=1e-12, msg=key)


def test_a_training_step_of_a_short_one_is_timms_in_float64():
    ours, theirs = build(num_classes=7, dropout=0.0, middle_modules=1).double(), timms(num_classes=7).double()
    for number in range(5, 12):  # timm's block4 is our one module of the middle flow
        setattr(theirs, f"block{number}", nn.Identity())
    randomise(theirs)
    state = {key.replace("block12", "block5"): tensor for key, tensor in theirs.state_dict().items()}
    ours.load_state_dict(convert_state_dict(state, "xception", "timm", middle_modules=1))
    images = torch.randn(2, 3, 33, 33, dtype=torch.float64)
    step = {key.replace("block12", "block5"): tensor for key, tensor in training_step(theirs, images).items()}
    expected = convert_state_dict(step, "xception", "timm", middle_modules=1)
    for key, tensor in training_step(ours, images).items():
        torch.testing.assert_close(tensor, expected[key], rtol=1e-9, atol=1e-12, msg=key)


@torch.no_grad()
def test_a_file_of_timms_loads_and_gives_its_logits(tmp_path: Path):
    theirs = timms(num_classes=5).eval()
    randomise(theirs)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    ours = create_model("xception", weights=tmp_path / "theirs.pth").eval()
    assert ours.loaded is not None
    assert ours.loaded.library == "timm"
    images = torch.randn(2, 3, 45, 40)
    expected = theirs(images)
    assert (expected[0] - expected[1]).abs().max() > 0.01
    assert relative_difference(ours(images), expected) < 1e-5


def test_parameters_are_table_3s_and_the_decks_22_91_million_with_running_statistics():
    """Seed 000 prints Keras' count for Xception, 22.91M, to which it adds what batch norm keeps but does not train."""
    with torch.device("meta"):
        network = build()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    statistics = sum(buffer.numel() for name, buffer in network.named_buffers() if "running" in name)
    assert parameters == 22_855_952
    assert f"{(parameters + statistics) / 1e6:.2f}M" == "22.91M"
    assert parameters + statistics == 22_910_480


def test_there_are_36_convolutions_in_14_modules_all_but_two_with_connections_around_them():
    """Section 4: 36 convolutional layers in 14 modules, the first and the last of which have no connection."""
    with torch.device("meta"):
        network = build()
    convolutions = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and "depthwise" not in name and "around" not in name
    ]
    assert len(convolutions) == 36
    modules = [name for name, module in network.named_modules() if hasattr(module, "around")]
    assert len(modules) == 14 - 2


def test_maps_are_as_large_as_in_figure_5():
    """Of 299x299, the middle flow has 19x19x728 maps, and the exit flow ends with 10x10 of 2048."""
    found = stage_shapes(build(middle_modules=1), 3, 299, 299)
    assert found[:2] == [(32, 149, 149), (64, 147, 147)]
    assert found[2:5] == [(128, 74, 74), (256, 37, 37), (728, 19, 19)]
    assert found[5:] == [(1024, 10, 10), (1536, 10, 10), (2048, 10, 10)]


def test_it_trains_with_finite_gradients_everywhere():
    assert_every_parameter_is_trained(build(middle_modules=1, num_classes=3, dropout=0.0), torch.randn(3, 3, 40, 40))


def test_no_output_of_a_module_is_overwritten():
    assert overwritten_outputs(build(middle_modules=1), torch.randn(2, 3, 33, 33)) == []


def test_half_of_the_features_are_dropped_in_training_alone():
    network = build(middle_modules=1)
    features = torch.ones(1, 2048, 1, 1)
    assert torch.equal(network.eval().forward_head(features), network.forward_head(features))
    assert not torch.equal(network.train().forward_head(features), network.forward_head(features))


@pytest.mark.parametrize("edits", [{"middle_modules": 0}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_what_no_network_can_be_is_refused(edits: dict[str, float]):
    with pytest.raises(UsageError, match=str(next(iter(edits.values())))):
        build(**edits)
