"""A network that organises itself is shown images before the first step; the steps train its head alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from helpers import make_network
from torch import Tensor

from neocog.data.loading import Batch
from neocog.errors import UsageError
from neocog.models import Classifier, create_model
from neocog.train.fit import fit
from neocog.train.recipe import Loss, Optimizer, Recipe
from neocog.train.self_organising import SelfOrganisingTask
from neocog.train.state import State


class Digits:
    """The same 24 images in batches of 8, whose first epoch is another order than the next."""

    steps_per_epoch, batch_size = 3, 8

    def __init__(self) -> None:
        self.images = torch.rand(24, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        self.targets = torch.arange(24) % 10

    def steps(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        order = torch.arange(24).flip(0) if epoch else torch.arange(24)
        for rows in order.split(8)[start:]:
            yield [Batch(self.images[part], self.targets[part], part) for part in rows.split(4)]


def neocognitron(**edits: object) -> Classifier:
    torch.manual_seed(0)
    return create_model("neocognitron_1980", **{"readout": "all", **edits})  # type: ignore[arg-type]


RECIPE = Recipe(epochs=2, batch_size=8, accumulate=2, optimizer=Optimizer(name="adamw", lr=0.01), precision="fp32")


def synapses(network: Classifier) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items() if name.startswith("us")}


def test_the_network_organises_itself_by_the_first_images_of_the_first_epoch_in_their_order() -> None:
    network, alike, batches = neocognitron(), neocognitron(), Digits()
    alike.self_organise(batches.images[:10])
    SelfOrganisingTask(network, images=10).prepare(batches)
    for name, tensor in synapses(network).items():
        assert torch.equal(tensor, synapses(alike)[name]), name


def test_one_process_of_two_shows_as_many_images_as_a_lone_one() -> None:
    class Half(Digits):
        def steps(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
            for _, own in super().steps(epoch, start):
                yield [own]

    network, alike, batches = neocognitron(), neocognitron(), Half()
    alike.self_organise(batches.images.view(3, 2, 4, 1, 16, 16)[:, 1].flatten(0, 1)[:10])
    SelfOrganisingTask(network, images=10).prepare(batches)
    assert torch.equal(network.get_parameter("us3.weight"), alike.get_parameter("us3.weight"))


def test_steps_leave_what_organised_itself_as_it_is_and_train_the_head() -> None:
    network, batches = neocognitron(), Digits()
    task = SelfOrganisingTask(network, Loss(), images=24)
    head = network.get_parameter("head.weight").clone()
    states = fit(task, batches, RECIPE)
    next(states)
    before, losses = synapses(network), [float(state.parts["loss"]) for state in states]
    assert all(torch.equal(tensor, before[name]) for name, tensor in synapses(network).items())
    assert not torch.equal(head, network.get_parameter("head.weight"))
    assert losses[-1] < losses[0]


def test_a_resumed_run_does_not_organise_itself_again_and_ends_the_same() -> None:
    batches = Digits()
    whole = SelfOrganisingTask(neocognitron(), images=24)
    *_, end = fit(whole, batches, RECIPE)
    begun = SelfOrganisingTask(neocognitron(), images=24)
    states = fit(begun, batches, RECIPE)
    kept = [next(states) for _ in range(4)][-1]
    tensors, meta = {name: tensor.clone() for name, tensor in kept.tensors().items()}, kept.meta()
    resumed = SelfOrganisingTask(neocognitron(), images=24)
    state = State.start(resumed, RECIPE, batches.steps_per_epoch)
    state.restore(tensors, meta)
    *_, last = fit(resumed, batches, RECIPE, state)
    assert last.step == end.step
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_more_images_than_an_epoch_has_are_all_of_them() -> None:
    network, alike, batches = neocognitron(), neocognitron(), Digits()
    alike.self_organise(batches.images)
    SelfOrganisingTask(network, images=1000).prepare(batches)
    assert torch.equal(network.get_parameter("us3.weight"), alike.get_parameter("us3.weight"))


def test_a_network_that_does_not_organise_itself_or_has_nothing_to_train_is_refused() -> None:
    with pytest.raises(UsageError, match="does not organise itself; organise=0"):
        SelfOrganisingTask(make_network(), images=10)
    with pytest.raises(UsageError, match=r"no head to train; --set edits\.readout=all"):
        SelfOrganisingTask(neocognitron(readout="planes"), images=10)


def test_the_plan_of_a_run_refuses_it_before_anything_is_written(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from neocog import jobs

    with pytest.raises(UsageError, match="lenet5 does not organise itself"):
        jobs.train("digits", model="lenet5", overrides={"organise": 10}, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
