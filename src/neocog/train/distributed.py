"""How processes agree: an object that the loop is handed, one for a lone process and one for `torchrun`.

Each global batch is split into world size x accumulate micro-batches, numbered over all processes, so that two
processes compute what one does that accumulates two micro-batches.

Batch norm normalises each micro-batch by its own statistics. Its *running* statistics follow this rule: after
every step they are the mean over processes, so that one step of W processes moves them by the momentum towards the
mean of the W micro-batches' statistics, whatever W is. (A lone process that accumulates moves them once for each
micro-batch, one after the other.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from neocog.errors import NeocogError
from neocog.train.task import Task

T = TypeVar("T")

LONGEST_WAIT = timedelta(days=1)
"""How long processes wait for each other: while the main one validates, hours; `torchrun` sees to one that died."""


class Alone:
    """One process: nothing to agree on. Also the interface of `Together`."""

    rank = 0
    world_size = 1

    def __init__(self, task: Task) -> None:
        self.module: nn.Module = task

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def accumulating(self, *, last: bool) -> AbstractContextManager[Any]:
        """Return the context of one micro-batch's forward and backward pass."""
        return nullcontext()

    def share(self) -> None:
        """Give every process the main one's weights, which a task may have changed while it prepared itself."""

    def after_step(self) -> None:
        """Bring to one value what the step left different between processes."""

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of `values` over processes."""
        return values

    def gather(self, values: Tensor) -> Tensor:
        """Return the `values` `(...)` of every process, in order of rank, on the CPU: `(world_size, ...)`."""
        return values.cpu().unsqueeze(0)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each of `flags` whether any process raises it; all are asked of the others in one message."""
        return flags


class Together(Alone):
    """Several processes under `torchrun`, each with a copy of the task, joined by DistributedDataParallel.

    Args:
        task: this process's task, on its device.
    """

    def __init__(self, task: Task) -> None:
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()
        # Buffers are averaged after the step below; broadcasting rank 0's before each one would lose the others'.
        # Looking for parameters without a gradient takes time, and only some tasks have any.
        self.module = DistributedDataParallel(
            task, broadcast_buffers=False, find_unused_parameters=task.skips_parameters
        )
        self.device = next(task.parameters()).device
        self._norms = [module for module in task.modules() if isinstance(module, nn.modules.batchnorm._NormBase)]

    def accumulating(self, *, last: bool) -> AbstractContextManager[Any]:
        """Return a context in which gradients are summed over processes only at the last micro-batch."""
        return nullcontext() if last else self.module.no_sync()  # type: ignore[operator]

    def share(self) -> None:
        """Broadcast every parameter and buffer from the main process."""
        for tensor in self.module.state_dict().values():
            dist.broadcast(tensor, 0)

    def after_step(self) -> None:
        """Set batch norm's running statistics to their mean over processes, in one message."""
        running = [
            tensor
            for norm in self._norms
            if norm.training and norm.track_running_stats  # a frozen one's stay as they are, to the last bit
            for tensor in (norm.running_mean, norm.running_var)
            if tensor is not None
        ]
        if running:
            flat = self.mean(torch.cat([tensor.flatten() for tensor in running]))
            for tensor, part in zip(running, torch.split(flat, [t.numel() for t in running]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of `values` over processes."""
        values = values.to(self.device, copy=True)
        dist.all_reduce(values)
        return values / self.world_size

    def gather(self, values: Tensor) -> Tensor:
        """Return the `values` `(...)` of every process, in order of rank, on the CPU: `(world_size, ...)`."""
        own = values.cpu()
        found = [torch.empty_like(own) for _ in range(self.world_size)]
        dist.all_gather(found, own)
        return torch.stack(found)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each of `flags` whether any process raises it.

        The message goes from host to host: from a GPU, it would have to wait for all that the GPU has yet to do.
        """
        raised = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return tuple(raised.bool().tolist())


def under_torchrun() -> bool:
    """Return whether this process is one of several that `torchrun` started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join_processes(device: str) -> None:
    """Join the processes that `torchrun` started: NCCL for what lies on GPUs, gloo for what lies on the host."""
    if under_torchrun() and not dist.is_initialized():
        on_gpu = device.startswith("cuda")
        if on_gpu:
            torch.cuda.set_device(device)  # by which NCCL tells whose process this is
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=LONGEST_WAIT)


def leave_processes() -> None:
    """Leave the processes joined by `join_processes`."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def once(make: Callable[[], T]) -> T:
    """Call `make` in the main process alone; every process returns its result or raises its `NeocogError`."""
    if not dist.is_initialized():
        return make()
    said: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            said[0] = make()
        except NeocogError as error:
            said[1] = error
    dist.broadcast_object_list(said)
    if said[1] is not None:
        raise said[1]
    return cast(T, said[0])


def said_by_all(value: T) -> list[T]:
    """Return what every process has as `value`, anything that can be pickled, in order of rank."""
    if not dist.is_initialized():
        return [value]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return found


def gathered(values: Tensor) -> Tensor:
    """Return the `values` `(..., N)` of every process side by side, in order of rank: `(..., world_size * N)`."""
    if not dist.is_initialized():
        return values
    found = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(found, values)
    return torch.cat(found, -1)


def mean_parts(parts: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each named scalar over micro-batches."""
    collected: dict[str, list[Tensor]] = {}
    for part in parts:
        for name, value in part.items():
            collected.setdefault(name, []).append(value)
    return {name: torch.stack(values).mean() for name, values in collected.items()}
