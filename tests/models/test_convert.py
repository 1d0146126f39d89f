"""State dicts go between the libraries' names and back."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision

from neocog.errors import UnknownNameError, WeightsError
from neocog.models import convert_state_dict, create_model


def test_torchvisions_names_come_and_go() -> None:
    theirs = torchvision.models.mobilenet_v2().state_dict()
    ours = convert_state_dict(theirs, "mobilenetv2_100", "torchvision")
    assert ours.keys() == create_model("mobilenetv2_100").state_dict().keys()
    assert ours["blocks.1.0.conv_dw.weight"] is theirs["features.2.conv.1.0.weight"]
    assert convert_state_dict(ours, "mobilenetv2_100", "neocog", target="torchvision").keys() == theirs.keys()


def test_timms_names_become_torchvisions() -> None:
    state = timm.create_model("mobilenetv2_050").state_dict()
    torchvisions = convert_state_dict(state, "mobilenetv2_050", "timm", target="torchvision")
    theirs = torchvision.models.mobilenet_v2(width_mult=0.5).eval()
    assert torchvisions.keys() == theirs.state_dict().keys()
    theirs.load_state_dict(torchvisions)
    timms = timm.create_model("mobilenetv2_050").eval()
    timms.load_state_dict(state)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(theirs(images), timms(images))


def test_a_part_of_a_state_can_be_converted() -> None:
    part = {"classifier.1.bias": torch.zeros(1000)}
    assert list(convert_state_dict(part, "mobilenetv2_100", "torchvision")) == ["classifier.bias"]


def test_another_networks_names_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"torchvision has no layer1\.0\.conv1\.weight"):
        convert_state_dict({"layer1.0.conv1.weight": torch.zeros(1)}, "mobilenetv2_100", "torchvision")


def test_an_unknown_library_is_answered_with_the_near_one() -> None:
    with pytest.raises(UnknownNameError, match="torchvision"):
        convert_state_dict({}, "mobilenetv2_100", "torch_vision")  # type: ignore[arg-type]


def test_auxiliary_heads_are_converted_where_they_are_asked_for() -> None:
    state = create_model("googlenet", auxiliary=True).state_dict()
    with pytest.raises(WeightsError, match=r"aux1\.conv.* are of auxiliary heads, .* with auxiliary=True"):
        convert_state_dict(state, "googlenet", "torchvision")
    assert convert_state_dict(state, "googlenet", "torchvision", auxiliary=True).keys() == state.keys()
