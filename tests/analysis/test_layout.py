"""The layout of images changes the time that a network takes and none of its numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from neocog.analysis import layout as layout_module
from neocog.analysis.layout import choose_layout
from neocog.errors import UsageError
from neocog.models import create_model


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "resnetv2_110", "mobilenetv2_035"])
def test_both_layouts_give_the_same_numbers(name):
    torch.manual_seed(0)
    network = create_model(name).eval()
    images = torch.randn(2, network.config.in_chans, 32, 32)
    with torch.no_grad():
        expected = network(images)
        network.to(memory_format=torch.channels_last)
        found = network(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(("slower", "chosen"), [(0, "NHWC"), (1, "NCHW")])
def test_the_faster_layout_of_a_measurement_is_chosen(monkeypatch, slower, chosen):
    real = layout_module.measure_in_turn

    def measured(candidates, **settings):
        assert [each.setting.layout for each in candidates] == ["NCHW", "NHWC"]
        found = real(candidates, repeats=2)
        return [replace(each, times=(2.0, 2.0) if place == slower else (1.0, 1.0)) for place, each in enumerate(found)]

    monkeypatch.setattr(layout_module, "measure_in_turn", measured)
    choice = choose_layout(create_model("lenet5"), (1, 32, 32))
    assert choice.layout == chosen
    assert choice.gain == pytest.approx(2.0 if chosen == "NHWC" else 0.5)


def test_what_is_no_image_has_no_layout():
    with pytest.raises(UsageError, match="NHWC is a layout of images"):
        choose_layout(torch.nn.Linear(7, 3), (7,))
