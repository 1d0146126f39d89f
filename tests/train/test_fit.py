from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import TensorBatches, make_network
from torch.nn import functional as F

from neocog.data.loading import Batch
from neocog.models import LoadReport
from neocog.train.fit import fit
from neocog.train.recipe import Average, Loss, Optimizer, Recipe, Schedule
from neocog.train.state import State
from neocog.train.supervised import SupervisedTask
from neocog.train.task import TaskLoss

PLAIN = Recipe(epochs=3, batch_size=8, optimizer=Optimizer(lr=0.1, weight_decay=0.01), schedule=Schedule(name="cosine"))


def run(recipe: Recipe, batches: TensorBatches | None = None, *, norm: bool = False, dropout: float = 0.0) -> State:
    task = SupervisedTask(make_network(norm=norm, dropout=dropout), recipe.loss)
    *_, last = fit(task, batches or TensorBatches(), recipe)
    return last


def weights(state: State) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in state.task.state_dict().items()}


def test_the_loop_equals_a_hand_written_one_with_torch_s_optimizer_and_scheduler() -> None:
    batches, network = TensorBatches(), make_network()
    spared = [p for p in network.parameters() if p.ndim == 1]
    decayed = [p for p in network.parameters() if p.ndim > 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 0.01}, {"params": spared, "weight_decay": 0.0}], lr=0.1, momentum=0.9
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=9)
    for epoch in range(3):
        for (batch,) in batches.steps(epoch):
            F.cross_entropy(network(batch.images), batch.targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
    ours = weights(run(PLAIN))
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(ours[f"network.{name}"], tensor, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_run_broken_off_after_any_step_ends_in_the_same_bits(optimizer: str) -> None:
    recipe = PLAIN.override({"optimizer.name": optimizer, "optimizer.lr": 0.01, "average.decay": 0.9, "clip_norm": 1.0})
    whole = run(recipe, norm=True, dropout=0.5)
    expected = {name: tensor.clone() for name, tensor in whole.tensors().items()}
    for stop in range(1, whole.step):
        task = SupervisedTask(make_network(norm=True, dropout=0.5))
        for state in fit(task, TensorBatches(), recipe):
            if state.step == stop:
                break
        kept, meta = {name: t.clone() for name, t in state.tensors().items()}, state.meta()
        torch.manual_seed(stop)  # whatever the resumed process did before must not matter
        task = SupervisedTask(make_network(norm=True, dropout=0.5))
        resumed = State.start(task, recipe, TensorBatches().steps_per_epoch)
        resumed.restore(kept, meta)
        *_, last = fit(task, TensorBatches(), recipe, resumed)
        assert last.step == whole.step
        for name, tensor in last.tensors().items():
            assert torch.equal(tensor, expected[name]), (stop, name)


def test_momentum_is_restored_in_the_parameters_layout() -> None:
    def task_in_channels_last() -> SupervisedTask:
        return SupervisedTask(make_network().to(memory_format=torch.channels_last))

    recipe = PLAIN.override({"epochs": 2})
    *_, whole = fit(task_in_channels_last(), TensorBatches(), recipe)
    for state in fit(task_in_channels_last(), TensorBatches(), recipe):
        if state.step == 3:
            break
    kept = {name: tensor.contiguous().clone() for name, tensor in state.tensors().items()}
    task = task_in_channels_last()
    resumed = State.start(task, recipe, 3)
    resumed.restore(kept, state.meta())
    *_, last = fit(task, TensorBatches(), recipe, resumed)
    for name, tensor in last.tensors().items():
        assert torch.equal(tensor, whole.tensors()[name]), name


def test_micro_batches_of_a_network_without_norm_equal_the_whole_batch() -> None:
    whole, parts = weights(run(PLAIN)), weights(run(PLAIN, TensorBatches(accumulate=4)))
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-5, atol=1e-7)


def test_class_weights_leave_micro_batches_equal_to_the_whole_batch() -> None:
    recipe, class_weights = PLAIN, torch.tensor([0.2, 1.0, 2.0])
    found = []
    for accumulate in (1, 4):
        task = SupervisedTask(make_network(), Loss(label_smoothing=0.1), class_weights=class_weights)
        *_, last = fit(task, TensorBatches(accumulate=accumulate), recipe)
        found.append(last.task.state_dict()["network.fc.weight"])
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-7)


def test_weight_decay_spares_biases_and_norms_unless_asked() -> None:
    task = SupervisedTask(make_network(norm=True))
    groups = task.param_groups(Optimizer(weight_decay=0.1))
    network = task.network
    decayed = [p for g in groups if g["weight_decay"] == 0.1 for p in g["params"]]
    spared = [p for g in groups if g["weight_decay"] == 0.0 for p in g["params"]]
    assert set(decayed) == {network.conv1.weight, network.fc.weight}
    assert set(spared) == {network.norm.weight, network.norm.bias, network.fc.bias}
    everything = task.param_groups(Optimizer(weight_decay=0.1, decay_all=True))
    assert {p for g in everything for p in g["params"]} == set(network.parameters())
    assert {g["weight_decay"] for g in everything} == {0.1}


