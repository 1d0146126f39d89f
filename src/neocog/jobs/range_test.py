"""Learning-rate range test (Smith 2015, "Cyclical learning rates for training neural networks", section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neocog.errors import UsageError
from neocog.jobs._build import build_batches, build_task
from neocog.jobs._plan import plan_training
from neocog.jobs.listener import Listener
from neocog.recipes import Recipe
from neocog.train.fit import fit
from neocog.train.recipe import Average, Schedule
from neocog.visualize.curves import range_test as draw_range_test

SMOOTHING = 0.9  # of the loss's running mean, which is corrected for its start
DIVERGED = 4.0  # times the least loss: the test need go no further


@dataclass(frozen=True)
class RangeTest:
    """The loss as the rate grows.

    Attributes:
        lrs: rates, geometrically spaced.
        losses: smoothed training losses at them.
        suggestion: the rate where the loss fell fastest.
        figure: the plot.
    """

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float
    figure: Path


def lr_find(
    source: str | Path,
    *,
    model: str | None = None,
    recipe: str | Recipe = "quick",
    weights: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | Path | None = None,
    device: str | None = None,
    lowest: float = 1e-5,
    highest: float = 1.0,
    steps: int = 100,
    out: str | Path = "lr-find.png",
    listener: Listener | None = None,
) -> RangeTest:
    """Train `steps` steps at rates that grow from `lowest` to `highest`, and draw the loss.

    The test is the training loop itself, with the recipe's schedule replaced by an exponential one. It stops early
    where the loss has diverged. The network that it trained is thrown away.
    """
    if not 0 < lowest < highest:
        raise UsageError(f"the lowest rate {lowest:g} must be above 0 and below the highest {highest:g}")
    if steps < 10:
        raise UsageError(f"{steps} steps are too few to see a slope; use at least 10")
    listener = listener or Listener()
    splits, plan = plan_training(
        source, data_dir=data_dir, model=model, recipe=recipe, weights=weights,
        overrides=overrides or {}, device=device, listener=listener,
    )  # fmt: skip
    # What the recipe releases only later, or stops early, is among what the rate is for.
    plan = plan.model_copy(update={"recipe": plan.recipe.model_copy(update={"unfreeze": 0.0, "stem_epochs": None})})
    torch.set_num_threads(int(plan.recipe.threads))
    task = build_task(plan, splits)
    batches = build_batches(plan, splits.train, listener=listener, task=task)
    tested = plan.recipe.model_copy(
        update={
            "epochs": math.ceil(steps / batches.steps_per_epoch),
            "optimizer": plan.recipe.optimizer.model_copy(update={"lr": lowest}),
            "schedule": Schedule(name="exponential", final=highest / lowest),
            "average": Average(),
        }
    )
    # The schedule is stretched over whole epochs; a few more steps than asked for keep its ends where they are.
    total = tested.epochs * batches.steps_per_epoch
    lrs: list[float] = []
    losses: list[float] = []
    mean = 0.0
    listener.begin("learning-rate range test", total, unit="steps")
    lr = lowest
    for state in fit(task, batches, tested):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * state.parts["loss"].item()
        lrs.append(lr)
        losses.append(mean / (1 - SMOOTHING ** len(lrs)))
        listener.advance(state.step, loss=losses[-1])
        lr = state.learning_rate
        if not math.isfinite(losses[-1]) or losses[-1] > DIVERGED * min(losses):
            break
    listener.end()
    kept = [(rate, loss) for rate, loss in zip(lrs, losses, strict=True) if math.isfinite(loss)]
    lrs, losses = [rate for rate, _ in kept], [loss for _, loss in kept]
    suggestion = steepest(lrs, losses)
    return RangeTest(tuple(lrs), tuple(losses), suggestion, draw_range_test(lrs, losses, suggestion, Path(out)))


def steepest(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """Return the rate at which the loss falls fastest against the logarithm of the rate.

    The first tenth is left out, where the smoothed loss has not settled, and so is all that comes after the least.
    """
    least = min(range(len(losses)), key=losses.__getitem__)
    first = min(len(losses) // 10, max(least - 2, 0))
    window = max(2, len(losses) // 20)
    slopes = {
        middle: losses[min(middle + window, least)] - losses[max(middle - window, first)]
        for middle in range(first, least + 1)
    }
    return lrs[min(slopes, key=slopes.__getitem__)] if slopes else lrs[0]
