"""`fit`: the one training loop."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from neocog.data.keys import hash_key
from neocog.data.loading import Batches
from neocog.train.distributed import Alone, mean_parts
from neocog.train.optimizers import set_learning_rate
from neocog.train.recipe import Recipe
from neocog.train.state import State
from neocog.train.task import Task

DROPOUT_STREAM = 7  # keeps the network's own randomness apart from the data's


def fit(
    task: Task, batches: Batches, recipe: Recipe, state: State | None = None, *, sync: Alone | None = None
) -> Iterator[State]:
    """Train `task` and yield the state after every step; what happens between steps is the caller's.

    Args:
        task: what to train, on its device.
        batches: where images come from; an item of `steps` holds the micro-batches of one step.
        recipe: epochs, rates, precision, seed.
        state: where to go on; None starts anew.
        sync: how processes agree; None for a lone one.

    Yields:
        The same `State`, one step further each time. Break off at any moment; go on by calling again with it.
    """
    state = state or State.start(task, recipe, batches.steps_per_epoch)
    sync = sync or Alone(task)
    if state.step == 0:
        task.prepare(batches)
        sync.share()
        state.average.restart()
    task.train()
    while not state.finished:
        for micro_batches in batches.steps(state.epoch, start=state.step_in_epoch):
            task.begin(state.updates / state.steps_per_epoch)
            set_learning_rate(state.optimizer, state.rate)
            parts = []
            for number, batch in enumerate(micro_batches):
                micro = sync.rank * len(micro_batches) + number
                torch.manual_seed(hash_key(recipe.seed, state.step, micro, 0, DROPOUT_STREAM))
                with sync.accumulating(last=number == len(micro_batches) - 1):
                    with state.precision.autocast():
                        loss = sync.module(batch)
                    state.precision.backward(loss.total / len(micro_batches))
                parts.append(loss.parts)
            if state.precision.update(state.optimizer):
                state.updates += 1
                sync.after_step()
                task.after_step()
                state.average.update(state.updates)
            state.step += 1
            state.parts = mean_parts(parts)
            yield state
