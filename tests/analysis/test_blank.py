"""A network made without numbers has the shapes of one made with them."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision.models as vision
from torch import nn

from neocog.analysis.blank import without_numbers


@pytest.mark.parametrize(
    "make",
    [lambda: timm.create_model("test_vit"), lambda: timm.create_model("test_convnext"), vision.mobilenet_v3_small],
    ids=["vit", "convnext", "mobilenet"],
)
def test_parameters_and_buffers_have_the_same_names_shapes_and_types(make):
    def table(network: nn.Module) -> dict[str, tuple[torch.Size, torch.dtype, bool]]:
        return {
            name: (each.shape, each.dtype, each.requires_grad)
            for name, each in network.state_dict(keep_vars=True).items()
        }

    with without_numbers():
        blank = make()
    assert all(parameter.is_meta for parameter in blank.parameters())
    assert table(blank) == table(make())


def test_tensors_with_numbers_are_filled_as_ever():
    with without_numbers():
        real = torch.empty(3, device="cpu").fill_(2.0)
        linear = nn.Linear(2, 2)
    assert real.tolist() == [2.0, 2.0, 2.0]
    assert nn.init.ones_(linear.weight).is_meta
    assert torch.zeros(2).add_(1).tolist() == [1.0, 1.0]
