from __future__ import annotations

import pytest
import torch
from helpers import TensorBatches, make_network
from torch import nn

from neocog.train.average import WeightAverage
from neocog.train.fit import fit
from neocog.train.recipe import Average, Recipe
from neocog.train.state import State
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


@pytest.mark.parametrize("interval", [1, 4])
@pytest.mark.parametrize("decay", [0.2, 0.5])
def test_lookahead_equals_timm_s_around_torch_s_sgd(interval: int, decay: float) -> None:
    from timm.optim import Lookahead

    recipe = Recipe(epochs=4, batch_size=8).override(
        {
            "optimizer.weight_decay": 0.0,
            "schedule.name": "constant",
            "average.name": "lookahead",
            "average.decay": decay,
            "average.interval": interval,
        }
    )
    theirs, batches = make_network(), TensorBatches()
    optimizer = Lookahead(torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9), alpha=1 - decay, k=interval)
    for parameter in theirs.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.sync_lookahead()  # the slow weights begin at the first ones, where there is a gradient
    states = fit(SupervisedTask(make_network()), batches, recipe)
    for epoch in range(4):
        for (batch,) in batches.steps(epoch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(theirs(batch.images), batch.targets).backward()
            optimizer.step()
            state = next(states)
            for name, tensor in theirs.state_dict().items():
                ours = state.task.state_dict()[f"network.{name}"]
                torch.testing.assert_close(ours, tensor, rtol=1e-4, atol=1e-6, msg=f"{state.step} {name}")


def test_lookahead_as_in_airbench94_and_the_slow_weights_ship() -> None:
    """Slow weights of all that floats; the share that they keep is 0.95^5 (step / total)^3, every fifth step."""
    network, twin = make_network(norm=True), make_network(norm=True)
    average = WeightAverage(network, Average(name="lookahead", decay=0.95**5, power=3, interval=5), UPDATES)
    slow = {name: tensor.clone() for name, tensor in twin.state_dict().items()}
    for update in range(1, UPDATES - 1):
        walk(network, update)
        walk(twin, update)
        average.update(update)
        if update % 5 == 0:
            for name, tensor in twin.state_dict().items():
                if tensor.is_floating_point():
                    kept = 0.95**5 * (update / UPDATES) ** 3
                    slow[name] = kept * slow[name] + (1 - kept) * tensor
                    tensor.copy_(slow[name])
        check_tensors(network, twin.state_dict())
    with average.in_place():
        check_tensors(network, slow)
    check_tensors(network, twin.state_dict())


def check_tensors(network: nn.Module, expected: dict[str, torch.Tensor]) -> None:
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6, msg=name)


def test_a_run_that_looks_ahead_ends_in_the_same_bits_wherever_it_is_broken_off() -> None:
    recipe = Recipe(epochs=3, batch_size=8).override(
        {"average.name": "lookahead", "average.decay": 0.8, "average.power": 2, "average.interval": 2}
    )
    *_, whole = fit(SupervisedTask(make_network(norm=True)), TensorBatches(), recipe)
    expected = {name: tensor.clone() for name, tensor in whole.tensors().items()}
    assert any(not torch.equal(t, expected[f"task.{n}"]) for n, t in whole.average.tensors.items())
    for stop in range(1, whole.step):
        for state in fit(SupervisedTask(make_network(norm=True)), TensorBatches(), recipe):
            if state.step == stop:
                break
        kept, meta = {name: tensor.clone() for name, tensor in state.tensors().items()}, state.meta()
        task = SupervisedTask(make_network(norm=True))
        resumed = State.start(task, recipe, 3)
        resumed.restore(kept, meta)
        *_, last = fit(task, TensorBatches(), recipe, resumed)
        assert last.tensors().keys() == expected.keys()
        for name, tensor in last.tensors().items():
            assert torch.equal(tensor, expected[name]), (stop, name)
