from __future__ import annotations

from collections import Counter

import pytest
import torch
from helpers import TensorBatches, make_network, make_task
from torch.nn import functional as F

from neocog.data.keys import epoch_order
from neocog.data.loading import Batch
from neocog.errors import UsageError
from neocog.train.fit import fit
from neocog.train.focus import FocusedOrder
from neocog.train.recipe import Recipe
from neocog.train.state import State
from neocog.train.supervised import SupervisedTask
from neocog.train.task import TaskLoss

IMAGES = 20
RECIPE = Recipe(epochs=4, batch_size=8).override({"average.decay": 0.9})


def see(focus: FocusedOrder, losses: dict[int, float]) -> None:
    """Let a step see images with such losses."""
    focus.begin()
    focus.note(torch.tensor(list(losses)), torch.tensor(list(losses.values())))
    focus.after_step()


def seen(share: float, *, start: int = 1) -> FocusedOrder:
    """Return an order whose image i had the loss i + 1."""
    focus = FocusedOrder(IMAGES, seed=3, share=share, start=start)
    focus.order(0)
    see(focus, {image: image + 1.0 for image in range(IMAGES)})
    return focus


def test_before_its_start_every_epoch_shows_all_in_the_usual_order() -> None:
    focus = seen(0.5, start=3)
    for epoch in range(3):
        assert torch.equal(focus.order(epoch), epoch_order(3, epoch, IMAGES))
    assert not torch.equal(focus.order(3), epoch_order(3, 3, IMAGES))


@pytest.mark.parametrize(("share", "left_out"), [(0.1, 2), (0.25, 5), (0.29, 5), (0.3, 6), (0.5, 10), (0.95, 19)])
def test_the_share_of_least_loss_is_left_out_and_the_others_fill_the_epoch_evenly(share: float, left_out: int) -> None:
    order = seen(share).order(1)
    kept = set(range(left_out, IMAGES))
    assert order.dtype == torch.int64
    assert len(order) == IMAGES
    for first in range(0, IMAGES - len(kept) + 1, len(kept)):  # one whole permutation after another
        assert set(order[first : first + len(kept)].tolist()) == kept
    counts = Counter(order.tolist())
    assert counts.keys() == kept
    assert max(counts.values()) - min(counts.values()) <= 1


def test_those_left_come_first_as_in_the_usual_order_and_then_in_another() -> None:
    order, usual = seen(0.5).order(1).tolist(), epoch_order(3, 1, IMAGES).tolist()
    assert order[:10] == [image for image in usual if image >= 10]
    assert order[10:] != order[:10]
    assert seen(0.5).order(2).tolist() != order


def test_the_order_of_an_epoch_stays_whatever_is_seen_in_it() -> None:
    focus = seen(0.5)
    order = focus.order(1)
    see(focus, dict.fromkeys(range(10, 20), 0.0))
    assert torch.equal(focus.order(1), order)
    assert set(focus.order(2).tolist()) == set(range(10))


def test_what_was_left_out_comes_back_when_the_others_have_become_easier() -> None:
    focus = seen(0.5)
    assert 9 not in focus.order(1)
    see(focus, {15: 9.5})
    order = focus.order(2).tolist()
    assert 9 in order
    assert 15 not in order


def test_what_nobody_saw_counts_as_hardest_and_equal_losses_are_left_out_by_chance() -> None:
    focus = FocusedOrder(1000, seed=0, share=0.5)
    see(focus, dict.fromkeys(range(900), 1.0))
    kept = set(focus.order(1).tolist())
    assert kept >= set(range(900, 1000))
    assert 150 < len([image for image in kept if image < 450]) < 250  # of 200 expected


def test_of_an_image_that_a_step_shows_twice_the_greater_loss_counts() -> None:
    focus = FocusedOrder(3, seed=0, share=0.5)
    for losses in ((5.0, 2.0), (1.0, 3.0)):
        focus.note(torch.tensor([1, 1]), torch.tensor(losses))
        focus.after_step()
    assert focus.latest.view(torch.float32).tolist() == [torch.inf, 3.0, torch.inf]


def test_a_run_knows_the_loss_that_each_image_had_when_last_seen() -> None:
    task = make_task("focused")
    assert task.focus is not None
    batches = TensorBatches(order=task.focus.order, accumulate=2)
    steps = iter([step for epoch in range(1) for step in batches.steps(epoch)])
    network = make_network()
    expected = torch.full((24,), torch.inf)
    for state in fit(task, batches, Recipe(epochs=1, batch_size=8)):
        for batch in next(steps):
            expected[batch.indices] = F.cross_entropy(network(batch.images), batch.targets, reduction="none").detach()
        network.load_state_dict(state.task.network.state_dict())
    torch.testing.assert_close(task.focus.latest.view(torch.float32), expected)


def test_a_focused_run_broken_off_after_any_step_ends_in_the_same_bits() -> None:
    def start() -> tuple[SupervisedTask, TensorBatches]:
        task = make_task("focused")
        assert task.focus is not None
        return task, TensorBatches(order=task.focus.order)

    *_, whole = fit(*start(), RECIPE)
    expected = {name: tensor.clone() for name, tensor in whole.tensors().items()}
    assert not any("focus" in name for name in whole.average.tensors)
    for stop in range(1, whole.step):
        for state in fit(*start(), RECIPE):
            if state.step == stop:
                break
        kept, meta = {name: tensor.clone() for name, tensor in state.tensors().items()}, state.meta()
        task, batches = start()
        resumed = State.start(task, RECIPE, batches.steps_per_epoch)
        resumed.restore(kept, meta)
        *_, last = fit(task, batches, RECIPE, resumed)
        for name, tensor in last.tensors().items():
            assert torch.equal(tensor, expected[name]), (stop, name)


class Overflows(SupervisedTask):
    """A task whose second loss is infinite, as in float16."""

    calls = 0

    def forward(self, batch: Batch) -> TaskLoss:
        self.calls += 1
        loss = super().forward(batch)
        return TaskLoss(loss.total * torch.inf, loss.parts) if self.calls == 2 else loss


def test_a_step_that_float16_skips_has_seen_nothing() -> None:
    task = Overflows(make_network())
    task.focus = FocusedOrder(24, seed=0, share=0.5)
    before: list[torch.Tensor] = []
    for state in fit(task, TensorBatches(), RECIPE.override({"precision": "fp16"})):
        before.append(task.focus.latest.clone())
        if state.step == 3:
            break
    assert state.updates == 2
    assert torch.equal(before[0], before[1])
    assert [int((latest < 0x7F800000).sum()) for latest in before] == [8, 8, 16]


def test_a_recipe_does_not_focus_on_images_that_are_blended() -> None:
    for changes in ({"mix.mixup": 0.2}, {"vary": {"mix.cutmix": [[2, 1.0]]}}):
        with pytest.raises(UsageError, match=r"mix blends images: set mix\.mixup"):
            Recipe().override({"focus.share": 0.3, **changes})
    with pytest.raises(UsageError, match=r"focus\.start is 2, but nothing reads it"):
        Recipe().override({"focus.start": 2})
