"""Switchable atrous convolution starts as the convolution it was made of, and is its paper's formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.switchable import SwitchableAtrousConv2d


def randomised(layer: SwitchableAtrousConv2d) -> SwitchableAtrousConv2d:
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    nn.init.uniform_(layer.weight_gamma, 0.5, 2)
    nn.init.normal_(layer.weight_beta)
    return layer


def reread(x: Tensor, state: dict[str, Tensor], stride: int, dilation: int, groups: int) -> Tensor:
    """Compute the layer from its parameters alone, by the paper's figure 4, position by position where it switches."""
    x = x + F.conv2d(F.adaptive_avg_pool2d(x, 1), state["pre_context.weight"], state["pre_context.bias"])
    weight = state["weight"]
    flat = weight.flatten(1)
    flat = (flat - flat.mean(1, keepdim=True)) / torch.sqrt(flat.var(1, keepdim=True) + 1e-5)
    weight = flat.view_as(weight) * state["weight_gamma"] + state["weight_beta"]
    padding = dilation * (weight.shape[2] // 2)
    near = F.conv2d(x, weight, None, stride, padding, dilation, groups)
    far = F.conv2d(x, weight + state["weight_diff"], None, stride, 3 * padding, 3 * dilation, groups)
    blurred = F.conv2d(F.pad(x, [2] * 4, mode="reflect").flatten(0, 1)[:, None], x.new_full((1, 1, 5, 5), 1 / 25))
    blurred = blurred.view(*x.shape[:2], *blurred.shape[2:])
    switch = F.conv2d(blurred, state["switch.weight"], state["switch.bias"], stride)
    y = switch * near + (1 - switch) * far + state["bias"][:, None, None]
    return y + F.conv2d(F.adaptive_avg_pool2d(y, 1), state["post_context.weight"], state["post_context.bias"])


@pytest.mark.parametrize(
    "settings", [{}, {"stride": 2, "groups": 2}, {"kernel_size": 5, "dilation": 2}, {"kernel_size": 1, "stride": 2}]
)
def test_it_is_the_papers_formula(settings: dict[str, int]) -> None:
    torch.manual_seed(0)
    layer = randomised(SwitchableAtrousConv2d(4, 6, **settings).double())
    x = torch.randn(2, 4, 9, 8, dtype=torch.float64)
    expected = reread(x, layer.state_dict(), layer.stride, layer.dilation, layer.groups)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("deformable", [False, True])
@pytest.mark.parametrize(
    "conv",
    [
        lambda: nn.Conv2d(4, 6, 3, padding=1),
        lambda: nn.Conv2d(4, 6, 3, 2, 2, 2, groups=2, bias=False),
        lambda: nn.Conv2d(4, 6, 5, padding=2),
    ],
)
def test_made_of_a_trained_convolution_it_computes_the_same(conv, deformable: bool) -> None:
    torch.manual_seed(0)
    trained = conv().double()
    layer = SwitchableAtrousConv2d.of(trained, deformable=deformable)
    x = torch.randn(2, 4, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(x), trained(x))
    before = trained.weight.clone()
    with torch.no_grad():
        layer.weight.zero_()
    assert torch.equal(trained.weight, before)


def test_the_switch_chooses_between_near_and_far() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, 3, padding=1).double()
    layer = SwitchableAtrousConv2d.of(conv)
    nn.init.zeros_(layer.switch.bias)
    x = torch.randn(1, 3, 11, 11, dtype=torch.float64)
    torch.testing.assert_close(layer(x), F.conv2d(x, conv.weight, conv.bias, padding=3, dilation=3))
    nn.init.constant_(layer.switch.bias, 0.25)
    torch.testing.assert_close(
        layer(x), 0.25 * conv(x) + 0.75 * F.conv2d(x, conv.weight, conv.bias, padding=3, dilation=3)
    )


def test_parameters_have_the_authors_names() -> None:
    state = SwitchableAtrousConv2d(4, 6, deformable=True).state_dict()
    convs = ("switch", "pre_context", "post_context", "offset_s", "offset_l")
    names = {"weight", "bias", "weight_diff", "weight_gamma", "weight_beta"}
    assert set(state) == names | {f"{name}.{kind}" for name in convs for kind in ("weight", "bias")}
    assert state["offset_s.weight"].shape == (18, 4, 3, 3)
    assert state["switch.weight"].shape == (1, 4, 1, 1)


@pytest.mark.parametrize("deformable", [False, True])
def test_everything_is_trained(deformable: bool) -> None:
    torch.manual_seed(0)
    layer = randomised(SwitchableAtrousConv2d(2, 3, deformable=deformable))
    layer(torch.randn(1, 2, 7, 7)).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_deformed_it_reads_elsewhere() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3, padding=1).double()
    layer = SwitchableAtrousConv2d.of(conv, deformable=True)
    assert layer.offset_s is not None
    assert layer.offset_s.bias is not None
    with torch.no_grad():
        layer.offset_s.bias[::2] = 1  # all taps of the near convolution one row down
    x = torch.randn(1, 2, 7, 7, dtype=torch.float64)
    torch.testing.assert_close(layer(x)[:, :, 1:], conv(F.pad(x, (0, 0, 0, 1)))[:, :, 2:])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="kernel of 4 has no middle"):
        SwitchableAtrousConv2d(4, 6, 4)
    with pytest.raises(UsageError, match="4 groups do not divide out_channels 6"):
        SwitchableAtrousConv2d(4, 6, groups=4)
    for conv in (nn.Conv2d(4, 6, (3, 1)), nn.Conv2d(4, 6, 3), nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect")):
        with pytest.raises(UsageError, match="not square, or not padded"):
            SwitchableAtrousConv2d.of(conv)
    with pytest.raises(UsageError, match="2x5 cannot be reflected by 2"):
        SwitchableAtrousConv2d(4, 6)(torch.zeros(1, 4, 2, 5))
    assert SwitchableAtrousConv2d(4, 6)(torch.zeros(1, 4, 3, 3)).shape == (1, 6, 3, 3)
