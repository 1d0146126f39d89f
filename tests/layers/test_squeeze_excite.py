"""Squeeze-and-excitation is timm's, and what it says of itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from timm.layers import SEModule
from torch import nn

from neocog.errors import UsageError
from neocog.layers.squeeze_excite import SqueezeExcite


@pytest.mark.parametrize("channels", [16, 40])
def test_output_and_gradients_are_timms(channels: int):
    theirs = SEModule(channels, rd_channels=4).double()
    ours = SqueezeExcite(channels, 4).double()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, channels, 5, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn_like(x)
    found = [torch.autograd.grad((se(x) * weights).sum(), [x, *se.parameters()]) for se in (ours, theirs)]
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-14)
    for mine, expected in zip(*found, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-12)


def test_other_activations_and_gates_are_timms():
    theirs = SEModule(8, rd_channels=2, act_layer=nn.SiLU, gate_layer="hard_sigmoid")
    ours = SqueezeExcite(8, 2, activation=F.silu, gate=F.hardsigmoid)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(ours(x), theirs(x))


def test_every_channel_is_weighed_by_one_number_for_all_positions():
    """Equations 2 to 4, with the full layers as matrices."""
    se, x = SqueezeExcite(6, 3), torch.randn(2, 6, 4, 5)
    z = x.mean((2, 3))
    s = torch.sigmoid(
        F.linear(F.linear(z, se.fc1.weight.flatten(1), se.fc1.bias).relu(), se.fc2.weight.flatten(1), se.fc2.bias)
    )
    torch.testing.assert_close(se(x), x * s[:, :, None, None])
    assert ((s > 0) & (s < 1)).all()


@pytest.mark.parametrize(("channels", "hidden"), [(0, 1), (4, 0)])
def test_none_at_all_is_refused(channels: int, hidden: int):
    with pytest.raises(UsageError, match=f"{channels} and {hidden}"):
        SqueezeExcite(channels, hidden)
