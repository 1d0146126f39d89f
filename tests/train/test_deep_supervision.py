from __future__ import annotations

import copy

import pytest
import torch
import torch.distributed as dist
from helpers import TensorBatches, TinyNetwork
from torch import Tensor, nn
from torch.nn import functional as F

from neocog.data.loading import Batch
from neocog.errors import UsageError
from neocog.models._classifier import AuxiliaryHead
from neocog.train.deep_supervision import DeepSupervisionTask
from neocog.train.distributed import Alone, Together
from neocog.train.fit import fit
from neocog.train.losses import classification_loss
from neocog.train.recipe import Loss, Recipe
from neocog.train.schedules import auxiliary_weight
from neocog.train.state import State
from neocog.train.supervised import SupervisedTask

IMAGES = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))
BATCH = Batch(IMAGES, torch.arange(8) % 3, torch.arange(8))


class SideHead(AuxiliaryHead):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.num_features = 8
        self.fc = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.amax((2, 3)))


class SupervisedNetwork(TinyNetwork):
    """The tiny network with a head on its convolution and one on its norm."""

    auxiliary_names = {"conv1": "side1", "norm": "side2"}

    def __init__(self, classes: int = 3) -> None:
        torch.manual_seed(0)
        super().__init__(norm=True, classes=classes)
        self.side1, self.side2 = SideHead(classes), SideHead(classes)


def losses_by_hand(network: SupervisedNetwork) -> list[Tensor]:
    """The network's loss and those of its two heads, without hooks."""
    maps = network.conv1(IMAGES)
    normed = network.norm(maps)
    logits = [network.fc(normed.relu().mean((2, 3))), network.side1(maps), network.side2(normed)]
    return [F.cross_entropy(each, BATCH.targets) for each in logits]


def test_the_total_is_the_own_loss_and_a_share_of_each_heads():
    network = SupervisedNetwork()
    own, first, second = losses_by_hand(copy.deepcopy(network))
    found = DeepSupervisionTask(network, Loss(auxiliary_weight=0.3))(BATCH)
    assert found.total.item() == pytest.approx((own + 0.3 * first + 0.3 * second).item(), rel=1e-6)
    parts = {name: value.item() for name, value in found.parts.items() if name != "top1"}
    expected = {"loss": own, "conv1_loss": first, "norm_loss": second, "total_loss": found.total}
    assert parts == pytest.approx({name: value.item() for name, value in expected.items()}, rel=1e-6)
    assert not any(value.requires_grad for value in found.parts.values())


def test_gradients_are_those_of_the_sum():
    network = SupervisedNetwork()
    twin = copy.deepcopy(network)
    DeepSupervisionTask(network, Loss(auxiliary_weight=0.3))(BATCH).total.backward()
    own, *heads = losses_by_hand(twin)
    (own + 0.3 * sum(heads)).backward()
    for (name, ours), theirs in zip(network.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-7, msg=name)


def test_a_head_whose_loss_is_below_the_threshold_is_left_alone():
    network = SupervisedNetwork()
    _, first, second = losses_by_hand(copy.deepcopy(network))
    threshold = ((first + second) / 2).item()  # one is above, one below
    below, above = ("side1", "side2") if first < second else ("side2", "side1")
    found = DeepSupervisionTask(network, Loss(auxiliary_weight=1.0, auxiliary_threshold=threshold))(BATCH)
    found.total.backward()
    assert not network.get_submodule(below).fc.weight.grad.any()
    assert network.get_submodule(above).fc.weight.grad.any()
    excess = max(first, second).item() - threshold
    assert found.total.item() == pytest.approx(found.parts["loss"].item() + excess, rel=1e-5)


