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


def main(out: str, *settings: str) -> None:
    join_processes("cpu")
    found = {}
    for setting in settings:
        kind, accumulate = setting.split(":")
        found[setting] = train(kind, int(accumulate))
    if int(os.environ["RANK"]) == 0:
        torch.save(found, out)
    leave_processes()


def train(kind: str, accumulate: int) -> dict[str, Any]:
    recipe = Recipe(epochs=2, batch_size=8)
    task = make_task(kind)
    sync = Together(task)
    batches = TensorBatches(accumulate=accumulate, rank=sync.rank, world_size=sync.world_size)
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
