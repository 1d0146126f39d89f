"""Run by torchrun in test_distributed: trains the tiny network on every process and saves what the main one has.

    two_processes.py OUT KIND:ACCUMULATE ...

One start of the processes serves all settings; for each, a task of its own is trained.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from helpers import TensorBatches, make_task

from neocog.errors import TrainingError
from neocog.jobs._epochs import EpochLog
from neocog.train.distributed import Together, join_processes, leave_processes, once
from neocog.train.fit import fit
from neocog.train.recipe import Recipe
from neocog.train.state import State
from neocog.train.supervised import SupervisedTask


def main(out: str, *settings: str) -> None:
    join_processes("cpu")
    found = {}
    for setting in settings:
        kind, accumulate = setting.split(":")
        found[setting] = train(kind, int(accumulate))
    if int(os.environ["RANK"]) == 0:
        torch.save(found, out)
    leave_processes()


RECIPE = Recipe(epochs=2, batch_size=8)


def build(kind: str, accumulate: int) -> tuple[SupervisedTask, TensorBatches, Together]:
    task = make_task(kind)
    sync = Together(task)
    order = task.focus.order if task.focus else None
    batches = TensorBatches(accumulate=accumulate, rank=sync.rank, world_size=sync.world_size, order=order)
    return task, batches, sync


def resumed(kind: str, accumulate: int, stop: int) -> dict[str, Any]:
    """Train up to a step, and from there with new processes, as it were, that know what the main one saved."""
    task, batches, sync = build(kind, accumulate)
    for state in fit(task, batches, RECIPE, sync=sync):
        if state.step == stop:
            break
    saved = ({name: tensor.clone() for name, tensor in state.tensors().items()}, state.meta())
    kept, meta = once(lambda: saved)
    task, batches, sync = build(kind, accumulate)
    state = State.start(task, RECIPE, batches.steps_per_epoch)
    state.restore(kept, meta)
    *_, state = fit(task, batches, RECIPE, state, sync=sync)
    return task.state_dict()


def train(kind: str, accumulate: int) -> dict[str, Any]:
    recipe = RECIPE
    task, batches, sync = build(kind, accumulate)
    log, rows = EpochLog(), []
    for state in fit(task, batches, recipe, sync=sync):
        log.add(state, waited=0.0)
        if state.step == 1:  # broken off and taken up again in the middle of an epoch
            kept = log.meta(sync)
            log = EpochLog()
            log.restore(kept, sync)
        if state.step_in_epoch == 0:
            rows.append(log.row(state, recipe.batch_size, sync))
    calls = []
    errors = []
    answer = once(lambda: calls.append(sync.rank) or "said once")
    try:
        once(refuse)
    except TrainingError as error:
        errors.append(str(error))
    return {
        "weights": task.state_dict(),
        "resumed": [resumed(kind, accumulate, stop) for stop in (2, 3, 4)] if kind == "focused" else [],
        "latest": sync.gather(task.focus.latest if task.focus else torch.zeros(1)),
        "step": state.step,
        "looks": sync.module.find_unused_parameters,  # for parameters without a gradient
        "rows": rows,
        "mean": sync.mean(torch.tensor([float(sync.rank)])).item(),
        "gathered": sync.gather(torch.tensor([float(sync.rank), 7.0])).tolist(),
        "flags": sync.any(sync.rank == 1, False, sync.rank == 0),
        "answers": sync.gather(torch.tensor([answer == "said once", bool(errors), bool(calls)])).tolist(),
    }


def refuse() -> None:
    raise TrainingError("no")


if __name__ == "__main__":
    main(*sys.argv[1:])
