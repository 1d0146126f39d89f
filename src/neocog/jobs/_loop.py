"""One run from its plan to its model file: the loop's caller, who logs, saves, measures and stops."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from neocog.data.loading import TrainingBatches
from neocog.data.table import Splits
from neocog.errors import NeocogError
from neocog.jobs._build import build_batches, build_task
from neocog.jobs._epochs import EpochLog
from neocog.jobs._finish import TrainResult, finish
from neocog.jobs._plan import Plan
from neocog.jobs._shipping import Shipping
from neocog.jobs._signals import StopSignals
from neocog.jobs.listener import Diary, Listener
from neocog.train.allocator import keep_freed_memory
from neocog.train.distributed import Alone, Together, once, under_torchrun
from neocog.train.fit import fit
from neocog.train.run import Run
from neocog.train.state import State
from neocog.train.supervised import SupervisedTask

CHECKPOINT_SECONDS = 10.0  # at most this much training, and one step, is lost to a kill


class Interrupted(NeocogError):
    """A signal stopped the run between two steps, after a checkpoint was written.

    Attributes:
        run: the run's directory.
        signal: the signal's number; the exit code is 128 more.
    """

    def __init__(self, run: Path, signal: int) -> None:
        self.run, self.signal, self.exit_code = run, signal, 128 + signal
        again = Run.resume_command_of(run)
        super().__init__(f"interrupted; a checkpoint was written, go on with: {again}")


@dataclass
class _Parts:
    """What the loop works with, built from the plan."""

    task: SupervisedTask
    batches: TrainingBatches
    sync: Alone
    state: State
    log: EpochLog
    shipping: Shipping


def run_plan(run: Run, plan: Plan, splits: Splits, listener: Listener, *, fresh: bool) -> TrainResult:
    """Train as `plan` says, from the start or from the last checkpoint of `run`, to the measured model file.

    Args:
        run: the directory, which this process has taken.
        plan: what to do.
        splits: the plan's images.
        listener: who hears the progress.
        fresh: whether the run begins; otherwise it goes on.

    Raises:
        Interrupted: a signal came.
        TrainingError: the loss is not finite.
    """
    recipe, listener = plan.recipe, Diary(listener, run.log)
    torch.set_num_threads(int(recipe.threads))
    if recipe.keep_memory:
        keep_freed_memory()
    for warning in splits.warnings:
        listener.notice(warning)
    parts = _build(run, plan, splits, listener, fresh=fresh)
    listener.plan(_describe(run, plan, splits, parts))
    state, log, sync = parts.state, parts.log, parts.sync
    images = len(splits.train)
    if not (state.finished or log.exhausted(state.epoch, recipe.patience)):
        saved, waited = time.monotonic(), parts.batches.waited
        with StopSignals() as stop, closing(parts.batches):
            log.begin_step()
            listener.begin(f"epoch {state.epoch + 1} of {recipe.epochs}", images)
            for state in fit(parts.task, parts.batches, recipe, parts.state, sync=sync):
                log.add(state, parts.batches.waited - waited)
                waited = parts.batches.waited
                done = (state.step_in_epoch or state.steps_per_epoch) * recipe.batch_size
                listener.advance(min(done, images), **log.means())
                ended = state.step_in_epoch == 0
                if ended:
                    listener.end()
                    row = log.row(state, recipe.batch_size, sync) | parts.shipping.after_epoch(state, log)
                    run.append_metrics(row)
                    listener.epoch(row)
                stopping, due = sync.any(stop.received is not None, time.monotonic() - saved > CHECKPOINT_SECONDS)
                exhausted = ended and log.exhausted(state.epoch, recipe.patience)
                if stopping or due or exhausted or state.finished:
                    log.settle(state)
                    log.check_weights(state)
                    run.checkpoints.save(state.step, state.tensors(), {**state.meta(), "log": log.meta(sync)})
                    saved = time.monotonic()
                if stopping:
                    raise Interrupted(run.path, stop.received or 15)
                if exhausted:
                    listener.notice(f"stopped early: no better validation score for {recipe.patience} epochs")
                    break
                if ended and not state.finished:
                    listener.begin(f"epoch {state.epoch + 1} of {recipe.epochs}", images)
                log.begin_step()
    return once(lambda: finish(run, plan, splits, log, state, listener))


def _build(run: Run, plan: Plan, splits: Splits, listener: Listener, *, fresh: bool) -> _Parts:
    """Build what the plan describes, and bring it to where the run's last checkpoint was."""
    recipe = plan.recipe
    found = None if fresh else run.checkpoints.latest()
    if not fresh and found is None:
        listener.notice("the run has no checkpoint yet; it starts from its beginning")
    task = build_task(plan, splits, fresh=found is None)
    sync = Together(task) if under_torchrun() else Alone(task)
    batches = build_batches(
        plan, splits.train, rank=sync.rank, world_size=sync.world_size, listener=listener, task=task
    )
    state, log = State.start(task, recipe, batches.steps_per_epoch), EpochLog()
    if found is not None:
        for warning in found.warnings:
            listener.notice(warning)
        state.restore(found.tensors, found.meta)
        log.restore(found.meta["log"], sync)
    run.drop_metrics_after(state.step)
    return _Parts(task, batches, sync, state, log, Shipping(run, plan, splits, task.network, sync))


def _describe(run: Run, plan: Plan, splits: Splits, parts: _Parts) -> list[tuple[str, str]]:
    """Return the run in a few labelled lines."""
    recipe = plan.recipe
    counts = [("training", splits.train), ("validation", splits.validation), ("test", splits.test)]
    parameters = sum(p.numel() for p in parts.task.network.parameters())
    trained = sum(p.numel() for p in parts.task.network.parameters() if p.requires_grad)
    height, width = plan.preprocessing.size
    return [
        ("data", f"{splits.name}: " + ", ".join(f"{len(s):,} {name}" for name, s in counts if s is not None)
         + f" images of {len(plan.classes)} classes"),
        ("network", f"{recipe.model} at {height}x{width}, {parameters:,} parameters"
         + (f", {trained:,} of them trained" if trained != parameters else "")),
        ("weights", recipe.weights or "none: from scratch"),
        ("recipe", f"{recipe.name}: {counted(recipe.epochs, 'epoch')} of "
         f"{counted(parts.state.steps_per_epoch, 'step')}, batches of "
         f"{recipe.batch_size}, {recipe.optimizer.name}, rate {recipe.optimizer.lr:g}"),
        ("machine", f"{plan.device}, {recipe.precision}, {counted(int(recipe.threads), 'thread')}"
         + (f", {counted(int(recipe.workers), 'worker')}" if recipe.workers else "")
         + (", channels-last" if recipe.channels_last else "")),
        ("run", str(run.path)),
    ]  # fmt: skip


def counted(count: int, noun: str) -> str:
    """Return "1 epoch" or "3 epochs"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
