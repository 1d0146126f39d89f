from __future__ import annotations

import itertools

import pytest
import torch

from neocog.train.recipe import Optimizer, Recipe, Schedule
from neocog.train.schedules import learning_rate

EPOCHS, STEPS = 10, 7


def rates(schedule: Schedule) -> list[float]:
    recipe = Recipe(epochs=EPOCHS, optimizer=Optimizer(lr=0.4), schedule=schedule)
    return [learning_rate(recipe, step / STEPS) for step in range(EPOCHS * STEPS)]


def torch_rates(make: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    scheduler = make(optimizer)  # type: ignore[operator]
    found = []
    for _ in range(EPOCHS * STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_cosine_equals_torch_s() -> None:
    ours = rates(Schedule(name="cosine", final=0.1))
    theirs = torch_rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, EPOCHS * STEPS, eta_min=0.04))
    assert ours == pytest.approx(theirs)


def test_steps_equal_torch_s() -> None:
    ours = rates(Schedule(name="step", milestones=(3, 7), gamma=0.1))
    theirs = torch_rates(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [3 * STEPS, 7 * STEPS]))
    assert ours == pytest.approx(theirs)


def test_linear_decay_equals_torch_s() -> None:
    ours = rates(Schedule(name="linear", final=0.25))
    theirs = torch_rates(lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.25, EPOCHS * STEPS))
    assert ours == pytest.approx(theirs)


def test_warm_up_then_cosine_equals_torch_s_sequence() -> None:
    def make(o: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        warm = torch.optim.lr_scheduler.LinearLR(o, 0.01, 1.0, 2 * STEPS)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(o, (EPOCHS - 2) * STEPS)
        return torch.optim.lr_scheduler.SequentialLR(o, [warm, cosine], [2 * STEPS])

    assert rates(Schedule(name="cosine", warmup_epochs=2, warmup_start=0.01)) == pytest.approx(torch_rates(make))


def test_exponential_grows_geometrically() -> None:
    found = rates(Schedule(name="exponential", final=100.0))
    ratios = [b / a for a, b in itertools.pairwise(found)]
    assert ratios == pytest.approx([100 ** (1 / (EPOCHS * STEPS))] * len(ratios))


def timm_rates(scheduler: object) -> list[float]:
    found = []
    for update in range(EPOCHS * STEPS):
        scheduler.step_update(update)  # type: ignore[attr-defined]
        found.append(scheduler.optimizer.param_groups[0]["lr"])  # type: ignore[attr-defined]
    return found


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)


@pytest.mark.parametrize("warmup", [0, 2 * STEPS, 2 * STEPS + 3])
def test_warm_up_and_cosine_equal_timm_s_at_every_update(warmup: int) -> None:
    """With timm's warmup_prefix, the cosine begins where the warm-up ends."""
    from timm.scheduler import CosineLRScheduler

    theirs = CosineLRScheduler(
        optimizer(),
        EPOCHS * STEPS - warmup,
        0.004,
        warmup_t=warmup,
        warmup_lr_init=0.02,
        warmup_prefix=True,
        t_in_epochs=False,
    )
    start = 0.05 if warmup else 0.0  # which nothing reads without a warm-up
    ours = rates(Schedule(name="cosine", warmup_epochs=warmup / STEPS, warmup_start=start, final=0.01))
    assert ours == pytest.approx(timm_rates(theirs))


@pytest.mark.parametrize("warmup", [0, 2])
def test_warm_up_and_steps_equal_timm_s_at_every_update(warmup: int) -> None:
    """timm takes a step one update before its milestone (a convention that it keeps for old runs), hence the + 1."""
    from timm.scheduler import MultiStepLRScheduler

    theirs = MultiStepLRScheduler(
        optimizer(),
        [3 * STEPS + 1, 7 * STEPS + 1],
        0.2,
        warmup_t=warmup * STEPS,
        warmup_lr_init=0.04,
        warmup_prefix=False,
        t_in_epochs=False,
    )
    start = 0.1 if warmup else 0.0
    ours = rates(Schedule(name="step", milestones=(3, 7), gamma=0.2, warmup_epochs=warmup, warmup_start=start))
    assert ours == pytest.approx(timm_rates(theirs))
