"""Run by torchrun in test_distributed: trains the tiny network on every process and saves what the main one has."""

from __future__ import annotations

import sys

import torch
from helpers import TensorBatches, make_network

from neocog.train.distributed import Together, join_processes, leave_processes
from neocog.train.fit import fit
from neocog.train.recipe import Recipe
from neocog.train.supervised import SupervisedTask


def main(out: str, norm: str, accumulate: str) -> None:
    join_processes("cpu")
    recipe = Recipe(epochs=2, batch_size=8)
    task = SupervisedTask(make_network(norm=norm == "norm", dropout=0.0))
    sync = Together(task)
    batches = TensorBatches(accumulate=int(accumulate), rank=sync.rank, world_size=sync.world_size)
    *_, state = fit(task, batches, recipe, sync=sync)
    means = sync.mean(torch.tensor([float(sync.rank)]))
    flags = [sync.any(sync.rank == 1), sync.any(False)]
    if sync.is_main:
        torch.save({"weights": task.state_dict(), "mean": means.item(), "flags": flags, "step": state.step}, out)
    leave_processes()


if __name__ == "__main__":
    main(*sys.argv[1:])
