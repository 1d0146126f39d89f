"""The means of an epoch are over the images of every process, whether or not the run was broken off in between."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from neocog.errors import TrainingError
from neocog.jobs._epochs import EpochLog
from neocog.train.distributed import Alone

LOSSES = {0: [0.5, 0.25, 4.0], 1: [1.0, 3.0, 0.125]}  # of two processes in an epoch of three steps


class Rank(Alone):
    """One of several processes that meet in this one: `others` says what the rest would send."""

    def __init__(self, rank: int, world_size: int, others: list[Tensor]) -> None:
        self.rank, self.world_size, self.others = rank, world_size, others

    def gather(self, values: Tensor) -> Tensor:
        self.others[self.rank] = values
        return torch.stack(self.others)


def step(number: int, loss: float) -> Any:
    parts = {"loss": torch.tensor(loss), "top1": torch.tensor(1 - loss / 10)}
    return SimpleNamespace(step=number, step_in_epoch=number % 3, epoch=number // 3, parts=parts, learning_rate=0.1)


def gathered(logs: list[EpochLog]) -> list[Tensor]:
    return [torch.tensor([log.steps, *log.sums.values()], dtype=torch.float64) for log in logs]


def feed(log: EpochLog, losses: list[float], first: int = 1) -> Any:
    for number, loss in enumerate(losses, start=first):
        log.add(step(number, loss), waited=0.0)
    return step(first + len(losses) - 1, losses[-1])


def test_every_process_gets_the_mean_over_all() -> None:
    logs = [EpochLog(), EpochLog()]
    for rank, log in enumerate(logs):
        last = feed(log, LOSSES[rank])
    sent = gathered(logs)
    rows = [log.row(last, 8, Rank(rank, 2, sent)) for rank, log in enumerate(logs)]
    mean = sum(LOSSES[0] + LOSSES[1]) / 6
    for row in rows:
        assert row["train_loss"] == mean
        assert row["train_top1"] == pytest.approx(1 - mean / 10)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_what_was_summed_before_a_break_is_shared_out_among_those_who_go_on(processes: int) -> None:
    logs = [EpochLog(), EpochLog()]
    for rank, log in enumerate(logs):
        feed(log, LOSSES[rank][:2])
    kept = json.loads(json.dumps(logs[0].meta(Rank(0, 2, gathered(logs)))))
    resumed = [EpochLog() for _ in range(processes)]
    for rank, log in enumerate(resumed):
        log.restore(kept, Rank(rank, processes, []))
    if processes == 2:
        assert [log.sums for log in resumed] == [log.sums for log in logs]
    sent = gathered(resumed)
    row = resumed[0].row(step(3, 0.0), 8, Rank(0, processes, sent))
    assert row["train_loss"] == sum(LOSSES[0][:2] + LOSSES[1][:2]) / 4


def test_a_loss_that_is_not_finite_is_named() -> None:
    with pytest.raises(TrainingError, match="training loss is not finite at step 2"):
        feed(EpochLog(), [1.0, float("nan")])


def test_weights_that_are_not_finite_are_kept_by_no_checkpoint() -> None:
    state, task = step(2, 1.0), torch.nn.Linear(2, 2)
    state.task = task
    EpochLog().check_weights(state)
    task.bias.data[1] = float("inf")
    with pytest.raises(TrainingError, match=r"weights are not finite at step 2 .* optimizer\.lr"):
        EpochLog().check_weights(state)
