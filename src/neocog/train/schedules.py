"""The learning rate as a function of progress: nothing is stored, so nothing can be resumed wrongly."""

from __future__ import annotations

import math

from neocog.train.recipe import Loss, Recipe


def learning_rate(recipe: Recipe, epoch: float, until: float | None = None) -> float:
    """Return the rate of `recipe` at `epoch`, counted in updates and given in epochs from 0 to `recipe.epochs`.

    With `until`, above 0, it is that of parameters which move no more after so many epochs: it falls linearly to 0,
    without a warm-up (Jordan 2024, arXiv:2404.00498, which does so with the stem's bias).

    Warm-up is linear from `warmup_start` to the peak. Cosine (Loshchilov and Hutter 2016, equation 5), linear and
    exponential decay run from the end of the warm-up to the last epoch; steps are counted from the run's start.
    """
    schedule, peak = recipe.schedule, recipe.optimizer.lr
    if until is not None:
        return peak * max(0.0, 1 - epoch / until)
    if epoch < schedule.warmup_epochs:
        done = epoch / schedule.warmup_epochs
        return peak * (schedule.warmup_start + (1 - schedule.warmup_start) * done)
    if schedule.name == "step":
        # A milestone reached to within rounding of the division by steps per epoch counts as reached.
        return peak * schedule.gamma ** sum(epoch >= milestone - 1e-9 for milestone in schedule.milestones)
    progress = min(1.0, (epoch - schedule.warmup_epochs) / max(recipe.epochs - schedule.warmup_epochs, 1e-9))
    if schedule.name == "cosine":
        return peak * (schedule.final + (1 - schedule.final) * (1 + math.cos(math.pi * progress)) / 2)
    if schedule.name == "linear":
        return peak * (1 + (schedule.final - 1) * progress)
    if schedule.name == "exponential":
        return peak * float(schedule.final**progress)
    return peak


def auxiliary_weight(loss: Loss, epoch: int, epochs: int) -> float:
    """Return the weight of each auxiliary head's loss in `epoch`, counted from 0, of a run of `epochs`.

    With `auxiliary_decay` it falls linearly from epoch to epoch, and would be 0 after the last (Lee et al. 2014,
    section 2.2).
    """
    return loss.auxiliary_weight * (1 - epoch / epochs if loss.auxiliary_decay else 1)
