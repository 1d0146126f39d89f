from __future__ import annotations

import pytest
import torch
from helpers import TensorBatches, make_network
from torch import nn

from neocog.train.average import WeightAverage
from neocog.train.fit import fit
from neocog.train.recipe import Average, Recipe
from neocog.train.supervised import SupervisedTask

UPDATES = 40


def walk(network: nn.Module, update: int) -> None:
    """Move weights and running statistics a little."""
    generator = torch.Generator().manual_seed(update)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))


def check(network: nn.Module, average: WeightAverage, theirs: nn.Module, at: int) -> None:
    with average.in_place():
        for name, tensor in theirs.state_dict().items():
            if tensor.is_floating_point():
                ours = network.state_dict()[name]
                torch.testing.assert_close(
                    ours, tensor, rtol=1e-5, atol=1e-6, msg=lambda m, name=name: f"{at} {name}: {m}"
                )


@pytest.mark.parametrize("decay", [0.7, 0.999])
@pytest.mark.parametrize("warmup", [False, True])
def test_the_moving_average_equals_timm_s(decay: float, warmup: bool) -> None:
    """Our warm-up (1 + t) / (10 + t) is timm's 1 - (1 + s / 9)^-1 at s = t + 1, and timm's s is its step less 1."""
    from timm.utils import ModelEmaV3

    network = make_network(norm=True)
    average = WeightAverage(network, Average(decay=decay, warmup=warmup), UPDATES)
    theirs = ModelEmaV3(network, decay=decay, use_warmup=warmup, warmup_gamma=9, warmup_power=1)
    for update in range(1, UPDATES + 1):
        walk(network, update)
        average.update(update)
        theirs.update(network, step=update + 2)
        check(network, average, theirs.module, update)


@pytest.mark.parametrize("start", [0.0, 0.25, 0.3])
def test_the_uniform_average_equals_torch_s(start: float) -> None:
    from torch.optim.swa_utils import AveragedModel

    network = make_network(norm=True)
    average = WeightAverage(network, Average(name="uniform", start=start), UPDATES)
    theirs = AveragedModel(network, use_buffers=True)
    for update in range(1, UPDATES + 1):
        walk(network, update)
        average.update(update)
        if update > start * UPDATES:
            theirs.update_parameters(network)
            check(network, average, theirs.module, update)
        else:
            check(network, average, network, update)


def test_the_moving_average_from_a_later_start_equals_timm_s() -> None:
    from timm.utils import ModelEmaV3

    network = make_network(norm=True)
    average = WeightAverage(network, Average(decay=0.8, start=0.5), UPDATES)
    theirs = ModelEmaV3(network, decay=0.8, use_warmup=True, warmup_gamma=9, warmup_power=1)
    for update in range(1, UPDATES + 1):
        walk(network, update)
        average.update(update)
        theirs.update(network, step=update + 2 if update <= 20 else update - 20 + 2)
        if update <= 20:
            theirs.set(network)
        check(network, average, theirs.module, update)


def test_a_run_averages_its_last_part() -> None:
    from torch.optim.swa_utils import AveragedModel

    recipe = Recipe(epochs=4, batch_size=8, average=Average(name="uniform", start=0.5))
    task = SupervisedTask(make_network(norm=True))
    theirs = AveragedModel(task.network, use_buffers=True)
    for state in fit(task, TensorBatches(), recipe):
        if state.step > 6:
            theirs.update_parameters(task.network)
    assert state.step == 12
    check(task.network, state.average, theirs.module, 12)


def test_a_share_that_is_a_whole_update_but_for_rounding_starts_there() -> None:
    assert WeightAverage(make_network(), Average(name="uniform", start=0.29), 100).before == 29
    assert WeightAverage(make_network(), Average(name="uniform", start=0.291), 100).before == 30


def test_without_an_average_nothing_is_kept() -> None:
    network = make_network()
    average = WeightAverage(network, Average(), UPDATES)
    average.restart()
    average.update(1)
    before = network.fc.weight.clone()
    with average.in_place():
        assert torch.equal(network.fc.weight, before)
    assert not average.active
    assert average.tensors == {}