def test_the_head_moves_at_its_own_rate() -> None:
    recipe = PLAIN.override({"optimizer.head_lr_scale": 10.0, "epochs": 1})
    task = SupervisedTask(make_network())
    state = next(iter(fit(task, TensorBatches(), recipe)))
    rates = {id(p): group["lr"] for group in state.optimizer.param_groups for p in group["params"]}
    assert rates[id(task.network.fc.weight)] == pytest.approx(10 * rates[id(task.network.conv1.weight)])


def test_training_the_head_alone_moves_nothing_else() -> None:
    network = make_network(norm=True)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    task = SupervisedTask(network, only_head=True)
    *_, _ = fit(task, TensorBatches(), PLAIN)
    moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"fc.weight", "fc.bias"}


def test_frozen_norms_keep_their_statistics_and_train_their_scales() -> None:
    network = make_network(norm=True)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    *_, _ = fit(SupervisedTask(network, freeze_norms=True), TensorBatches(), PLAIN)
    moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"conv1.weight", "norm.weight", "norm.bias", "fc.weight", "fc.bias"}


def test_clipping_bounds_the_first_step() -> None:
    recipe = PLAIN.override({"clip_norm": 1e-3, "optimizer.momentum": 0.0, "optimizer.weight_decay": 0.0})
    before = make_network()
    state = next(iter(fit(SupervisedTask(make_network()), TensorBatches(), recipe)))
    moved = [a - b for a, b in zip(state.task.network.parameters(), before.parameters(), strict=True)]
    total = torch.cat([tensor.flatten() for tensor in moved]).norm()
    assert total.item() == pytest.approx(0.1 * 1e-3, rel=1e-3)


class OverflowsOnce(SupervisedTask):
    """A task whose second loss is infinite, as in float16."""

    calls = 0

    def forward(self, batch: Batch) -> TaskLoss:
        self.calls += 1
        loss = super().forward(batch)
        return TaskLoss(loss.total * torch.inf, loss.parts) if self.calls == 2 else loss


def test_a_step_that_float16_skips_advances_neither_schedule_nor_average() -> None:
    recipe = PLAIN.override({"precision": "fp16", "average.decay": 0.9, "average.warmup": False})
    task = OverflowsOnce(make_network())
    seen = []
    for state in fit(task, TensorBatches(), recipe):
        seen.append((state.step, state.updates, state.learning_rate, state.average.tensors["network.fc.bias"].clone()))
        if state.step == 3:
            break
    assert [(step, updates) for step, updates, *_ in seen] == [(1, 1), (2, 1), (3, 2)]
    assert seen[1][2] == seen[0][2]
    assert torch.equal(seen[1][3], seen[0][3])


def test_prepare_runs_once_and_not_on_resume() -> None:
    calls = []

    class Prepared(SupervisedTask):
        def prepare(self, batches: object) -> None:
            calls.append("prepare")

    task, batches = Prepared(make_network()), TensorBatches()
    state = next(iter(fit(task, batches, PLAIN)))
    *_, _ = fit(task, batches, PLAIN, state)
    assert calls == ["prepare"]


def test_the_average_equals_timm_s() -> None:
    from timm.utils import ModelEmaV3

    recipe = PLAIN.model_copy(update={"average": Average(decay=0.9, warmup=False)})
    task = SupervisedTask(make_network(norm=True))
    theirs = ModelEmaV3(task.network, decay=0.9)
    for state in fit(task, TensorBatches(), recipe):
        kept = state.average
        theirs.update(task.network)
    live = task.network.fc.weight.clone()
    with kept.in_place():
        for name, tensor in theirs.module.state_dict().items():
            torch.testing.assert_close(task.network.state_dict()[name], tensor, rtol=1e-5, atol=1e-7)
    assert torch.equal(task.network.fc.weight, live)


def test_folded_norms_get_statistics_first_and_the_average_starts_from_them() -> None:
    network = make_network(norm=True)
    network.loaded = LoadReport(Path("folded.safetensors"), "neocog", 5, (), 1, None)
    network.norm.bias.data.uniform_(-1, 1)
    network.norm.running_var.fill_(1 - network.norm.eps)
    images = TensorBatches().images
    network.eval()
    before = network(images)
    task = SupervisedTask(network)
    state = State.start(task, PLAIN.override({"average.decay": 0.9}), 3)
    task.prepare(TensorBatches())
    state.average.restart()
    network.eval()
    torch.testing.assert_close(network(images), before, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(network.norm.running_var, torch.ones(8))
    assert torch.equal(state.average.tensors["network.norm.running_var"], network.norm.running_var)