def test_the_weight_falls_epoch_by_epoch_and_a_resumed_run_goes_on_with_it():
    loss = Loss(auxiliary_weight=0.8, auxiliary_decay=True)
    recipe = Recipe(epochs=4, batch_size=8, loss=loss)
    task = DeepSupervisionTask(SupervisedNetwork(), loss, epochs=4)
    weights, kept = [], None
    for state in fit(task, TensorBatches(), recipe):
        weights.append(task.auxiliary_weight)
        if state.step == 7:
            kept = {name: tensor.clone() for name, tensor in state.tensors().items()}, state.meta()
    assert weights == pytest.approx([0.8] * 3 + [0.6] * 3 + [0.4] * 3 + [0.2] * 3)
    assert weights == [auxiliary_weight(loss, epoch, 4) for epoch in range(4) for _ in range(3)]

    other = DeepSupervisionTask(SupervisedNetwork(), loss, epochs=4)
    state = State.start(other, recipe, steps_per_epoch=3)
    assert kept is not None
    tensors, meta = kept
    # Older checkpoints counted steps in the task.
    state.restore({**tensors, "task.step": torch.tensor(7), "task.steps_per_epoch": torch.tensor(3)}, meta)
    other.begin(7 / 3)
    assert other.auxiliary_weight == pytest.approx(0.4)
    *_, _ = fit(other, TensorBatches(), recipe, state)
    for name, tensor in task.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_a_weight_that_does_not_decay_stays():
    task = DeepSupervisionTask(SupervisedNetwork(), Loss(auxiliary_weight=0.3), epochs=2)
    *_, _ = fit(task, TensorBatches(), Recipe(epochs=2, batch_size=8))
    assert task.auxiliary_weight == pytest.approx(0.3)


def test_a_compiled_network_gives_the_same_loss():
    network = SupervisedNetwork()
    expected = DeepSupervisionTask(copy.deepcopy(network), Loss(auxiliary_weight=0.3))(BATCH)
    network.compile(backend="eager")
    found = DeepSupervisionTask(network, Loss(auxiliary_weight=0.3))(BATCH)
    assert found.total.item() == pytest.approx(expected.total.item(), rel=1e-6)


def test_distributed_training_reaches_every_parameter():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        recipe = Recipe(epochs=1, batch_size=8, loss=Loss(auxiliary_weight=0.3))
        tasks = [DeepSupervisionTask(SupervisedNetwork(), recipe.loss) for _ in range(2)]
        for task, make in zip(tasks, (Together, Alone), strict=True):
            *_, _ = fit(task, TensorBatches(), recipe, sync=make(task))
    finally:
        dist.destroy_process_group()
    for name, tensor in tasks[0].state_dict().items():
        torch.testing.assert_close(tensor, tasks[1].state_dict()[name], msg=name)


def test_norms_of_heads_are_frozen_too():
    network = SupervisedNetwork()
    network.side1.norm = nn.BatchNorm1d(8)
    task = DeepSupervisionTask(network, Loss(auxiliary_weight=0.3), freeze_norms=True).train()
    assert not network.side1.norm.training
    assert task.network.training


def test_a_network_without_auxiliary_heads_is_refused():
    with pytest.raises(UsageError, match="TinyNetwork has no auxiliary heads"):
        DeepSupervisionTask(TinyNetwork(), Loss(auxiliary_weight=0.3))


def test_plain_supervision_does_not_run_the_heads():
    network = SupervisedNetwork()
    SupervisedTask(network)(BATCH).total.backward()
    assert network.side1.fc.weight.grad is None


def test_squared_hinge_is_one_decision_a_class_squared():
    from sklearn.metrics import hinge_loss

    logits, targets = torch.randn(16, 5), torch.randint(0, 5, (16,))
    signs = 2 * F.one_hot(targets, 5) - 1
    hinges = (1 - signs * logits).relu()
    for column in range(5):
        expected = hinge_loss(signs[:, column].numpy(), logits[:, column].numpy())
        assert hinges[:, column].mean().item() == pytest.approx(expected, rel=1e-5)
    ours = classification_loss(logits, targets, Loss(name="squared_hinge"))
    assert ours.item() == pytest.approx(hinges.square().sum(1).mean().item(), rel=1e-5)
    shares = F.one_hot(targets, 5).float()
    assert classification_loss(logits, shares, Loss(name="squared_hinge")).item() == pytest.approx(
        ours.item(), rel=1e-6
    )
    doubled = classification_loss(logits, targets, Loss(name="squared_hinge"), torch.full((5,), 2.0))
    assert doubled.item() == pytest.approx(2 * ours.item(), rel=1e-6)
