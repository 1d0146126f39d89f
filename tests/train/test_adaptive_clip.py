from __future__ import annotations

import pytest
import torch
from helpers import TensorBatches, make_network
from torch import Tensor, nn

from neocog.models import create_model
from neocog.train.adaptive_clip import clip_adaptively
from neocog.train.fit import fit
from neocog.train.precision import Precision
from neocog.train.recipe import Optimizer, Recipe
from neocog.train.supervised import SupervisedTask


def network_with_gradient(scale: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    network = create_model("resnet20", num_classes=10)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        sizes = torch.rand(len(parameter), generator=generator).view(-1, *[1] * (parameter.ndim - 1))
        parameter.grad = scale * sizes * torch.randn(parameter.shape, generator=generator)
    return network


def grads(network: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("factor", [0.01, 0.5, 5.0])
def test_clipping_by_units_equals_timm_s(factor: float) -> None:
    from timm.utils.agc import adaptive_clip_grad

    ours, theirs = network_with_gradient(), network_with_gradient()
    clip_adaptively(ours.parameters(), factor)
    adaptive_clip_grad(theirs.parameters(), factor)
    for (name, a), b in zip(grads(ours).items(), grads(theirs).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


def test_zero_gradients_and_absent_ones_are_left() -> None:
    still, absent = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(2))
    still.grad = torch.zeros(2, 3)
    clip_adaptively([still, absent], 0.01)
    assert torch.equal(still.grad, torch.zeros(2, 3))
    assert absent.grad is None


def step(precision: Precision, scale: float = 1.0) -> dict[str, Tensor]:
    """Return what a step of rate 1 takes from each parameter, the head's group marked."""
    network = network_with_gradient(scale)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    body = [p for name, p in network.named_parameters() if not name.startswith("fc")]
    head = [p for name, p in network.named_parameters() if name.startswith("fc")]
    optimizer = torch.optim.SGD([{"params": body, "head": False}, {"params": head, "head": True}], lr=1.0, fused=True)
    assert precision.update(optimizer)
    return {name: before[name] - p.detach() for name, p in network.named_parameters()}


def test_the_head_is_left_alone() -> None:
    plain, clipped = step(Precision("fp32", "cpu")), step(Precision("fp32", "cpu", clip_adaptive=0.01))
    same = {name for name in plain if torch.equal(plain[name], clipped[name])}
    assert same == {"fc.weight", "fc.bias"}


def test_the_whole_norm_is_clipped_after_the_units() -> None:
    from timm.utils.agc import adaptive_clip_grad

    network = network_with_gradient()
    adaptive_clip_grad([p for name, p in network.named_parameters() if not name.startswith("fc")], 0.01)
    torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
    taken = step(Precision("fp32", "cpu", clip_norm=0.5, clip_adaptive=0.01))
    for name, gradient in grads(network).items():
        torch.testing.assert_close(taken[name], gradient, rtol=1e-4, atol=1e-6)


def test_float16_s_scale_is_taken_out_before_clipping() -> None:
    plain = Precision("fp32", "cpu", clip_norm=0.5, clip_adaptive=0.01)
    scaled = Precision("fp16", "cpu", clip_norm=0.5, clip_adaptive=0.01)
    scaled.scaler.scale(torch.zeros(()))  # the scaler makes its scale when it is first used
    for a, b in zip(step(plain).values(), step(scaled, scaled.scaler.get_scale()).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_recipe_s_field_bounds_the_first_step_of_each_unit() -> None:
    recipe = Recipe(batch_size=8, clip_adaptive=1e-3, optimizer=Optimizer(lr=0.5, momentum=0.0, weight_decay=0.0))
    before = make_network().conv1.weight.detach()
    state = next(iter(fit(SupervisedTask(make_network()), TensorBatches(), recipe)))
    moved = (state.task.network.conv1.weight.detach() - before).flatten(1).norm(dim=1)
    torch.testing.assert_close(moved, 0.5 * 1e-3 * before.flatten(1).norm(dim=1), rtol=1e-3, atol=0)
